"""Which candidates of a rung are the best, against the definitions written out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.accuracy.fidelity import rung_images
from nas.search.sampler.hypervolume import hypervolume
from nas.search.schedule.rungs import next_promotion, promotions_of, ranking

VALUES = st.integers(1, 6).map(lambda tenths: tenths / 10)


@st.composite
def rungs(draw, most: int = 9):
    devices = draw(st.integers(1, 2))
    point = st.tuples(VALUES, st.lists(VALUES, min_size=devices, max_size=devices))
    points = draw(st.lists(point, min_size=1, max_size=most))
    return [accuracy for accuracy, _ in points], [ratio for _, ratio in points]


def dominates(one: tuple[float, list[float]], other: tuple[float, list[float]]) -> bool:
    pairs = [(-one[0], -other[0]), *zip(one[1], other[1], strict=True)]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def front_number(place: int, points: list) -> int:
    """Length of the longest chain of points each of which beats the next, ending here."""
    above = [i for i, point in enumerate(points) if dominates(point, points[place])]
    return 1 + max((front_number(i, points) for i in above), default=0)


@given(rungs())
def test_better_fronts_come_first(rung):
    accuracy, ratio = rung
    points = list(zip(accuracy, ratio, strict=True))
    ranked = ranking(accuracy, ratio)
    assert sorted(ranked) == list(range(len(points)))
    numbers = [front_number(place, points) for place in ranked]
    assert numbers == sorted(numbers)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=8))
def test_within_a_front_the_greatest_loss_of_hypervolume_comes_first(points):
    accuracy = [a for a, _ in points]
    ratio = [x for _, x in points]
    ranked = ranking(accuracy, [[x] for x in ratio])
    labelled = [(a, [x]) for a, x in points]
    first = [p for p in ranked if front_number(p, labelled) == 1]
    reference = (min(accuracy), 1.25)

    def area(places: list[int]) -> float:
        return hypervolume([accuracy[p] for p in places], [ratio[p] for p in places], reference)

    lost = [area(first) - area([q for q in first if q != p]) for p in first]
    assert lost == pytest.approx(sorted(lost, reverse=True))


def test_a_rung_sends_its_best_third_on_one_by_one():
    accuracy = [0.5, 0.9, 0.7, 0.6, 0.8, 0.4]
    ratio = [[0.5]] * 6
    everyone = range(6)
    assert next_promotion(accuracy, ratio, promoted=set(), able=everyone) == 1
    assert next_promotion(accuracy, ratio, promoted={1}, able=everyone) == 4
    assert next_promotion(accuracy, ratio, promoted={1, 4}, able=everyone) is None
    assert next_promotion(accuracy, ratio, promoted=set(), able={4, 2}) == 4
    assert next_promotion(accuracy, ratio, promoted=set(), able={2}) is None
    assert next_promotion([], [], promoted=set(), able=()) is None


def test_of_a_few_one_goes_on_when_no_more_will_come():
    assert next_promotion([0.3, 0.4], [[0.9], [0.9]], promoted=set(), able={0, 1}) is None
    assert (
        next_promotion([0.3, 0.4], [[0.9], [0.9]], promoted=set(), able={0, 1}, no_more=True) == 1
    )
    assert [promotions_of(count, no_more=False) for count in (0, 2, 3, 8, 9)] == [0, 0, 1, 2, 3]
    assert [promotions_of(count, no_more=True) for count in (0, 2, 3, 8, 9)] == [0, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("rungs", "images"), [(1, (9000,)), (2, (3000, 9000)), (3, (1000, 3000, 9000))]
)
def test_each_rung_has_three_times_the_images(rungs, images):
    assert rung_images(9000, rungs) == images
