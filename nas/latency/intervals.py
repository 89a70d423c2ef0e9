"""Latencies with their intervals, and how wide an interval must be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.90
"""Of all intervals of predicted and estimated latencies."""


@dataclass(frozen=True)
class Prediction:
    """Latencies in milliseconds with their 90% intervals, one entry each: [n]."""

    latency_ms: NDArray[np.float64]
    low_ms: NDArray[np.float64]
    high_ms: NDArray[np.float64]


def log_deviation(relative_errors: ArrayLike) -> float:
    """Root mean square of log(predicted / measured), from errors predicted / measured - 1: [n]."""
    errors = np.clip(np.asarray(relative_errors, dtype=np.float64), -0.99, None)
    return math.sqrt(float(np.mean(np.log1p(errors) ** 2)))


def interval_factor(deviation: float, freedom: int) -> float:
    """What a prediction is divided and multiplied by for its interval (Student's t).

    Args:
        deviation: standard deviation of log(predicted / measured).
        freedom: degrees of freedom it was estimated with; at least one is taken.
    """
    from scipy.special import stdtrit  # scipy.stats would take half a second to import

    return math.exp(float(stdtrit(max(1, freedom), (1 + CONFIDENCE) / 2)) * deviation)
