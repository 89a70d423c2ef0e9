"""A space is walked in one way, whoever answers."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.space.parameter_space import (
    Choice,
    field,
    picked_from,
    tilted,
)
from tests.tiny import tiny_space
from tests.toy import PER_PLACE, WIDTHS, Layer, Toy, every_walk


def test_a_walk_says_what_was_asked_and_answered() -> None:
    answers: dict[str, Choice] = {"depth": 1, "s1.width": 16, "s1.gated": 1, "s1.ratio@16": 0.75}
    walk = Toy().walk(lambda name, _: answers[name])
    assert walk.architecture == (Layer(16, 0.75),)
    assert list(walk.params.items()) == list(answers.items())
    assert walk.offered == {
        "depth": (1, 2, 3),
        "s1.width": WIDTHS,
        "s1.gated": (0, 1),
        "s1.ratio@16": (0.5, 0.75),
    }


def test_every_walk_builds_another_architecture() -> None:
    walks = list(every_walk(Toy()))
    assert len(walks) == PER_PLACE + PER_PLACE**2 + PER_PLACE**3
    assert len({walk.architecture for walk in walks}) == len(walks)
    offered = Counter(item for walk in walks for item in walk.offered.items())
    assert len({name for name, _ in offered}) == len(offered)


def test_values_build_what_they_were_taken_from() -> None:
    space = Toy(2)
    for walk in every_walk(space):
        assert space.build_from(walk.params) == walk.architecture
        assert space.walk(picked_from(walk.params)) == walk


@given(st.integers(0, 2**32), st.floats(-5, 5))
def test_samples_are_in_the_space_and_reproducible(seed: int, tilt: float) -> None:
    space = Toy()
    sample = space.sample(random.Random(seed), tilt)
    assert sample in _toy_architectures()
    assert sample == space.sample(random.Random(seed), tilt)


@pytest.mark.parametrize("tilt", [-2.0, 0.0, 3.0])
def test_the_largest_is_exp_tilt_times_as_likely_as_the_smallest(tilt: float) -> None:
    pick = tilted(random.Random(0), tilt)
    counts = Counter(pick("any", (64, 16, 32)) for _ in range(20_000))
    weights = np.exp([0, tilt / 2, tilt])
    shares = np.array([counts[value] for value in (16, 32, 64)]) / 20_000
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.02)


def test_a_single_choice_is_picked_whatever_the_tilt() -> None:
    assert tilted(random.Random(0), 4.0)("any", (7,)) == 7


def test_what_is_missing_is_the_first_choice_or_random() -> None:
    space = Toy()
    assert space.build_from({"depth": 2, "s2.width": 64}) == (Layer(16, 0.0), Layer(64, 0.0))
    found = {space.build_from({"depth": 1}, random.Random(seed)) for seed in range(200)}
    assert found == {a for a in _toy_architectures() if len(a) == 1}


def test_a_value_keeps_its_place_where_its_choices_are_narrowed_differently() -> None:
    wide = {"depth": 1, "s1.width": 32, "s1.gated": 1, "s1.ratio": 0.75}
    assert Toy().build_from({**wide, "s1.width": 16}) == (Layer(16, 0.75),)
    narrow = {"depth": 1, "s1.width": 64, "s1.gated": 1, "s1.ratio@16": 0.75}
    assert Toy().build_from(narrow) == (Layer(64, 0.75),)


def test_a_value_that_is_not_offered_counts_as_missing() -> None:
    params = {"depth": 1, "s1.width": 16, "s1.gated": 1, "s1.ratio": 0.25, "elsewhere": 1}
    assert Toy().build_from(params) == (Layer(16, 0.5),)
    assert Toy().build_from({"depth": 9}) == (Layer(16, 0.0),)


def test_a_choice_of_zero_is_a_value() -> None:
    params = {"depth": 1, "s1.width": 32, "s1.gated": 0}
    for seed in range(20):
        assert Toy().build_from(params, random.Random(seed)) == (Layer(32, 0.0),)


def test_a_field_is_a_name_without_what_narrowed_it() -> None:
    assert field("s2.mix_ratio@64") == field("s2.mix_ratio") == "s2.mix_ratio"


def test_a_trial_suggests_what_its_parameters_build(tmp_path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for space in (Toy(), tiny_space(tmp_path)):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(20):
            trial = study.ask()
            architecture = space.suggest(trial)
            assert space.build_from(trial.params) == architecture
            study.tell(trial, 0.0)


def test_a_fixed_trial_suggests_its_values() -> None:
    for walk in itertools.islice(every_walk(Toy()), 0, None, 97):
        assert Toy().suggest(optuna.trial.FixedTrial(walk.params)) == walk.architecture


def _toy_architectures() -> set[tuple[Layer, ...]]:
    if not _TOY:
        _TOY.update(walk.architecture for walk in every_walk(Toy()))
    return _TOY


_TOY: set[tuple[Layer, ...]] = set()
