"""Recommendation by what was measured."""

from __future__ import annotations

import random

from nas.latency.measure import Timing
from nas.search.recommend import recommend
from nas.search.result import Candidate, Latency
from nas.space_file import load_space


def _candidate(number: int, accuracy: float, predicted: float, measured: float | None) -> Candidate:
    network = load_space("nextvit").sample(random.Random(number))
    timing = Timing(measured, 0.5, 1.0, 30) if measured else None
    return Candidate(number, network, accuracy, Latency(predicted, predicted, predicted), timing)


def test_the_most_accurate_measured_within_budget_is_recommended():
    front = [
        _candidate(0, 0.6, 5.0, 5.2),
        _candidate(1, 0.7, 8.0, 7.9),
        _candidate(2, 0.8, 9.9, 10.3),
    ]
    assert recommend(front, 10.0, verified=True) is front[1]
    assert recommend(front, 10.0, verified=False) is front[2]
    assert recommend(front, 5.0, verified=True) is None
    assert recommend([], 5.0, verified=False) is None
