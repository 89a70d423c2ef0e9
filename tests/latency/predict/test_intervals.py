"""How wide intervals are, against SciPy's distributions and against simulated measurements."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from nas.latency.predict.intervals import (
    ALIKE,
    MEASURED_AGAIN,
    ErrorSpread,
    log_deviation,
    measured_again,
)
from nas.measurement.protocol import DECIDING_EFFORT, Timing, mean_timing


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("freedom", [1, 5, 49])
def test_an_interval_is_that_of_students_t(confidence, freedom):
    low, high = stats.t.interval(confidence, freedom)
    spread = ErrorSpread(0.02, freedom)
    assert spread.quantile(confidence) == pytest.approx(high)
    assert spread.factor(confidence) == pytest.approx(math.exp(0.02 * high))
    assert 1 / spread.factor(confidence) == pytest.approx(math.exp(0.02 * low))


def test_errors_to_either_side_count_alike():
    assert log_deviation([0.25, -0.2]) == pytest.approx(math.log(1.25))
    assert math.isfinite(log_deviation([-1.0]))


@pytest.mark.parametrize("count", [1, 4, 8])
def test_what_a_session_shares_is_learned_as_simulated_sessions_say(count):
    """The errors of networks that are alike are correlated."""
    rng, spread = np.random.default_rng(0), ErrorSpread(0.015, 20, shared=0.02)
    sessions = 100_000
    shared = rng.normal(0, spread.shared, sessions)
    common = rng.normal(0, spread.own * math.sqrt(ALIKE), sessions)
    own = rng.normal(0, spread.own * math.sqrt(1 - ALIKE), (count, sessions))
    means = (shared + common + own).mean(axis=0)
    noise = spread.shared_by(count)
    assert (means - shared).std() == pytest.approx(noise, rel=0.01)
    shift, after = spread.after(0.01, noise)
    trust = shift / 0.01
    assert (shared - trust * means).std() == pytest.approx(after.shared, rel=0.01)
    best = np.cov(shared, means)[0, 1] / means.var()
    assert trust == pytest.approx(best, rel=0.02)
    assert after.own == spread.own


def test_without_a_shared_error_nothing_is_learned():
    spread = ErrorSpread(0.03, 6)
    assert spread.after(0.15, 0.01) == (0.0, spread)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("ci_pct", [DECIDING_EFFORT.ci_pct, 2.0, 5.0])
def test_measuring_again_differs_as_simulated_measurements_do(ci_pct, times):
    """Each has an error of its process, and one of its rounds, which its interval tells."""
    rng, usual = np.random.default_rng(0), DECIDING_EFFORT.ci_pct / 196
    of_process = math.sqrt(MEASURED_AGAIN.deviation**2 / 2 - usual**2)
    errors = rng.normal(0, math.hypot(of_process, ci_pct / 196), (times + 1, 200_000))
    differences = errors[-1] - errors[:-1].mean(axis=0)
    mean = mean_timing([Timing(8.0, ci_pct, 1.0, 30)] * times)
    expected = measured_again(mean.ci_pct, times).deviation
    assert differences.std() == pytest.approx(expected, rel=0.01)


def test_what_is_measured_better_than_usual_is_no_surer():
    assert measured_again(0.01).deviation == pytest.approx(MEASURED_AGAIN.deviation)
