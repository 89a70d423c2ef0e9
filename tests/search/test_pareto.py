"""Fronts and hypervolumes against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.search.pareto import hypervolume, pareto_front

POINTS = st.lists(
    st.tuples(st.integers(0, 10).map(lambda a: a / 10), st.integers(1, 12).map(float)), max_size=12
)


@given(POINTS)
def test_front_is_what_no_other_point_beats(points):
    front = pareto_front(points, points)
    for point in points:
        beaten = any(
            other[0] >= point[0] and other[1] <= point[1] and other != point for other in points
        )
        assert (point in front) == (not beaten)
    assert len(front) == len(set(front))
    assert [latency for _, latency in front] == sorted(latency for _, latency in front)


@given(POINTS)
def test_hypervolume_is_the_area_of_the_dominated_cells(points):
    budget_ms, cells = 10.0, 100
    accuracies = (np.arange(cells) + 0.5) / cells
    latencies = (np.arange(cells) + 0.5) / cells * budget_ms
    dominated = np.zeros((cells, cells), bool)
    for accuracy, latency_ms in points:
        dominated |= (accuracies[:, None] <= accuracy) & (latencies[None, :] >= latency_ms)
    assert hypervolume(points, budget_ms) == pytest.approx(dominated.mean() * budget_ms, abs=1e-9)


def test_equal_points_keep_the_first():
    assert pareto_front(["a", "b"], [(0.5, 1.0), (0.5, 1.0)]) == ["a"]
