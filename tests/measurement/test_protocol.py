"""The measuring protocol on sessions whose duration is known."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nas.errors import ConfigError
from nas.measurement import protocol
from nas.measurement.protocol import (
    Effort,
    Reference,
    Timing,
    mean_timing,
    measure,
    weighted_median,
)

EFFORT = Effort(turn_s=0.1, min_rounds=3, max_rounds=12, ci_pct=1.0)


@pytest.fixture(autouse=True)
def waiting(monkeypatch):
    """Replaces sleeping: returns at once and counts the seconds."""
    waited: list[float] = []
    monkeypatch.setattr(protocol.time, "sleep", waited.append)
    return waited


class Machine:
    """A simulated device with a settable slowdown; its sessions report exact durations."""

    def __init__(self) -> None:
        self.slowdown = 1.0
        self.turns: list[float] = []

    def session(self, latency_ms: float, elasticity: float = 1.0, noise: float = 0.0):
        rng = random.Random(1)

        def run(duration_s: float) -> list[float]:
            self.turns.append(latency_ms)
            factor = self.slowdown**elasticity * math.exp(noise * rng.gauss(0, 1))
            return [latency_ms * factor] * 3

        return run


def test_latency_is_the_duration_of_a_run():
    machine = Machine()
    reference = Reference(machine.session(2.0))
    assert reference.latency_ms == pytest.approx(2.0)
    timings = measure([machine.session(1.0), machine.session(30.0)], reference, EFFORT)
    assert [t.latency_ms for t in timings] == pytest.approx([1.0, 30.0])
    assert [t.ci_pct for t in timings] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert [t.spread_pct for t in timings] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert [t.runs for t in timings] == [9, 9]  # steady: min_rounds are enough
    assert {t.reference_ms for t in timings} == {2.0}


def test_what_a_first_run_does_once_is_not_counted():
    machine = Machine()
    reference = Reference(machine.session(2.0))
    seconds: list[float] = []

    def session(duration_s: float) -> list[float]:
        seconds.append(duration_s)
        return [5000.0] if len(seconds) == 1 else [5.0, 5.0]

    (timing,) = measure([session], reference, EFFORT)
    assert (timing.latency_ms, timing.spread_pct) == (5.0, 0.0)
    assert timing.runs == 2 * EFFORT.min_rounds
    assert seconds[0] == 0.0


def test_an_interrupted_run_of_microseconds_has_a_spread_that_tables_take():
    machine = Machine()
    turns = 0

    def session(duration_s: float) -> list[float]:
        nonlocal turns
        turns += 1
        return [40.0 if turns == 3 else 0.01] * 3

    (timing,) = measure([session], Reference(machine.session(2.0)), EFFORT)
    assert timing.latency_ms == pytest.approx(0.01)
    assert timing.spread_pct == protocol.MAX_SPREAD_PCT < 1e4


def test_a_slow_machine_is_taken_out_by_the_reference():
    machine = Machine()
    reference = Reference(machine.session(2.0))
    machine.slowdown = 1.4
    (timing,) = measure([machine.session(5.0)], reference, EFFORT)
    assert timing.latency_ms == pytest.approx(5.0)


def test_quiet_rounds_count_more_than_slow_ones():
    """A slow spell slows the model less than the reference, so quiet rounds must decide."""
    machine = Machine()
    reference = Reference(machine.session(2.0))
    plain = machine.session(5.0, elasticity=0.5)
    turns = 0

    def session(duration_s: float) -> list[float]:
        nonlocal turns
        turns += 1
        result = plain(duration_s)
        machine.slowdown = 1.5 if turns in (2, 3, 4, 5) else 1.0
        return result

    effort = Effort(turn_s=0.1, min_rounds=9, max_rounds=9, ci_pct=0.1)
    (timing,) = measure([session], reference, effort)
    assert timing.latency_ms == pytest.approx(5.0, rel=0.01)
    assert timing.spread_pct > 5


def test_the_reference_has_a_turn_between_all_others_and_order_alternates():
    machine = Machine()
    reference = Reference(machine.session(2.0), 2.0)
    machine.turns.clear()
    effort = Effort(turn_s=0.1, min_rounds=2, max_rounds=2, ci_pct=1.0)
    measure([machine.session(1.0), machine.session(3.0)], reference, effort)
    assert machine.turns[:2] == [1.0, 3.0]  # one warm-up each
    assert machine.turns[2:] == [2.0, 1.0, 2.0, 3.0, 2.0, 2.0, 3.0, 2.0, 1.0, 2.0]


def test_turns_wait_for_a_quiet_machine(waiting):
    machine = Machine()
    reference = Reference(machine.session(2.0), 2.0)
    waiting.clear()
    machine.slowdown = 1.5
    plain = reference.turn

    def turn(duration_s: float) -> float:
        if len(waiting) == 7:
            machine.slowdown = 1.0
        return plain(duration_s)

    reference.turn = turn
    assert reference.quiet_turn(0.01) == pytest.approx(2.0)
    assert len(waiting) == 7


def test_waiting_is_limited(waiting):
    machine = Machine()
    reference = Reference(machine.session(2.0), 2.0)
    waiting.clear()
    machine.slowdown = 1.5
    assert reference.quiet_turn(0.01) == pytest.approx(3.0)
    assert sum(waiting) == pytest.approx(protocol.WAIT_S, rel=0.3)
    before = len(waiting)
    reference.quiet_turn(0.01)
    assert len(waiting) <= before + 2  # the longest wait is over


def test_noisy_models_get_more_turns_than_steady_ones():
    machine = Machine()
    reference = Reference(machine.session(2.0), 2.0)
    steady, noisy = measure(
        [machine.session(1.0), machine.session(1.5, noise=0.05)], reference, EFFORT
    )
    assert steady.runs == 3 * EFFORT.min_rounds
    assert noisy.runs > steady.runs
    assert noisy.ci_pct > 0


def test_a_model_that_is_not_steady_is_measured_as_often_again(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_CI_PCT", 20.0)
    machine = Machine()
    reference = Reference(machine.session(2.0), 2.0)
    noisy, wild = measure(
        [machine.session(1.0, noise=0.1), machine.session(1.5, noise=2.0)], reference, EFFORT
    )
    assert noisy.runs == 3 * EFFORT.max_rounds and noisy.steady
    assert wild.runs > 3 * EFFORT.max_rounds
    assert replace(wild, ci_pct=20.0).steady and not replace(wild, ci_pct=20.1).steady


def test_confidence_interval_covers_the_truth():
    """95% intervals of noisy models that all have the same number of rounds."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        noise = np.exp(0.03 * rng.standard_normal(7))
        rounds = [protocol._Round(float(ratio), 1.0) for ratio in 4.0 * noise]
        reference = Reference(lambda duration_s: [1.0], 1.0)
        timing = protocol._summary(rounds, 1, reference)
        covered.append(abs(timing.latency_ms / 4.0 - 1) <= timing.ci_pct / 100)
    assert 0.91 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize("count", [8, 20, 60])
def test_disturbed_rounds_neither_narrow_nor_widen_the_interval(count):
    """Every tenth round takes three times as long. The interval still covers, and stays narrow."""
    rng = np.random.default_rng(0)
    covered, quiet_pct, disturbed_pct = [], [], []
    for _ in range(400):
        noise = np.exp(0.02 * rng.standard_normal(count))
        disturbed = np.where(rng.random(count) < 0.1, 3.0, 1.0) * noise
        reference = Reference(lambda duration_s: [1.0], 1.0)
        quiet, timing = (
            protocol._summary([protocol._Round(float(r), 1.0) for r in ratios], 1, reference)
            for ratios in (noise, disturbed)
        )
        covered.append(abs(timing.latency_ms - 1.0) <= timing.latency_ms * timing.ci_pct / 100)
        quiet_pct.append(quiet.ci_pct)
        disturbed_pct.append(timing.ci_pct)
    assert np.mean(covered) >= 0.93
    assert np.median(disturbed_pct) < 2 * np.median(quiet_pct)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 6, 10, 30, 200])
def test_student_t_is_scipys(freedom):
    assert protocol._student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.01)


@given(st.lists(st.tuples(st.floats(0.1, 10), st.integers(1, 4)), min_size=1, max_size=9))
def test_weighted_median_lies_between_the_lower_and_upper_median(pairs):
    """Compared with the definition: each value repeated as often as its weight."""
    values, weights = zip(*pairs, strict=True)
    repeated = sorted(v for v, w in pairs for _ in range(w))
    middle = weighted_median(values, weights)
    assert repeated[0] <= middle <= repeated[-1]
    below = sum(w for v, w in pairs if v < middle)
    above = sum(w for v, w in pairs if v > middle)
    assert max(below, above) <= sum(weights) / 2 + max(weights) / 2


def test_equal_weights_give_the_ordinary_median():
    assert weighted_median([3.0, 1.0, 2.0], [1, 1, 1]) == 2.0
    assert weighted_median([4.0, 1.0, 2.0, 3.0], [1, 1, 1, 1]) == pytest.approx(2.5)


def test_timing_at_another_reference_and_without_overhead():
    timing = Timing(10.0, 1.0, 2.0, 30, reference_ms=2.0)
    assert timing.at_reference(1.0) == Timing(5.0, 1.0, 2.0, 30, reference_ms=1.0)
    assert timing.without(0.5).latency_ms == 9.5
    assert timing.without(20.0).latency_ms == pytest.approx(1.0)


def test_the_mean_of_timings_is_surer_than_each():
    one, other = Timing(8.0, 3.0, 9.0, 30, 2.0), Timing(12.5, 4.0, 5.0, 40, 2.0)
    assert mean_timing([one]) == replace(one, latency_ms=pytest.approx(8.0))
    assert mean_timing([one, other]) == Timing(pytest.approx(10.0), 2.5, 9.0, 70, 2.0)


def test_the_mean_of_timings_at_different_references_is_at_the_last():
    one, other = Timing(4.0, 3.0, 9.0, 30, 1.0), Timing(12.5, 4.0, 5.0, 40, 2.0)
    assert mean_timing([one, other]) == Timing(pytest.approx(10.0), 2.5, 9.0, 70, 2.0)
    published = Timing(8.0, 3.0, 9.0, 30)  # at no reference
    assert mean_timing([published, published]).latency_ms == pytest.approx(8.0)


@pytest.mark.parametrize(
    "values", [(0.0, 3, 5, 1.0), (0.1, 0, 5, 1.0), (0.1, 6, 5, 1.0), (0.1, 3, 5, 0.0)]
)
def test_impossible_efforts_are_refused(values):
    with pytest.raises(ConfigError, match="an effort needs positive values"):
        Effort(*values)
