"""The proxy training of one candidate, in a worker process."""

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
"""How often an OpenMP thread spins while it waits for the others, before it sleeps. The default,
300,000, slows training on a busy machine. Chosen by ``benchmarks/shared_machine.py``."""


@dataclass(frozen=True)
class Evaluation:
    """The result that a worker sends back.

    Attributes:
        accuracy: proxy validation accuracy, 0..1.
        diverged: whether training was stopped because the loss diverged.
        train_s: seconds of training, without evaluation.
        images: images seen since the beginning of the training.
    """

    accuracy: float
    diverged: bool
    train_s: float
    images: int


def start_worker(threads: int) -> None:
    """Prepare a worker process: set its number of threads, and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(
            "GOMP_SPINCOUNT", str(SPINS)
        )  # OpenMP reads it when torch is imported
    import torch

    warnings.simplefilter("ignore", DataWarning)  # the parent has read the data and has warned
    torch.set_num_threads(threads)


def evaluate(
    architecture: dict[str, Any],
    proxy: ProxyConfig,
    seed: int,
    rungs: Sequence[int] = (),
    checkpoint: str | None = None,
) -> Evaluation:
    """Train one candidate, or resume its training.

    Args:
        architecture: as written by `Architecture.to_json`, so that any executor can send it.
        proxy: the recipe.
        seed: of weights, order of images and augmentation.
        rungs: images at every rung, up to the one to stop at; without rungs the training is not
            interrupted.
        checkpoint: file from which training is resumed, and which is written at the end.

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
