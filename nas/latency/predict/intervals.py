"""Latencies with their intervals, and how wide an interval must be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nas.measurement.protocol import DECIDING_EFFORT

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.90
"""Of the intervals of predicted and estimated latencies, where no other is asked for."""


@dataclass(frozen=True)
class Prediction:
    """Latencies in milliseconds with their intervals, one entry each: [n]."""

    latency_ms: NDArray[np.float64]
    low_ms: NDArray[np.float64]
    high_ms: NDArray[np.float64]


def log_deviation(relative_errors: ArrayLike) -> float:
    """Root mean square of log(predicted / measured), from errors predicted / measured - 1: [n]."""
    errors = np.clip(np.asarray(relative_errors, dtype=np.float64), -0.99, None)
    return math.sqrt(float(np.mean(np.log1p(errors) ** 2)))


@dataclass(frozen=True)
class ErrorSpread:
    """How far predictions are from measurements.

    Attributes:
        deviation: standard deviation of log(predicted / measured).
        freedom: degrees of freedom it was estimated with; at least one is taken.
    """

    deviation: float
    freedom: int

    def quantile(self, confidence: float = CONFIDENCE) -> float:
        """Deviations from the middle to either end of an interval (Student's t)."""
        from scipy.special import stdtrit  # scipy.stats would take half a second to import

        return float(stdtrit(max(1, self.freedom), (1 + confidence) / 2))

    def factor(self, confidence: float = CONFIDENCE) -> float:
        """What a prediction is divided and multiplied by for its interval."""
        return math.exp(self.quantile(confidence) * self.deviation)


MEASURED_AGAIN = ErrorSpread(deviation=0.0154, freedom=49)
"""How far a network is from what it was when it is measured again in another process: root mean
square of 20 networks (benchmarks/measurement_repeatability.py, ONNX Runtime: 0.96%) and of the 30
recommended by three runs of benchmarks/budget_kept.py (2.15, 1.71 and 1.55%). The last ten were
measured with `DECIDING_EFFORT`, the others with `NETWORK_EFFORT`."""


def measured_again(ci_pct: float, times: int = 1) -> ErrorSpread:
    """How far a network is from what it was when it is measured again.

    The ten recommended by a fourth run of benchmarks/budget_kept.py, on a noisier machine, differed
    from the mean of two measurements by 1.73%, and once more by 1.00%, where this expects 1.72%.

    Args:
        ci_pct: half the 95% interval of its measurement, or of the mean of several
            (`nas.measurement.protocol.mean_timing`). What each of them, and the next, is less sure
            of than `DECIDING_EFFORT` wants comes on top.
        times: how often it was measured.
    """
    once, usual = (pct / 100 / 1.96 for pct in (math.sqrt(times) * ci_pct, DECIDING_EFFORT.ci_pct))
    of_two = MEASURED_AGAIN.deviation**2 + 2 * max(0.0, once**2 - usual**2)
    return replace(MEASURED_AGAIN, deviation=math.sqrt(of_two / 2 * (1 + 1 / times)))
