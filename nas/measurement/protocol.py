"""The measuring protocol, the same for every runtime and for device kits.

- In each round every model has one turn, in which it runs several times. A reference block is timed
  before and after each turn. The latency of a model is its time, over the time of the reference
  before and after it, times the latency that the reference had when the table was begun. So a later
  change in the speed of the machine cancels out.
- A slow spell (a neighbour on the same host, a throttled clock) does not slow all models by the
  same factor. So turns wait, for a limited time, until the reference runs at full speed, and a
  round in which the reference was slower has less weight: half at a slowdown of `QUIET_TOLERANCE`.
- Before the first turn every model runs once without being timed, because runtimes compile, choose
  kernels and fill caches in their first run.
- Rounds are repeated until the confidence interval of the median over rounds is narrow, at least
  ``min_rounds`` and at most ``max_rounds`` times. A model whose interval is still too wide to be of
  use (`MAX_CI_PCT`) is measured as often again.

Device kits carry this file, so it needs only Python's standard library.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from nas.errors import ConfigError

Session = Callable[[float], "list[float]"]
"""Runs a loaded model for about the given number of seconds; returns the latency in ms of every
run."""

QUIET_TOLERANCE = 0.05
"""Slowdown of the reference, as a fraction, at which a round has half its weight."""

REFERENCE_SHARE = 0.4
"""Duration of a turn of the reference, as a fraction of a turn of a model."""

REFERENCE_BEGIN_S, REFERENCE_PAUSE_S = 5.0, 0.1
"""Seconds for which the reference is timed when a table is begun, and the length of its turns
and of the pauses between them."""

WAIT_S, WAIT_SHARE = 10.0, 0.3
"""Longest wait for the machine to become quiet, in seconds: `WAIT_S`, plus `WAIT_SHARE` of the
time spent measuring."""

FAR_OFF, MEDIAN_TO_DEVIATION = 4.0, 1.4826
"""A round further from the median than `FAR_OFF` standard deviations counts as disturbed. The
standard deviation of normal errors is `MEDIAN_TO_DEVIATION` times their median size."""

MAX_CI_PCT = 20.0
"""A measurement of which half the 95% interval is wider, in percent of the latency, is not steady:
the machine was too busy."""

NOT_STEADY = (
    f"the machine was too busy to measure them (95% interval wider than ±{MAX_CI_PCT:.0f}%)"
)
"""Why measurements are left out, for messages."""

MAX_SPREAD_PCT = 9_999.0
"""Largest spread that the files of tables and results can hold."""


@dataclass(frozen=True)
class Timing:
    """A measured latency.

    Attributes:
        latency_ms: weighted median over rounds, scaled to a reference of ``reference_ms``.
        ci_pct: half the 95% confidence interval, in percent of the latency.
        spread_pct: half the range of the latencies of the rounds, in percent of the latency, and
            at most `MAX_SPREAD_PCT`: an interruption can multiply the latency of a very short run.
        runs: number of timed runs.
        reference_ms: latency of the reference to which ``latency_ms`` is scaled; 0 for published
            figures, which have no reference.
    """

    latency_ms: float
    ci_pct: float
    spread_pct: float
    runs: int
    reference_ms: float = 0.0

    @property
    def steady(self) -> bool:
        """Whether the machine was quiet enough for the latency to be known, see `MAX_CI_PCT`."""
        return self.ci_pct <= MAX_CI_PCT

    def at_reference(self, reference_ms: float) -> Timing:
        """The same measurement, scaled to another latency of the reference."""
        scale = reference_ms / self.reference_ms
        return replace(self, latency_ms=scale * self.latency_ms, reference_ms=reference_ms)

    def without(self, overhead_ms: float) -> Timing:
        """The same measurement without the overhead of a call.

        A tenth of the latency remains at least.
        """
        return replace(self, latency_ms=max(self.latency_ms - overhead_ms, 0.1 * self.latency_ms))


def mean_timing(timings: Sequence[Timing]) -> Timing:
    """Geometric mean of several measurements of a model.

    It is scaled to the reference latency of the last measurement.
    """
    count, reference_ms = len(timings), timings[-1].reference_ms
    if reference_ms:
        timings = [t.at_reference(reference_ms) if t.reference_ms else t for t in timings]
    return Timing(
        latency_ms=math.exp(math.fsum(math.log(t.latency_ms) for t in timings) / count),
        ci_pct=math.hypot(*(t.ci_pct for t in timings)) / count,
        spread_pct=max(t.spread_pct for t in timings),
        runs=sum(t.runs for t in timings),
        reference_ms=reference_ms,
    )


@dataclass(frozen=True)
class Effort:
    """The number and length of turns, and the precision to reach.

    Attributes:
        turn_s: least duration of a turn, seconds.
        min_rounds, max_rounds: least and largest number of turns of a model; twice as many for a
            model whose latency is not steady.
        ci_pct: a model gets no more turns once its ``Timing.ci_pct`` is at most this.
    """

    turn_s: float
    min_rounds: int
    max_rounds: int
    ci_pct: float

    def __post_init__(self) -> None:
        if not (self.turn_s > 0 and 1 <= self.min_rounds <= self.max_rounds and self.ci_pct > 0):
            raise ConfigError(f"an effort needs positive values and min <= max rounds, got {self}")


BLOCK_EFFORT = Effort(turn_s=0.01, min_rounds=5, max_rounds=8, ci_pct=4.0)
NETWORK_EFFORT = Effort(turn_s=0.03, min_rounds=8, max_rounds=20, ci_pct=1.5)
"""Effort for the networks of a table. It has many short turns, because the reference shows the
speed of the machine only for a model that is timed right before or after it."""
DECIDING_EFFORT = Effort(turn_s=0.03, min_rounds=12, max_rounds=60, ci_pct=0.75)
"""Effort for networks whose own latency decides something: whether the network is within the
budget, or whether a table is still valid. (In a table the errors of many networks average out.)"""


class Reference:
    """The reference block on this device. It shows how fast the machine runs at the moment.

    Args:
        session: runs the reference block.
        latency_ms: latency of the reference to which all timings are scaled; None to measure it
            now.
    """

    def __init__(self, session: Session, latency_ms: float | None = None) -> None:
        self._session = session
        self._turns_ms: list[float] = []
        session(REFERENCE_PAUSE_S)  # warm-up
        for _ in range(1 if latency_ms else round(REFERENCE_BEGIN_S / (2 * REFERENCE_PAUSE_S))):
            self.turn(REFERENCE_PAUSE_S)
            time.sleep(REFERENCE_PAUSE_S)
        self.latency_ms = latency_ms or self.quiet_ms
        self._began_s, self._waited_s = time.monotonic(), 0.0

    def turn(self, duration_s: float) -> float:
        """Time the reference for one turn; returns its latency in ms."""
        self._turns_ms.append(statistics.median(self._session(duration_s)))
        return self._turns_ms[-1]

    def quiet_turn(self, duration_s: float) -> float:
        """Time the reference until the machine is quiet, or the longest wait is over.

        Returns:
            Latency of the last turn, in ms.
        """
        while True:
            latency_ms = self.turn(duration_s)
            spent_s = time.monotonic() - self._began_s - self._waited_s
            patient = self._waited_s < WAIT_S + WAIT_SHARE * spent_s
            if self.slowdown(latency_ms) <= 2 * QUIET_TOLERANCE or not patient:
                return latency_ms
            time.sleep(REFERENCE_PAUSE_S)
            self._waited_s += REFERENCE_PAUSE_S

    def slowdown(self, latency_ms: float) -> float:
        """Natural logarithm of ``latency_ms`` over the reference's quiet latency, at least 0.

        Args:
            latency_ms: latency of the reference in one turn.
        """
        return max(0.0, math.log(latency_ms / min(self.quiet_ms, self.latency_ms)))

    @property
    def quiet_ms(self) -> float:
        """Latency on the quiet machine, in ms: the tenth percentile of all turns so far."""
        ordered = sorted(self._turns_ms)
        return ordered[len(ordered) // 10]


@dataclass(frozen=True)
class _Round:
    """One turn of a model.

    Attributes:
        ratio: latency of the model over ``reference_ms``.
        reference_ms: mean latency of the reference before and after the turn.
    """

    ratio: float
    reference_ms: float


def measure(sessions: Sequence[Session], reference: Reference, effort: Effort) -> list[Timing]:
    """Time several models in turns.

    Args:
        sessions: one session for each model.
        reference: timed before and after every turn.
        effort: number and length of turns.

    Returns:
        One timing for each session, in order.
    """
    rounds: list[list[_Round]] = [[] for _ in sessions]
    runs = [0] * len(sessions)
    going = list(range(len(sessions)))
    with _garbage_collection_off():
        for session in sessions:
            session(0.0)
        for number in range(2 * effort.max_rounds):
            before_ms = reference.quiet_turn(REFERENCE_SHARE * effort.turn_s)
            # Every other round runs backwards, so that no model always follows the same one.
            for index in going if number % 2 == 0 else reversed(going):
                times_ms = sessions[index](effort.turn_s)
                after_ms = reference.turn(REFERENCE_SHARE * effort.turn_s)
                local_ms = (before_ms + after_ms) / 2
                rounds[index].append(_Round(statistics.median(times_ms) / local_ms, local_ms))
                runs[index] += len(times_ms)
                before_ms = after_ms
                if reference.slowdown(after_ms) > 2 * QUIET_TOLERANCE:
                    before_ms = reference.quiet_turn(REFERENCE_SHARE * effort.turn_s)
            if number + 1 >= effort.min_rounds:
                enough = effort.ci_pct if number + 1 < effort.max_rounds else MAX_CI_PCT
                going = [
                    index
                    for index in going
                    if _summary(rounds[index], runs[index], reference).ci_pct > enough
                ]
            if not going:
                break
    return [_summary(r, count, reference) for r, count in zip(rounds, runs, strict=True)]


def _summary(rounds: Sequence[_Round], runs: int, reference: Reference) -> Timing:
    weights = [
        1 / (1 + (reference.slowdown(entry.reference_ms) / QUIET_TOLERANCE) ** 2)
        for entry in rounds
    ]
    ratios = [entry.ratio for entry in rounds]
    ratio = weighted_median(ratios, weights)
    return Timing(
        latency_ms=ratio * reference.latency_ms,
        ci_pct=100 * _relative_half_interval(ratios, weights, ratio),
        spread_pct=min(100 * (max(ratios) - min(ratios)) / 2 / ratio, MAX_SPREAD_PCT),
        runs=runs,
        reference_ms=reference.latency_ms,
    )


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """Weighted median, interpolated between the two values next to it."""
    pairs = sorted(zip(values, weights, strict=True))
    total = math.fsum(weights)
    positions, reached = [], 0.0
    for _, weight in pairs:
        positions.append((reached + weight / 2) / total)
        reached += weight
    for index in range(1, len(pairs)):
        if positions[index] >= 0.5:
            if positions[index - 1] >= 0.5:
                return pairs[index - 1][0]
            gap = positions[index] - positions[index - 1]
            share = (0.5 - positions[index - 1]) / gap
            return pairs[index - 1][0] + share * (pairs[index][0] - pairs[index - 1][0])
    return pairs[-1][0]


def _relative_half_interval(
    values: Sequence[float], weights: Sequence[float], median: float
) -> float:
    """Half the 95% confidence interval of the weighted median, as a fraction of the median.

    The standard error of a median is 1.2533 times that of a mean, for normal errors. Errors beyond
    `FAR_OFF` deviations are clipped, because their size does not move a median. With one value, or
    almost all weight on one, the interval is unknown and the result is 1 (JSON has no infinity).
    """
    effective = math.fsum(weights) ** 2 / math.fsum(w * w for w in weights)
    if len(values) < 2 or effective < 1.5:
        return 1.0
    errors = [abs(value / median - 1) for value in values]
    far_off = FAR_OFF * MEDIAN_TO_DEVIATION * weighted_median(errors, weights) or math.inf
    squares = math.fsum(w * min(e, far_off) ** 2 for e, w in zip(errors, weights, strict=True))
    variance = squares / math.fsum(weights) * effective / (effective - 1)
    return min(1.0, _student_t(effective - 1) * 1.2533 * math.sqrt(variance / effective))


def _student_t(freedom: float) -> float:
    """Two-sided 95% quantile of Student's t, within 1% from two degrees of freedom (Abramowitz and
    Stegun 26.7.5), within 3% from one.

    Below three degrees of freedom the expansion is poor: there the logarithm is interpolated over
    the reciprocal, between exact values.
    """
    z, n = 1.959964, max(freedom, 1.0)
    if n < 3:
        low, (at_low, at_high) = (1, (12.7062, 4.3027)) if n < 2 else (2, (4.3027, 3.1824))
        share = (1 / low - 1 / n) / (1 / low - 1 / (low + 1))
        return float(at_low * (at_high / at_low) ** share)
    first = (z**3 + z) / (4 * n)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    return z + first + second + third


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
