"""Fronts against brute force."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nas.results.pareto import pareto_front

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


def test_equal_points_keep_the_first():
    assert pareto_front(["a", "b"], [(0.5, 1.0), (0.5, 1.0)]) == ["a"]
