"""A space is selected in one way, whoever answers."""

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
    biased,
    field,
    picked_from,
)
from tests.tiny import tiny_space
from tests.toy import PER_PLACE, WIDTHS, Layer, Toy, every_selection


def test_a_selection_says_what_was_asked_and_answered() -> None:
    answers: dict[str, Choice] = {"depth": 1, "s1.width": 16, "s1.gated": 1, "s1.ratio@16": 0.75}
    selection = Toy().select(lambda name, _: answers[name])
    assert selection.architecture == (Layer(16, 0.75),)
    assert list(selection.params.items()) == list(answers.items())
    assert selection.offered == {
        "depth": (1, 2, 3),
        "s1.width": WIDTHS,
        "s1.gated": (0, 1),
        "s1.ratio@16": (0.5, 0.75),
    }


def test_every_selection_builds_another_architecture() -> None:
    selections = list(every_selection(Toy()))
    assert len(selections) == PER_PLACE + PER_PLACE**2 + PER_PLACE**3
    assert len({selection.architecture for selection in selections}) == len(selections)
    offered = Counter(item for selection in selections for item in selection.offered.items())
    assert len({name for name, _ in offered}) == len(offered)


def test_values_build_what_they_were_taken_from() -> None:
    space = Toy(2)
    for selection in every_selection(space):
        assert space.build_from(selection.params) == selection.architecture
        assert space.select(picked_from(selection.params)) == selection


@given(st.integers(0, 2**32), st.floats(-5, 5))
def test_samples_are_in_the_space_and_reproducible(seed: int, size_bias: float) -> None:
    space = Toy()
    sample = space.sample(random.Random(seed), size_bias)
    assert sample in _toy_architectures()
    assert sample == space.sample(random.Random(seed), size_bias)


@pytest.mark.parametrize("size_bias", [-2.0, 0.0, 3.0])
def test_the_largest_is_exp_size_bias_times_as_likely_as_the_smallest(size_bias: float) -> None:
    pick = biased(random.Random(0), size_bias)
    counts = Counter(pick("any", (64, 16, 32)) for _ in range(20_000))
    weights = np.exp([0, size_bias / 2, size_bias])
    shares = np.array([counts[value] for value in (16, 32, 64)]) / 20_000
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.02)


def test_a_single_choice_is_picked_whatever_the_size_bias() -> None:
    assert biased(random.Random(0), 4.0)("any", (7,)) == 7


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
    params = {"depth": 1, "s1.width": 16, "s1.gated": 1, "s1.ratio": 0.25, "unrelated": 1}
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
    for selection in itertools.islice(every_selection(Toy()), 0, None, 97):
        assert Toy().suggest(optuna.trial.FixedTrial(selection.params)) == selection.architecture


def _toy_architectures() -> set[tuple[Layer, ...]]:
    if not _TOY:
        _TOY.update(selection.architecture for selection in every_selection(Toy()))
    return _TOY


_TOY: set[tuple[Layer, ...]] = set()
