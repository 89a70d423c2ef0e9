"""The work of one trial: train a candidate by proxy. Runs in a worker process."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.config import ProxyConfig
from nas.errors import DataWarning
from nas.space.architecture import Architecture
from nas.system.processes import end_with_parent

if TYPE_CHECKING:
    from nas.accuracy.data.dataset import ProxyData

SPINS = 3_000
"""Turns in which a thread waits awake for the others. OpenMP's 300,000 take the cores from whatever
they wait for where anything else runs (`benchmarks/shared_machine.py`)."""


@dataclass(frozen=True)
class Evaluation:
    """What a worker sends back.

    Attributes:
        accuracy: proxy validation accuracy, 0..1.
        images: seen in training, in all.
        diverged: training was stopped because its loss exploded.
        train_s: seconds of training, evaluation not included.
    """

    accuracy: float
    diverged: bool
    train_s: float
    images: int


def start_worker(threads: int) -> None:
    """Prepare a worker process: its share of the cores; Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))  # is read when torch is imported
    import torch

    warnings.simplefilter("ignore", DataWarning)  # the parent has read the data and said it
    torch.set_num_threads(threads)


def evaluate(
    architecture: dict[str, Any],
    proxy: ProxyConfig,
    seed: int,
    rungs: Sequence[int] = (),
    checkpoint: str | None = None,
) -> Evaluation:
    """Train one candidate, or go on with it.

    Args:
        architecture: as `Architecture.to_json` writes it, so that any executor can send it.
        proxy: how to train.
        seed: of weights, order and augmentation.
        rungs: images at every rung up to the one to stop at; none trains in one part.
        checkpoint: file to go on from, and to keep what is needed to go on later.

    Raises:
        DataError: the data cannot be read.
        RunError: the checkpoint cannot be written.
    """
    from nas.accuracy.rung_training import train_to
    from nas.accuracy.training import train_proxy

    task = (Architecture.from_json(architecture), _data(proxy), proxy, seed)
    if rungs and checkpoint is not None:
        result = train_to(rungs, Path(checkpoint), *task)
    else:
        result = train_proxy(*task)
    seen = result.steps * proxy.batch_size
    return Evaluation(result.accuracy, result.diverged, result.train_s, seen)


@lru_cache(maxsize=1)
def _data(proxy: ProxyConfig) -> ProxyData:
    from nas.accuracy.data.dataset import load_data

    return load_data(proxy)
