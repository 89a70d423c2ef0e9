"""Predicted latencies with their intervals, and the spread of errors that sets their width."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nas.measurement.protocol import DECIDING_EFFORT

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.90
"""Default confidence of the intervals of predicted and estimated latencies."""


@dataclass(frozen=True)
class Prediction:
    """Latencies in milliseconds with their intervals, one entry each: [n]."""

    latency_ms: NDArray[np.float64]
    low_ms: NDArray[np.float64]
    high_ms: NDArray[np.float64]


def log_deviation(relative_errors: ArrayLike) -> float:
    """Root mean square of log(predicted / measured).

    Args:
        relative_errors: predicted / measured - 1 of each prediction, [n].
    """
    errors = np.clip(np.asarray(relative_errors, dtype=np.float64), -0.99, None)
    return math.sqrt(float(np.mean(np.log1p(errors) ** 2)))


@dataclass(frozen=True)
class ErrorSpread:
    """Distribution of the errors of predictions.

    Attributes:
        deviation: standard deviation of log(predicted / measured).
        freedom: degrees of freedom of the estimate; at least one is used.
    """

    deviation: float
    freedom: int

    def quantile(self, confidence: float = CONFIDENCE) -> float:
        """Half the width of an interval, in standard deviations (Student's t)."""
        from scipy.special import stdtrit  # scipy.stats would take half a second to import

        return float(stdtrit(max(1, self.freedom), (1 + confidence) / 2))

    def factor(self, confidence: float = CONFIDENCE) -> float:
        """Factor of an interval, which is from prediction / factor to prediction * factor."""
        return math.exp(self.quantile(confidence) * self.deviation)


MEASURED_AGAIN = ErrorSpread(deviation=0.0154, freedom=49)
"""Spread of the ratio of two measurements of a network, made in different processes. Chosen by
``benchmarks/measurement_repeatability.py`` and ``benchmarks/budget_kept.py``."""


def measured_again(ci_pct: float, times: int = 1) -> ErrorSpread:
    """Spread of the ratio of a network's next measurement to its known latency.

    The known latency is one measurement, or the mean of several. The spread is `MEASURED_AGAIN`,
    wider for a measurement that is less certain than `DECIDING_EFFORT` requires, and narrower for
    a mean.

    Args:
        ci_pct: half the 95% interval of the measurement, or of the mean of several
            (`nas.measurement.protocol.mean_timing`), in percent.
        times: how often the network was measured.
    """
    once, usual = (pct / 100 / 1.96 for pct in (math.sqrt(times) * ci_pct, DECIDING_EFFORT.ci_pct))
    of_two = MEASURED_AGAIN.deviation**2 + 2 * max(0.0, once**2 - usual**2)
    return replace(MEASURED_AGAIN, deviation=math.sqrt(of_two / 2 * (1 + 1 / times)))
