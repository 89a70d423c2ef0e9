"""Proxy training sees 1.5 times as many images a second as a plain PyTorch loop.

Target: at least 1.5 times as many on a network of the size that a search on two cores trains
(``small``, 1.2 GMACs at 224 pixels); two larger ones are shown too. Exits 1 when missed.

    python benchmarks/proxy_throughput.py [--quick] [--json OUT]

The plain loop is what one would write first: PNG files read with PIL item by item, random crop and
brightness per item, a DataLoader (with 0 or 2 workers, whichever is faster), AdamW, and the same
network, batch size, moving average and number of threads. Both start from the same images and take
turns in one process over several rounds, with a pause between them in which workers finish the
batches they have begun. The figure is the median of the rounds' ratios.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance, ImageOps
from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

import nas
from nas.accuracy.data.dataset import ProxyData, load_data
from nas.accuracy.training import ProxyTraining
from nas.config import ProxyConfig
from nas.models.cost import network_cost
from nas.space.architecture import Architecture

TARGET_RATIO = 1.5
SAMPLING_SEED = 7
WARMUP_STEPS = 3
SETTLE_S = 0.5


class PngFolder(Dataset[tuple[Tensor, int]]):
    """The training images as PNG files, decoded and augmented one at a time."""

    def __init__(self, folder: Path, data: ProxyData, count: int, config: ProxyConfig) -> None:
        self.labels = data.train_labels[:count].tolist()
        self.paths = [folder / f"{number}.png" for number in range(count)]
        self.config = config
        for path, image_3HW in zip(self.paths, data.train_images[:count], strict=True):
            Image.fromarray(image_3HW.permute(1, 2, 0).numpy()).save(path)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        image = Image.open(self.paths[number]).convert("RGB")
        side, border = image.width, round(self.config.shift * image.width)
        padded = ImageOps.expand(image, border)
        left, top = random.randint(0, 2 * border), random.randint(0, 2 * border)
        image = padded.crop((left, top, left + side, top + side))
        jitter = self.config.jitter
        image = ImageEnhance.Brightness(image).enhance(random.uniform(1 - jitter, 1 + jitter))
        image_3HW = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255.0)
        return (image_3HW - 0.5) / 0.25, self.labels[number]


class PlainTraining:
    """An ordinary training loop; `run` gives images per second."""

    def __init__(
        self, architecture: Architecture, dataset: PngFolder, config: ProxyConfig, workers: int
    ) -> None:
        torch.manual_seed(0)
        self.network = nas.build_network(architecture, num_classes=10)
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True
        )
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.smoothing = config.label_smoothing
        self.loader = DataLoader(
            dataset,
            batch_size=config.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        self.batches = self.endless()

    def endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def run(self, steps: int) -> float:
        self.network.train()
        images = 0
        start = time.perf_counter()
        for _ in range(steps):
            x_B3HW, labels_B = next(self.batches)
            self.optimizer.zero_grad()
            logits_BC = self.network(x_B3HW)
            loss = F.cross_entropy(logits_BC, labels_B, label_smoothing=self.smoothing)
            loss.backward()
            self.optimizer.step()
            self.average.update_parameters(self.network)
            images += len(labels_B)
        return images / (time.perf_counter() - start)


class OurTraining:
    """`ProxyTraining` in the same terms."""

    def __init__(self, architecture: Architecture, data: ProxyData, config: ProxyConfig) -> None:
        long = config.model_copy(update={"train_images": 10**7})
        self.training = ProxyTraining(architecture, data, long, seed=0)

    def run(self, steps: int) -> float:
        before = self.training.train_s
        self.training.run(self.training.step + steps)
        images = steps * self.training.config.batch_size
        return images / (self.training.train_s - before)


def networks(quick: bool) -> dict[str, Architecture]:
    """``small`` decides; the others show how the ratio depends on size."""
    rng, space = random.Random(SAMPLING_SEED), nas.load_space("nextvit")
    sampled = [space.sample(rng) for _ in range(200)]

    def gmacs(architecture: Architecture) -> float:
        return network_cost(architecture.blocks()).macs / 1e9

    small = next(a for a in sampled if 1.1 <= gmacs(a) <= 1.3)
    if quick:
        return {"small": small}
    median = sorted(sampled[:15], key=gmacs)[7]
    return {
        "small": small,
        "median random": median,
        "nextvit-small": nas.load_architecture("nextvit-small"),
    }


def compare(
    architecture: Architecture, data: ProxyData, dataset: PngFolder, rounds: int, steps: int
) -> dict[str, Any]:
    """Images per second of both, alternating; the plain loop with its better worker count."""
    config = dataset.config
    sides: dict[str, Any] = {
        "ours": OurTraining(architecture, data, config),
        "plain, 0 workers": PlainTraining(architecture, dataset, config, 0),
        "plain, 2 workers": PlainTraining(architecture, dataset, config, 2),
    }
    for side in sides.values():
        side.run(WARMUP_STEPS)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides)
        for name in names[number % 3 :] + names[: number % 3]:
            time.sleep(SETTLE_S)
            rates[name].append(sides[name].run(steps))
    best = max(list(sides)[1:], key=lambda name: statistics.median(rates[name]))
    ratios = [ours / plain for ours, plain in zip(rates["ours"], rates[best], strict=True)]
    return {
        "id": architecture.id,
        "gmacs_224": round(network_cost(architecture.blocks()).macs / 1e9, 3),
        "images_per_s": {
            name: [round(rate, 1) for rate in values] for name, values in rates.items()
        },
        "plain": best,
        "ratio": round(statistics.median(ratios), 3),
        "ratio_low": round(min(ratios), 3),
        "ratio_high": round(max(ratios), 3),
    }


def main() -> int:
    parser = make_parser(__doc__, quick="the small network, 3 rounds")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = ProxyConfig()
    data = load_data(config)
    rounds = 3 if args.quick else 9
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        dataset = PngFolder(Path(folder), data, 4_000, config)
        for name, architecture in networks(args.quick).items():
            steps = 20 if name == "small" else 8
            results[name] = compare(architecture, data, dataset, rounds, steps)
    show(results)
    details = {
        "threads": args.threads,
        "rounds": rounds,
        "config": config.model_dump(),
        "target_ratio": TARGET_RATIO,
        "networks": results,
    }
    met = None if args.quick else verdict(details)
    write_result(
        args.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("torch", "pillow"),
        figures=figures(details),
        details=details,
    )
    return exit_status(met)


def verdict(details: dict[str, Any]) -> bool:
    return bool(details["networks"]["small"]["ratio"] >= TARGET_RATIO)


def figures(details: dict[str, Any]) -> dict[str, str]:
    """The numbers that the documentation shows."""
    return {
        f"times as many, {name} ({network['gmacs_224']:.1f} GMACs)": (
            f"{network['ratio']:.2f} ({network['ratio_low']:.2f} to {network['ratio_high']:.2f})"
        )
        for name, network in details["networks"].items()
    }


def show(results: dict[str, Any]) -> None:
    table = Table(title="Training, images per second (median of rounds)")
    table.add_column("network", no_wrap=True)
    for name in ("GMACs", "ours", "plain, 0 workers", "plain, 2 workers", "ratio (range)"):
        table.add_column(name, justify="right")
    for name, result in results.items():
        rates = (f"{statistics.median(v):.0f}" for v in result["images_per_s"].values())
        spread = f"{result['ratio_low']:.2f} to {result['ratio_high']:.2f}"
        table.add_row(
            name, f"{result['gmacs_224']:.2f}", *rates, f"{result['ratio']:.2f} ({spread})"
        )
    Console().print(table)
    verdict = results["small"]["ratio"]
    Console().print(f"ratio of the small network {verdict:.2f} (target {TARGET_RATIO})")


if __name__ == "__main__":
    sys.exit(main())
