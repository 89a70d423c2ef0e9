"""The measuring protocol, the same for every runtime.

What is to be compared is timed in turns: in every round each call is warmed up and run for a
while, and in every round the same reference block is timed before and after. The machine's slow
spells lengthen the reference too, so a round's times are scaled by how much slower the
reference ran than when the table was begun.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from nas.architecture import Block
from nas.errors import ConfigError
from nas.latency.runtimes.base import Call

REFERENCE_BLOCK = Block("ncb", 192, 192, 1, 28, 28, mlp_ratio=3.0)
"""A block of the published networks, neither tiny nor bound by memory."""

WARM_UP_RUNS = 2
MIN_RUNS = 5
MAX_RUNS = 60


@dataclass(frozen=True)
class Timing:
    """A measured latency.

    Attributes:
        latency_ms: median over rounds of each round's median, drift removed.
        spread_pct: half the range between rounds, in percent of the latency.
        runs: timed calls.
    """

    latency_ms: float
    spread_pct: float
    runs: int


@dataclass(frozen=True)
class Reference:
    """The reference block on this device.

    Attributes:
        call: runs it once.
        latency_ms: its latency when the table was begun.
    """

    call: Call
    latency_ms: float


def measure_reference(call: Call, rounds: int = 9) -> Reference:
    """Time the reference block for a new table: the median of several rounds."""
    times = [_round_median(call, 0.05)[0] for _ in range(rounds)]
    return Reference(call, statistics.median(times))


def measure(
    calls: Sequence[Call], reference: Reference, rounds: int = 3, round_s: float = 0.05
) -> list[Timing]:
    """Time several calls in turns.

    Args:
        calls: what to time.
        reference: timed around every round to take the machine's drift out.
        rounds: how often each call gets its turn.
        round_s: how long a turn lasts at least, in seconds; at most `MAX_RUNS` runs.

    Returns:
        One timing for each call, in order.
    """
    if rounds < 1 or round_s <= 0:
        raise ConfigError(f"rounds and round_s must be positive, got {rounds} and {round_s}")
    medians: list[list[float]] = [[] for _ in calls]
    runs = [0] * len(calls)
    enabled = gc.isenabled()
    gc.disable()
    try:
        for number in range(rounds):
            before_ms, _ = _round_median(reference.call, round_s)
            turn_ms = []
            # Every other round runs backwards, so that no call always follows the same one.
            order = range(len(calls)) if number % 2 == 0 else range(len(calls) - 1, -1, -1)
            for index in order:
                median_ms, count = _round_median(calls[index], round_s)
                turn_ms.append((index, median_ms))
                runs[index] += count
            after_ms, _ = _round_median(reference.call, round_s)
            drift = (before_ms + after_ms) / 2 / reference.latency_ms
            for index, median_ms in turn_ms:
                medians[index].append(median_ms / drift)
    finally:
        if enabled:
            gc.enable()
    return [_summary(times, count) for times, count in zip(medians, runs, strict=True)]


def _round_median(call: Call, round_s: float) -> tuple[float, int]:
    """Median latency in ms of one turn, and how many runs it timed."""
    for _ in range(WARM_UP_RUNS):
        call()
    times: list[float] = []
    end = time.perf_counter() + round_s
    while len(times) < MAX_RUNS:
        start = time.perf_counter()
        call()
        stop = time.perf_counter()
        times.append((stop - start) * 1e3)
        if stop > end and len(times) >= MIN_RUNS:
            break
    return statistics.median(times), len(times)


def _summary(round_medians: Sequence[float], runs: int) -> Timing:
    latency_ms = statistics.median(round_medians)
    half_range = (max(round_medians) - min(round_medians)) / 2
    return Timing(latency_ms, 100 * half_range / latency_ms, runs)
