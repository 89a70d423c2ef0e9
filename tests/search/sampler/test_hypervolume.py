"""Areas against a union of rectangles, expected growth against chance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.search.sampler.hypervolume import expected_gain, hypervolume

REFERENCE = (0.2, 1.0)

COORDINATES = st.one_of(
    st.integers(0, 14).map(lambda tenths: tenths / 10), st.floats(0, 1.5, allow_subnormal=False)
)
POINTS = st.lists(st.tuples(COORDINATES, COORDINATES), max_size=8)
"""(accuracy, latency ratio), many of them equal or beyond the reference."""


def union(points: list[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Area of a union of rectangles, by counting the cells of the grid their sides make."""
    heights = sorted({reference[0], *(a for a, _ in points)})
    sides = sorted({reference[1], *(x for _, x in points)})
    area = 0.0
    for low, high in itertools.pairwise(heights):
        for left, right in itertools.pairwise(sides):
            inside = low >= reference[0] and right <= reference[1]
            if inside and any(a >= high and x <= left for a, x in points):
                area += (high - low) * (right - left)
    return area


def area_of(points: list[tuple[float, float]], reference: tuple[float, float] = REFERENCE) -> float:
    return hypervolume([a for a, _ in points], [x for _, x in points], reference)


@given(POINTS, COORDINATES, COORDINATES)
def test_the_area_is_that_of_a_union_of_rectangles(points, lowest, highest):
    reference = (lowest, highest)
    assert area_of(points, reference) == pytest.approx(union(points, reference), abs=1e-12)


@given(POINTS, st.randoms(use_true_random=False))
def test_order_repeats_and_beaten_points_do_not_matter(points, rng):
    beaten = [(a - 0.05, x + 0.05) for a, x in points]
    shuffled = points + points + beaten
    rng.shuffle(shuffled)
    assert area_of(shuffled) == pytest.approx(area_of(points), abs=1e-12)


def test_areas_known_by_hand():
    assert area_of([]) == 0.0
    assert area_of([(0.7, 0.4)]) == pytest.approx(0.5 * 0.6)
    assert area_of([(0.7, 0.4), (0.7, 0.4)]) == pytest.approx(0.5 * 0.6)
    assert area_of([(0.7, 0.4), (0.4, 0.1)]) == pytest.approx(0.5 * 0.6 + 0.2 * 0.3)


@pytest.mark.parametrize("point", [(0.2, 0.5), (0.1, 0.5), (0.9, 1.0), (0.9, 1.2), (0.0, 3.0)])
def test_what_is_beyond_the_reference_covers_nothing(point):
    assert area_of([point]) == 0.0
    assert area_of([(0.7, 0.4), point]) == pytest.approx(0.3)


FRONT = ([0.5, 0.7, 0.8, 0.6, 0.9, 0.1], [0.3, 0.5, 0.7, 0.8, 1.1, 0.05])
"""With a beaten point, one over the highest latency ratio, and one below the lowest accuracy."""

CANDIDATES = [
    (0.75, 0.10, 0.60),
    (0.60, 0.20, 0.10),
    (0.85, 0.05, 0.95),
    (0.40, 0.15, 0.60),
    (0.10, 0.30, 0.05),
    (0.70, 0.02, 0.50),
    (0.95, 0.10, 0.02),
]
"""Mean, deviation and latency ratio."""


@pytest.mark.parametrize("front", [FRONT, ([], [])], ids=["a front", "no front"])
def test_expected_gain_is_the_mean_growth_of_the_hypervolume(front):
    mean, deviation, ratio = np.array(CANDIDATES).T
    expected = expected_gain(mean, deviation, ratio, front, REFERENCE)
    before = hypervolume(*front, REFERENCE)
    rng = np.random.default_rng(0)
    for index in range(len(CANDIDATES)):
        grown = [
            hypervolume([*front[0], drawn], [*front[1], ratio[index]], REFERENCE) - before
            for drawn in rng.normal(mean[index], deviation[index], 3000)
        ]
        error = np.std(grown) / np.sqrt(len(grown))
        assert expected[index] == pytest.approx(np.mean(grown), abs=4 * error + 1e-12)
        assert error < 0.2 * expected[index] + 1e-3


@given(POINTS, COORDINATES, COORDINATES)
def test_a_certain_candidate_gains_what_it_adds(points, accuracy, ratio):
    front = [a for a, _ in points], [x for _, x in points]
    gain = expected_gain([accuracy], [1e-9], [ratio], front, REFERENCE)
    added = union([*points, (accuracy, ratio)], REFERENCE) - union(points, REFERENCE)
    assert gain == pytest.approx([added], abs=1e-8)


@given(
    POINTS,
    st.lists(
        st.tuples(st.floats(-10, 10), st.floats(1e-6, 10), st.floats(0, 3)), min_size=1, max_size=5
    ),
)
def test_a_gain_is_never_negative_and_each_candidate_is_on_its_own(points, candidates):
    front = [a for a, _ in points], [x for _, x in points]
    mean, deviation, ratio = np.array(candidates).T
    gain = expected_gain(mean, deviation, ratio, front, REFERENCE)
    assert gain.shape == (len(candidates),)
    assert np.all(gain >= 0)
    alone = [expected_gain([m], [d], [x], front, REFERENCE)[0] for m, d, x in candidates]
    np.testing.assert_allclose(gain, alone, rtol=1e-12, atol=1e-300)


def test_a_candidate_over_the_highest_ratio_gains_nothing():
    gain = expected_gain([5.0, 5.0], [0.1, 0.1], [1.0, 1.7], FRONT, REFERENCE)
    assert gain.tolist() == [0.0, 0.0]


def test_gains_grow_with_mean_and_fall_with_latency_ratio():
    steps = np.linspace(0.0, 1.0, 30)
    by_mean = expected_gain(steps, np.full(30, 0.1), np.full(30, 0.4), FRONT, REFERENCE)
    by_ratio = expected_gain(np.full(30, 0.7), np.full(30, 0.1), steps, FRONT, REFERENCE)
    by_deviation = expected_gain(np.full(29, 0.6), steps[1:], np.full(29, 0.5), FRONT, REFERENCE)
    assert np.all(np.diff(by_mean) > 0)
    assert np.all(np.diff(by_ratio) < 0)
    assert np.all(np.diff(by_deviation) > 0)
