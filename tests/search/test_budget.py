"""What fits a budget, against all architectures of a small space."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from nas.errors import ConfigError
from nas.latency.catalogue import load_table
from nas.latency.predictor import LatencyPredictor
from nas.search.budget import Budget
from nas.space_file import load_space
from tests.search.conftest import every


def test_fastest_is_the_fastest_of_all(budget, space):
    everything = every(space)
    truth = min(budget.latency(a).latency_ms for a in everything)
    assert budget.latency(budget.fastest()).latency_ms == pytest.approx(truth)


def test_a_budget_below_the_fastest_says_how_fast_that_is(budget):
    fastest_ms = budget.latency(budget.fastest()).latency_ms
    tight = replace(budget, budget_ms=0.9 * fastest_ms)
    with pytest.raises(ConfigError, match=f"predicted to take {fastest_ms:.2f} ms"):
        tight.require_feasible()
    assert replace(budget, budget_ms=fastest_ms).require_feasible() == budget.fastest()


def test_initial_candidates_fit_and_differ(budget):
    found = budget.initial(8, random.Random(0))
    assert len(found) == len(set(found)) >= 4
    assert all(budget.fits(a) for a in found)


def test_initial_candidates_use_a_tight_budget_of_a_large_space():
    predictor = LatencyPredictor.fit(load_table("tensorrt"))
    budget = Budget(load_space("nextvit"), predictor, 3.0, 224, 1000)
    found = budget.initial(8, random.Random(0))
    used = [budget.latency(a).latency_ms / 3.0 for a in found]
    assert len(found) >= 7
    assert all(share <= 1 for share in used)
    assert sum(share > 0.5 for share in used) >= 6


def test_wandering_stays_within_the_budget(budget):
    rng = random.Random(0)
    current = budget.fastest()
    for _ in range(30):
        current = budget.wander(current, rng)
        assert budget.fits(current)
