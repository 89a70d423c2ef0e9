"""Recommendation by what was measured, and when measuring is possible."""

from __future__ import annotations

import random

import pytest

from nas.latency.catalogue import load_table
from nas.latency.measure import Timing
from nas.search.result import Candidate, Latency
from nas.search.verify import recommend, why_not
from nas.space_file import load_space
from tests.tiny import made_up_table, tiny_space


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


@pytest.mark.parametrize("target", ["tensorrt", "coreml"])
def test_published_devices_cannot_be_verified(target):
    reason = why_not(load_table(target))
    assert reason and len(reason.splitlines()) == 1


def test_only_the_own_table_is_verified(tmp_path):
    space = tiny_space(tmp_path)
    assert why_not(made_up_table(tmp_path, space)) is None
    other = made_up_table(tmp_path, space, device="another-8c")
    assert why_not(other) == "this machine is not a test device"
