"""Candidates are within the limits, new and in the space; and their search ends."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from nas.search.sampler.candidates import CandidateGenerator, key
from nas.space.parameter_space import Selection
from tests.toy import Layer, One, Toy, every_selection, shares, toy_latency, two_devices

SPACE = Toy()
EVERY = {selection.architecture: selection for selection in every_selection(SPACE)}


def made(ratio=None, seed: int = 0) -> CandidateGenerator[tuple[Layer, ...]]:
    return CandidateGenerator(SPACE, ratio or shares(2.5), random.Random(seed))


def test_values_are_selected_again():
    for selection in list(EVERY.values())[::50]:
        assert made().select(selection.params) == selection


def test_ratios_are_those_of_the_architectures():
    selections = list(EVERY.values())[:5]
    expected = [[toy_latency(w.architecture) / 2.5, len(w.architecture) / 2] for w in selections]
    np.testing.assert_array_equal(made(two_devices).latency_ratio(selections), expected)


def test_random_ones_are_in_the_space_and_of_all_sizes():
    fresh = made().random(300)
    assert len(fresh) == 300
    assert all(EVERY[selection.architecture] == selection for selection in fresh)
    latency = [toy_latency(selection.architecture) for selection in fresh]
    assert min(latency) < 0.6
    assert max(latency) > 4.0
    assert fresh == made().random(300)
    assert fresh != made(seed=1).random(300)


def test_offspring_are_in_the_space_and_like_their_parents():
    parents = made().random(2)
    children = made().offspring(parents, 300)
    assert len(children) == 300
    assert all(EVERY[child.architecture] == child for child in children)
    values = {item for parent in parents for item in parent.params.items()}
    inherited = [sum(item in values for item in c.params.items()) / len(c.params) for c in children]
    fresh = [
        sum(item in values for item in c.params.items()) / len(c.params) for c in made().random(300)
    ]
    assert np.mean(inherited) > np.mean(fresh) + 0.2
    assert len({child.architecture for child in children}) > 100


def test_a_child_of_one_differs_from_it_in_little():
    parent = EVERY[(Layer(32, 0.5), Layer(64, 0.25), Layer(128, 0.75))]
    changed = Counter(
        sum(child.params.get(name, value) != value for name, value in parent.params.items())
        for child in made().offspring([parent], 500)
    )
    assert changed[0] < 0.05 * 500  # a change that is changed back
    assert 0.4 * 500 < changed[1] < 0.7 * 500
    assert changed[1] > changed[2] > changed[3]


def test_offspring_reach_every_architecture():
    candidates = made()
    selections = [EVERY[(Layer(16, 0.0),)]]
    for _ in range(40):
        selections = list(
            {
                w.architecture: w for w in (*selections, *candidates.offspring(selections, 600))
            }.values()
        )
    assert len(selections) > 0.95 * len(EVERY)


@pytest.mark.parametrize("ratio", [shares(2.5), two_devices])
def test_what_fits_is_within_all_limits_new_and_there_once(ratio):
    candidates = made(ratio)
    selections = candidates.random(400)
    known = {key(selection) for selection in selections[:50]}
    fitting, found = candidates.fitting([*selections, *selections], known)
    keys = [key(selection) for selection in fitting]
    expected = {
        key(selection) for selection in selections if np.all(ratio([selection.architecture]) <= 1.0)
    } - known
    assert len(keys) == len(set(keys))
    assert set(keys) == expected
    np.testing.assert_array_equal(found, ratio([selection.architecture for selection in fitting]))


def test_nothing_fits_where_all_is_over_or_known():
    candidates = made(shares(0.1))
    selections = candidates.random(20)
    fitting, ratio = candidates.fitting(selections, set())
    assert (fitting, len(ratio)) == ([], 0)
    fitting, ratio = made().fitting(selections, {key(selection) for selection in selections})
    assert (fitting, len(ratio)) == ([], 0)
    assert made().fitting([], set())[0] == []


def test_the_limit_itself_fits():
    selection = EVERY[(Layer(64, 0.5),)]
    fitting, ratio = made(shares(toy_latency(selection.architecture))).fitting([selection], set())
    assert (fitting, ratio.tolist()) == ([selection], [[1.0]])


@pytest.mark.parametrize("aim", [0.2, 0.4, 0.7, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_candidate_of_about_the_ratio_aimed_at_is_found(aim, seed):
    found = made(seed=seed).near(aim, set())
    assert found is not None
    ratio = toy_latency(found.architecture) / 2.5
    assert ratio <= 1.0
    closest = min(abs(np.log(toy_latency(a) / 2.5 / aim)) for a in EVERY if toy_latency(a) <= 2.5)
    assert abs(np.log(ratio / aim)) <= max(0.02, closest) + 1e-9


def test_of_several_devices_the_highest_ratio_is_aimed_at():
    found = made(two_devices).near(0.5, set())
    assert found is not None
    assert two_devices([found.architecture]).max() == pytest.approx(0.5, rel=0.02)


def test_what_is_near_is_new():
    candidates, known = made(), set()
    for _ in range(30):
        found = candidates.near(1.0, known)
        assert found is not None
        assert key(found) not in known
        known.add(key(found))
    assert len(known) == 30


def test_nothing_is_near_where_nothing_fits_or_all_is_known():
    assert made(shares(0.1)).near(1.0, set()) is None
    assert made().near(0.5, {key(selection) for selection in EVERY.values()}) is None


def test_the_last_new_one_is_found_far_from_the_aim():
    last = EVERY[(Layer(16, 0.0),)]
    known = {key(selection) for selection in EVERY.values()} - {key(last)}
    assert made().near(1.0, known) == last


def test_a_limit_of_another_kind_may_be_infinitely_broken():
    def ratio(layers):
        return np.array([[np.inf if len(one) == 3 else toy_latency(one) / 2.5] for one in layers])

    candidates = made(ratio)
    found = candidates.near(1.0, set())
    assert found is not None
    assert len(found.architecture) < 3
    assert all(len(w.architecture) < 3 for w in candidates.fitting(candidates.random(50), set())[0])


def test_a_space_of_one_ends():
    candidates = CandidateGenerator(
        One(), lambda made: np.full((len(made), 1), 0.5), random.Random(0)
    )
    only = Selection(7, {"a": 3, "b": 4}, {"a": (3,), "b": (4,)})
    assert candidates.random(3) == [only] * 3
    assert candidates.offspring([only], 2000) == [only] * 2000
    assert candidates.near(0.9, set()) == only
    assert candidates.near(0.9, {key(only)}) is None
