"""Architectures and trainings that proxies are judged by (`benchmarks/proxy_fidelity.py`).

The architectures were fixed before any was trained, by ``random.Random(2025)`` and the committed
ONNX Runtime table: 20 of 6.5 to 7.5 ms, and one in each of 20 equal steps of log latency from the
fastest to 40 ms. Trainings are kept in a file, one a line, and none is done twice.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

import nas
from nas.accuracy.data.dataset import ProxyData, load_data
from nas.accuracy.training import ProxyTraining, evaluate
from nas.config import ProxyConfig
from nas.space.architecture import Architecture

TABLE_DEVICE = "amd-epyc-model17-2c"
SAMPLING_SEED = 2025
COUNT = 20
BAND_MS = (6.5, 7.5)
HIGHEST_MS = 40.0

TRUTH_IMAGES = 64_000
TRUTH_SEEDS = (0, 1)
RUNGS = (4_000, 8_000, 16_000, 32_000)
"""Images after which long trainings are looked at on their way."""

PROXY_SEED = 2
SHORT = ((1_000, 32), (2_000, 32), (4_000, 32), (8_000, 32), (16_000, 32), (8_000, 28))
"""Images seen and resolution of the short trainings."""


@dataclass(frozen=True)
class Job:
    """One training: what, how long, at which resolution, with which seed."""

    architecture: str
    images: int
    resolution: int
    seed: int


def choose_architectures() -> dict[str, list[Architecture]]:
    """The two sets, always the same."""
    predictor = nas.LatencyPredictor.fit(nas.load_table("onnxruntime", device=TABLE_DEVICE))
    space, rng = nas.load_space("nextvit"), random.Random(SAMPLING_SEED)

    def between(low_ms: float, high_ms: float) -> Architecture:
        while True:
            found = space.sample(rng, rng.uniform(-4.0, 4.0))
            if low_ms <= predictor.predict([found]).latency_ms[0] <= high_ms:
                return found

    band = [between(*BAND_MS) for _ in range(COUNT)]
    fastest_ms = min(predictor.predict([space.sample(rng, -8.0) for _ in range(2000)]).latency_ms)
    steps = [fastest_ms * (HIGHEST_MS / fastest_ms) ** (i / COUNT) for i in range(COUNT + 1)]
    return {"band": band, "space": [between(*ends) for ends in itertools.pairwise(steps)]}


def train(architecture: dict[str, Any], job: Job) -> dict[str, Any]:
    """One training in a process of one thread."""
    torch.set_num_threads(1)
    config = ProxyConfig(train_images=job.images, resolution=job.resolution)
    data = load_digits(job.resolution)
    training = ProxyTraining(Architecture.from_json(architecture), data, config, job.seed)
    rungs = RUNGS if job.images == TRUTH_IMAGES else ()
    on_the_way = {}
    cpu_s = 0.0
    for images in (*rungs, job.images):
        start = time.process_time()
        training.run(round(images / config.batch_size))
        cpu_s += time.process_time() - start
        on_the_way[images] = round(training.result().accuracy, 5)
    return asdict(job) | {
        "val": on_the_way.pop(job.images),
        "val_on_the_way": on_the_way,
        "test": round(evaluate(training.average, data.test_images, data.test_labels), 5),
        "loss": training.train_loss if math.isfinite(training.train_loss) else None,
        "diverged": training.diverged,
        "cpu_s": round(cpu_s, 2),
    }


@lru_cache(maxsize=3)
def load_digits(resolution: int) -> ProxyData:
    return load_data(ProxyConfig(resolution=resolution))


def jobs_of(architectures: list[Architecture], part: str | None) -> list[Job]:
    truth = [Job(a.id, TRUTH_IMAGES, 32, seed) for seed in TRUTH_SEEDS for a in architectures]
    short = [
        Job(a.id, images, resolution, PROXY_SEED)
        for images, resolution in SHORT
        for a in architectures
    ]
    return {"truth": truth, "short": short}.get(part or "", [*short, *truth])


def train_all(jobs: list[Job], by_id: dict[str, Architecture], path: Path, processes: int) -> None:
    """Do what is not in the file yet, and add it."""
    done = {Job(**{k: row[k] for k in Job.__annotations__}) for row in read_rows(path)}
    left = [job for job in jobs if job not in done]
    with ProcessPoolExecutor(processes) as pool:
        futures = [pool.submit(train, by_id[job.architecture].to_json(), job) for job in left]
        for number, future in enumerate(as_completed(futures), start=1):
            row = future.result()
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{number} of {len(left)}: {row}", file=sys.stderr, flush=True)


def read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
