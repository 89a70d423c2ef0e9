"""The work of one trial: train a candidate by proxy. Runs in a worker process."""

from __future__ import annotations

import signal
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from nas.architecture import Architecture
from nas.config import ProxyConfig
from nas.errors import DataWarning
from nas.latency.process import end_with_parent

if TYPE_CHECKING:
    from nas.proxy.data import ProxyData


@dataclass(frozen=True)
class Evaluation:
    """What a worker sends back.

    Attributes:
        accuracy: proxy validation accuracy, 0..1.
        diverged: training was stopped because its loss exploded.
        train_s: seconds of training, evaluation not included.
    """

    accuracy: float
    diverged: bool
    train_s: float


def start_worker(threads: int) -> None:
    """Prepare a worker process: its share of the cores; Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    import torch

    warnings.simplefilter("ignore", DataWarning)  # the parent has read the data and said it
    torch.set_num_threads(threads)


def evaluate(architecture: dict[str, Any], proxy: ProxyConfig, seed: int) -> Evaluation:
    """Train one candidate.

    Args:
        architecture: as `Architecture.to_json` writes it, so that any executor can send it.
        proxy: how to train.
        seed: of weights, order and augmentation.

    Raises:
        DataError: the data cannot be read.
    """
    from nas.proxy.train import train_proxy

    result = train_proxy(Architecture.from_json(architecture), _data(proxy), proxy, seed)
    return Evaluation(result.accuracy, result.diverged, result.train_s)


@lru_cache(maxsize=1)
def _data(proxy: ProxyConfig) -> ProxyData:
    from nas.proxy.data import load_data

    return load_data(proxy)
