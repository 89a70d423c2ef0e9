"""The measuring protocol, the same for every runtime and for device kits.

- What is measured takes turns, and the reference block has a turn before and after each of
  them. A latency is the ratio to the reference around it, times the reference's own latency
  when the table was begun: a machine that has become slower or faster since drops out.
- A slow spell (a neighbour on the same host, a throttled clock) does not lengthen everything
  alike: here a network became 39% slower while the reference became 21% slower. So turns wait,
  for a limited time, until the reference runs as fast as it can, and a round counts the less, the
  slower the reference ran in it: with `QUIET_TOLERANCE` slowdown, half.
- Before the first turn everything runs once, unmeasured: runtimes compile, choose kernels and fill
  caches then.
- Turns go on until the confidence interval of the median over rounds is narrow, at least
  ``min_rounds`` and at most ``max_rounds``.

Needs only Python's standard library: device kits carry this file.
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
"""Runs a loaded model for about the given seconds; returns the latency in ms of every run."""

QUIET_TOLERANCE = 0.05
"""Slowdown of the reference, as a fraction, at which a round has half its weight."""

REFERENCE_SHARE = 0.4
"""A turn of the reference lasts this fraction of a turn of what is measured."""

REFERENCE_BEGIN_S, REFERENCE_PAUSE_S = 5.0, 0.1
"""How long the reference is timed when a table is begun, in turns with pauses between them."""

WAIT_S, WAIT_SHARE = 10.0, 0.3
"""Waiting for the machine to become quiet takes at most so long, and so much of the time
spent measuring in addition."""

FAR_OFF, MEDIAN_TO_DEVIATION = 4.0, 1.4826
"""Rounds further from the median than so many standard deviations were disturbed; the standard
deviation of normal errors is so many times their median size."""

MAX_SPREAD_PCT = 9_999.0
"""Files of tables and results take no spread of 10,000% or more."""


@dataclass(frozen=True)
class Timing:
    """A measured latency.

    Attributes:
        latency_ms: weighted median over rounds, with the reference at ``reference_ms``.
        ci_pct: half the 95% confidence interval, in percent of the latency.
        spread_pct: half the range between rounds, in percent of the latency; at most
            `MAX_SPREAD_PCT`, which a run of microseconds passes when it is interrupted once.
        runs: timed runs.
        reference_ms: latency of the reference that the row is expressed at; 0 for published
            figures, which had none.
    """

    latency_ms: float
    ci_pct: float
    spread_pct: float
    runs: int
    reference_ms: float = 0.0

    def at_reference(self, reference_ms: float) -> Timing:
        """The same measurement with the reference at another latency."""
        scale = reference_ms / self.reference_ms
        return replace(self, latency_ms=scale * self.latency_ms, reference_ms=reference_ms)

    def without(self, overhead_ms: float) -> Timing:
        """The latency less the fixed time of a call; at least a tenth of it is left."""
        return replace(self, latency_ms=max(self.latency_ms - overhead_ms, 0.1 * self.latency_ms))


def mean_timing(timings: Sequence[Timing]) -> Timing:
    """Several measurements of a model as one: their geometric mean, with the reference as it was
    in the last."""
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
    """How thoroughly to measure.

    Attributes:
        turn_s: a turn lasts at least so many seconds.
        min_rounds, max_rounds: turns each model gets.
        ci_pct: a model has no more turns once ``Timing.ci_pct`` is below.
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
"""Many short turns: the reference next to a run of 50 ms tells how fast the machine was then,
that next to a turn of several runs no longer does."""
DECIDING_EFFORT = Effort(turn_s=0.03, min_rounds=12, max_rounds=60, ci_pct=0.75)
"""Of a network whose latency alone decides: whether it is within a budget, whether a table holds.
In a table the errors of many networks average out."""


class Reference:
    """The reference block on this device: the yardstick that slow spells are told by.

    Args:
        session: runs it.
        latency_ms: what the latencies are expressed at; None measures it now.
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
        """Its latency in ms just now."""
        self._turns_ms.append(statistics.median(self._session(duration_s)))
        return self._turns_ms[-1]

    def quiet_turn(self, duration_s: float) -> float:
        """Its latency in ms once the machine is quiet, or when it was waited for long enough."""
        while True:
            latency_ms = self.turn(duration_s)
            spent_s = time.monotonic() - self._began_s - self._waited_s
            patient = self._waited_s < WAIT_S + WAIT_SHARE * spent_s
            if self.slowdown(latency_ms) <= 2 * QUIET_TOLERANCE or not patient:
                return latency_ms
            time.sleep(REFERENCE_PAUSE_S)
            self._waited_s += REFERENCE_PAUSE_S

    def slowdown(self, latency_ms: float) -> float:
        """How much slower than on the quiet machine it ran, as the logarithm of the ratio."""
        return max(0.0, math.log(latency_ms / min(self.quiet_ms, self.latency_ms)))

    @property
    def quiet_ms(self) -> float:
        """Its latency while the machine is quiet: the tenth percentile of all turns so far."""
        ordered = sorted(self._turns_ms)
        return ordered[len(ordered) // 10]


@dataclass(frozen=True)
class _Round:
    """One turn: latency over the reference's, and the reference's in ms."""

    ratio: float
    reference_ms: float


def measure(sessions: Sequence[Session], reference: Reference, effort: Effort) -> list[Timing]:
    """Time several models in turns.

    Args:
        sessions: what to time.
        reference: timed between all turns.
        effort: how long and how often.

    Returns:
        One timing for each session, in order.
    """
    rounds: list[list[_Round]] = [[] for _ in sessions]
    runs = [0] * len(sessions)
    going = list(range(len(sessions)))
    with _garbage_collection_off():
        for session in sessions:
            session(0.0)
        for number in range(effort.max_rounds):
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
                going = [
                    index
                    for index in going
                    if _summary(rounds[index], runs[index], reference).ci_pct > effort.ci_pct
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
    """The median where each value counts by its weight; between two values it is interpolated."""
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
    """Half the 95% confidence interval of the weighted median over the median.

    A median's standard error is that of a mean times 1.2533 for normal errors. What is far off
    counts as `FAR_OFF` deviations: how far does not move a median. Fewer than two effective rounds
    tell nothing: infinity would not be a number in a file, so 100%.
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
    """Two-sided 95% quantile of Student's t, within 1% (Abramowitz and Stegun 26.7.5)."""
    z, n = 1.959964, freedom
    if n < 3:  # the expansion is poor there; exact at 1 and 2, a power of it between
        return float(12.706 * (4.303 / 12.706) ** math.log2(max(n, 1.0)))
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
