"""Proxy training: trains an architecture on a small task for a short time.

The data set is held in memory and augmented in batches. The memory format is channels_last, and the
optimiser AdamW with warm-up and a cosine schedule. The loss has label smoothing, and the moving
average of the weights is evaluated.

Shape suffixes: N images of a split, B batch, 3 colours, H height, W width, C classes.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.accuracy.data.dataset import ProxyData
from nas.accuracy.small_maps import specialise
from nas.config import ProxyConfig
from nas.errors import DataError
from nas.models.layers import BlockModule
from nas.models.network import Network, build_network
from nas.space.architecture import Architecture

CHECK_EVERY = 20
"""Steps between two checks of the loss. A check has to wait for the step to end."""

DIVERGED_LOSS = 2.0
"""Training has diverged if the mean loss is above this multiple of log(classes)."""

AVERAGE_EVERY = 4
"""Steps between two updates of the moving average. Updates read all weights, which takes time."""

EVALUATION_BATCH = 500

BETAS = (0.9, 0.98)
"""Betas of AdamW. The default 0.999 averages over more steps than a proxy training has."""

FULL_RATE_FAN_IN = 128
"""Largest fan-in of a weight matrix that has the full learning rate; see `build_optimizer`."""

_PROGRESS = ("step", "train_s", "train_loss", "diverged")

MEAN, STD = 127.5, 64.0
"""Mean and standard deviation by which colours (0 to 255) are normalised."""


@dataclass(frozen=True)
class ProxyResult:
    """Result of one proxy training.

    Attributes:
        accuracy: validation accuracy of the averaged weights, 0 to 1; 0 if training diverged.
        diverged: whether training was stopped because the loss diverged.
        train_loss: mean cross entropy, with label smoothing, over at most the last `CHECK_EVERY`
            steps.
        steps: number of optimiser steps.
        train_s: seconds of training, without evaluation.
        images_per_s: training images per second.
    """

    accuracy: float
    diverged: bool
    train_loss: float
    steps: int
    train_s: float
    images_per_s: float


class ProxyTraining:
    """The state of one training: weights, their average, optimiser, and position in the data.

    The result is reproducible on the same machine with the same architecture, data, configuration,
    seed and number of threads.

    Args:
        architecture: architecture to train; its head has the classes of the data.
        data: data set to train on.
        config: the recipe.
        seed: seed of the initial weights, the order of the images and their augmentation.
        rungs: numbers of images at which the learning rate has fallen to zero and restarts (warm
            restarts, arXiv 1608.03983); by default it falls to zero at the end alone.

    Raises:
        ArchitectureError: the network cannot run at the resolution of the data.
        DataError: there are fewer training images than a batch needs.
    """

    def __init__(
        self,
        architecture: Architecture,
        data: ProxyData,
        config: ProxyConfig,
        seed: int,
        rungs: Sequence[int] = (),
    ) -> None:
        if len(data.train_images) < config.batch_size:
            raise DataError(
                f"{data.name}: {len(data.train_images)} training images do not fill a batch of "
                f"{config.batch_size} in proxy training: add images"
            )
        architecture.expand(data.workload)
        self.data = data
        self.config = config
        self.total_steps = steps_of(config.train_images, config)
        self.rung_steps = sorted({steps_of(images, config) for images in rungs})
        self.step = 0
        self.train_s = 0.0
        self.train_loss = math.nan
        self.diverged = False
        self.network = _seeded_network(architecture, data.num_classes, seed)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = build_optimizer(self.network, config)
        self.generator = torch.Generator().manual_seed(seed)
        self.batches = BatchSource(data.train_images, data.train_labels, config, self.generator)

    def run(self, until_step: int | None = None) -> None:
        """Train up to ``until_step`` (default: ``total_steps``), or until the loss diverges."""
        last = self.total_steps if until_step is None else min(until_step, self.total_steps)
        self.network.train()
        losses: list[Tensor] = []
        start = time.perf_counter()
        while self.step < last and not self.diverged:
            losses.append(self._train_step())
            if self.step % AVERAGE_EVERY == 0 or self.step in (*self.rung_steps, self.total_steps):
                self._update_average()
            if len(losses) == CHECK_EVERY or self.step == last:
                self._check(losses)
                losses = []
        self.train_s += time.perf_counter() - start

    def result(self) -> ProxyResult:
        """Evaluate the averaged weights on the validation split."""
        accuracy = 0.0
        if not self.diverged:
            accuracy = evaluate(self.average, self.data.val_images, self.data.val_labels)
        images = self.step * self.config.batch_size
        return ProxyResult(
            accuracy=accuracy,
            diverged=self.diverged,
            train_loss=self.train_loss,
            steps=self.step,
            train_s=self.train_s,
            images_per_s=images / self.train_s if self.train_s else 0.0,
        )

    def state_dict(self) -> dict[str, Any]:
        """The complete state: training resumed from it gives the same result as without a stop."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "order": self.batches.order,
            "progress": {name: getattr(self, name) for name in _PROGRESS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the `state_dict` of a training of the same architecture, data and configuration.

        Raises:
            KeyError, RuntimeError, ValueError: the state belongs to another training.
        """
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.batches.order = state["order"]
        for name in _PROGRESS:
            setattr(self, name, state["progress"][name])

    def _train_step(self) -> Tensor:
        begun = max((step for step in self.rung_steps if step <= self.step), default=0)
        end = min((step for step in self.rung_steps if step > self.step), default=self.total_steps)
        share = schedule(self.step - begun, end - begun, self.config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = share * self.config.learning_rate * group["scale"]
        x_B3HW, labels_B = self.batches.next()
        logits_BC = self.network(x_B3HW)
        loss = F.cross_entropy(logits_BC, labels_B, label_smoothing=self.config.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    def _check(self, losses: list[Tensor]) -> None:
        self.train_loss = float(torch.stack(losses).mean())
        limit = DIVERGED_LOSS * math.log(self.data.num_classes)
        self.diverged = not self.train_loss <= limit  # NaN compares false

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the moving average; the decay is smaller in the first steps."""
        decay = self.config.ema_decay**AVERAGE_EVERY
        decay = min(decay, self.step / (self.step + 10 * AVERAGE_EVERY))
        averaged, current = _floats(self.average), _floats(self.network)
        torch._foreach_lerp_(averaged, current, 1.0 - decay)


class BatchSource:
    """An endless source of augmented batches of a split held in memory.

    Every image is used once before any is used again. Each image is shifted by whole pixels (the
    border is replicated), and its contrast and brightness are changed at random.

    Args:
        images: uint8 [N, 3, H, W].
        labels: int64 [N].
        config: batch size and strength of the augmentation.
        generator: random generator of the order and the augmentation; every batch advances it.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, config: ProxyConfig, generator: torch.Generator
    ) -> None:
        height, width = images.shape[-2:]
        self.shift = round(config.shift * width)
        padded = images
        if self.shift:
            padded = F.pad(images.float(), (self.shift,) * 4, mode="replicate").to(torch.uint8)
        self.windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        self.labels = labels
        self.config = config
        self.generator = generator
        self.order = torch.empty(0, dtype=torch.int64)

    def next(self) -> tuple[Tensor, Tensor]:
        """The next batch: normalised float images [B, 3, H, W], channels_last, and labels [B]."""
        size = self.config.batch_size
        if len(self.order) < size:
            fresh = torch.randperm(len(self.labels), generator=self.generator)
            self.order = torch.cat([self.order, fresh])
        chosen_B, self.order = self.order[:size], self.order[size:]
        span = 2 * self.shift + 1
        offset_2B = torch.randint(span, (2, size), generator=self.generator)
        images = self.windows[chosen_B, :, offset_2B[0], offset_2B[1]]
        x_B3HW = normalise(images)
        jitter_2B111 = torch.rand(2, size, 1, 1, 1, generator=self.generator) * 2 - 1
        jitter_2B111 *= self.config.jitter
        x_B3HW = x_B3HW.mul_(1 + jitter_2B111[0]).add_(jitter_2B111[1])
        return x_B3HW, self.labels[chosen_B]


def train_proxy(
    architecture: Architecture, data: ProxyData, config: ProxyConfig, seed: int
) -> ProxyResult:
    """Train an architecture from scratch and evaluate it on the validation split.

    For arguments and errors see `ProxyTraining`.
    """
    training = ProxyTraining(architecture, data, config, seed)
    training.run()
    return training.result()


@torch.inference_mode()
def evaluate(network: Network, images: Tensor, labels: Tensor) -> float:
    """Accuracy of a network, 0 to 1.

    Args:
        network: not modified; a fused copy is evaluated.
        images: uint8 [N, 3, H, W].
        labels: int64 [N].
    """
    fused = copy.deepcopy(network).fuse()
    correct = 0
    for start in range(0, len(labels), EVALUATION_BATCH):
        images_B3HW = images[start : start + EVALUATION_BATCH]
        labels_B = labels[start : start + EVALUATION_BATCH]
        logits_BC = fused(normalise(images_B3HW))
        correct += int((logits_BC.argmax(1) == labels_B).sum())
    return correct / len(labels)


def normalise(images_B3HW: Tensor) -> Tensor:
    """Convert uint8 images to channels_last floats of about mean 0 and standard deviation 1."""
    x_B3HW = images_B3HW.to(torch.float32, memory_format=torch.channels_last)
    return x_B3HW.sub_(MEAN).mul_(1.0 / STD)


def steps_of(images: int, config: ProxyConfig) -> int:
    """Optimiser steps of a training on this number of images."""
    return max(1, round(images / config.batch_size))


def schedule(step: int, total_steps: int, warmup: float) -> float:
    """Learning rate as a fraction of its peak: linear warm-up, then half a cosine down to zero."""
    progress = (step + 1) / total_steps
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (progress - warmup) / (1.0 - warmup)))


def build_optimizer(network: nn.Module, config: ProxyConfig) -> torch.optim.AdamW:
    """AdamW with learning rates that suit all widths.

    A step of Adam changes every weight by about the learning rate, and the output of a layer by the
    learning rate times its fan-in. With one rate for all layers wide ones would be unstable where
    narrow ones learn, and the proxy would rank networks by how well they tolerate the rate. So the
    rate of a weight matrix is scaled by `FULL_RATE_FAN_IN` over its fan-in (maximal update
    parametrisation, arXiv 2203.03466). Biases and BatchNorms have the full rate and no decay.
    """
    by_scale: dict[float, list[nn.Parameter]] = {}
    vectors: list[nn.Parameter] = []
    for parameter in network.parameters():
        if parameter.ndim > 1:
            scale = min(1.0, FULL_RATE_FAN_IN / parameter[0].numel())
            by_scale.setdefault(scale, []).append(parameter)
        else:
            vectors.append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": matrices, "scale": scale, "weight_decay": config.weight_decay}
        for scale, matrices in by_scale.items()
    ]
    groups.append({"params": vectors, "scale": 1.0, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=BETAS, fused=True)


@torch.no_grad()
def initialise(network: Network) -> None:
    """Initialise a network for a short training.

    Weights preserve variance by fan-in (arXiv 1502.01852), and the last layer of every residual
    branch is zero, so that a block starts as its patch embedding (as in arXiv 1706.02677). The
    published initialisation, std 0.02 everywhere, suits hundreds of epochs: with it deep networks
    are hardly better than chance after a hundred steps.
    """
    for module in network.blocks.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            gain = 2.0 if isinstance(module, nn.Conv2d) else 1.0
            nn.init.normal_(module.weight, std=math.sqrt(gain / module.weight[0].numel()))
    for module in network.stem.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=math.sqrt(2.0 / module.weight[0].numel()))
    for block in network.blocks:
        assert isinstance(block, BlockModule)
        for layer in block.branch_ends():
            nn.init.zeros_(layer.weight)


def _seeded_network(architecture: Architecture, num_classes: int, seed: int) -> Network:
    """A new channels_last network; the caller's random state is not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(architecture, num_classes)
        initialise(network)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return specialise(network)


def _floats(network: nn.Module) -> list[Tensor]:
    """Parameters and BatchNorm statistics, without the integers ``num_batches_tracked``."""
    tensors = (*network.parameters(), *network.buffers())
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
