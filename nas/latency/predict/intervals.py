"""Predicted latencies with their intervals, and the spread of errors that sets their width."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nas.measurement.protocol import DECIDING_EFFORT

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LEAST_DEVIATION = 0.015
"""Least deviation of a network's own error, because leave-one-out errors are a little smaller than
errors on new networks. Chosen by ``benchmarks/latency_predictor.py``."""

SHARED_DEVIATION = 0.02
"""Standard deviation of the error that all networks of a session share, before any network was
measured in it. Leave-one-out errors cannot show it, as all are of one session; see
docs/benchmarks-notes.md."""

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


ALIKE = 1 / 7
"""Correlation of the errors of networks of one front. With it eight networks tell as much of the
factor that they share as four independent ones would."""


@dataclass(frozen=True)
class ErrorSpread:
    """Distribution of the errors of predictions: log(predicted / measured).

    An error is the sum of a network's own and of one that all networks share which are measured in
    the same session: the machine is a little faster or slower than when its table was measured.

    Attributes:
        own: standard deviation of the networks' own errors.
        freedom: degrees of freedom of the estimate of ``own``; at least one is used.
        shared: standard deviation of the shared error.
    """

    own: float
    freedom: int
    shared: float = 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation of the error of a network."""
        return math.hypot(self.own, self.shared)

    def quantile(self, confidence: float = CONFIDENCE) -> float:
        """Half the width of an interval, in standard deviations (Student's t)."""
        from scipy.special import stdtrit  # scipy.stats would take half a second to import

        return float(stdtrit(max(1, self.freedom), (1 + confidence) / 2))

    def factor(self, confidence: float = CONFIDENCE) -> float:
        """Factor of an interval, which is from prediction / factor to prediction * factor."""
        return math.exp(self.quantile(confidence) * self.deviation)

    def shared_by(self, count: int) -> float:
        """Standard deviation of the mean of ``count`` networks' own errors; see `ALIKE`."""
        return self.own * math.sqrt((1 + (count - 1) * ALIKE) / count)

    def after(self, log_ratio: float, noise: float) -> tuple[float, ErrorSpread]:
        """Learn the shared error from networks that were measured in the session.

        The prior is normal with mean zero and deviation ``shared``.

        Args:
            log_ratio: mean log(measured / predicted) of the networks.
            noise: standard deviation of that mean from what the session shares.

        Returns:
            Posterior mean of the logarithm of the session's factor, and the spread of errors of
            predictions that are multiplied by that factor.
        """
        if not self.shared:
            return 0.0, self
        trust = self.shared**2 / (self.shared**2 + noise**2)
        return trust * log_ratio, replace(self, shared=self.shared * math.sqrt(1 - trust))


MEASURED_AGAIN = ErrorSpread(own=0.0154, freedom=49)
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
    return replace(MEASURED_AGAIN, own=math.sqrt(of_two / 2 * (1 + 1 / times)))
