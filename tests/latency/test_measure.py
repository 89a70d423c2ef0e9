"""The measuring protocol on calls whose duration is known."""

from __future__ import annotations

import time

import pytest

from nas.errors import ConfigError
from nas.latency import measure as protocol
from nas.latency.measure import Reference, Timing, measure, measure_reference


class Clock:
    """A clock that calls advance by themselves, so that durations are exact."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        self.slowdown = 1.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now_s)

    def call(self, milliseconds: float):
        def run() -> None:
            self.now_s += self.slowdown * milliseconds / 1e3

        return run


def test_latency_is_the_duration_of_a_call(monkeypatch):
    clock = Clock(monkeypatch)
    reference = measure_reference(clock.call(2.0))
    assert reference.latency_ms == pytest.approx(2.0)
    timings = measure([clock.call(1.0), clock.call(30.0)], reference)
    assert [t.latency_ms for t in timings] == pytest.approx([1.0, 30.0])
    assert [t.spread_pct for t in timings] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert timings[0].runs > timings[1].runs >= 3 * protocol.MIN_RUNS


def test_a_slow_machine_is_taken_out_by_the_reference(monkeypatch):
    clock = Clock(monkeypatch)
    reference = measure_reference(clock.call(2.0))
    clock.slowdown = 1.4
    (timing,) = measure([clock.call(5.0)], reference)
    assert timing.latency_ms == pytest.approx(5.0)


def test_one_slow_round_does_not_move_the_median(monkeypatch):
    clock = Clock(monkeypatch)
    reference = Reference(clock.call(2.0), 2.0)
    turns = iter([9.0] + [5.0] * 10_000)

    def call() -> None:
        # The first turn of the first round is disturbed, the reference around it is not.
        clock.now_s += next(turns) / 1e3 if clock.now_s > 0.2 else 9.0 / 1e3

    (timing,) = measure([call], reference, rounds=5)
    assert timing.latency_ms == pytest.approx(5.0)
    assert timing.spread_pct > 10


def test_impossible_rounds_are_refused():
    with pytest.raises(ConfigError, match="rounds"):
        measure([], Reference(lambda: None, 1.0), rounds=0)


def test_really_measures_sleep():
    def call() -> None:
        time.sleep(0.004)

    (timing,) = measure([call], Reference(call, 4.0), round_s=0.02)
    assert isinstance(timing, Timing)
    assert 3.0 < timing.latency_ms < 6.0
