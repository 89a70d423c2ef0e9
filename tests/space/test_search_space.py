"""A space offers exactly the architectures that can exist, each once."""

from __future__ import annotations

import itertools
import random
from dataclasses import fields
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import ArchitectureError
from nas.space.architecture import Architecture, Stage
from nas.space.architecture_files import load_architecture, load_presets
from nas.space.block import make_divisible
from nas.space.search_space import Choice, Choices, SearchSpace, StageChoices
from nas.space.space_files import load_space
from nas.space.workload import Workload
from tests.samples import TINY, spaces
from tests.toy import every_selection

NARROW = SearchSpace(
    "narrow",
    (32,),
    (
        StageChoices((1,), (32, 64), (0,), (2, 2.5, 3)),
        StageChoices((1, 2), (32,), (0, 64, 128), (2,), (1, 2), (1, 1.2), (0.5, 0.75), (1, 2)),
        StageChoices((1,), (32,), (64,), (2,), (1,), (2,), (0.5,), (1,)),
        StageChoices((1,), (32,), (64,), (2,), (1,), (2,), (0.5,), (1,)),
    ),
)
"""At 32 the MLP ratios 2.5 and 3 are one; at 64 the mix ratio 0.75 leaves nothing."""


def stage_networks(choices: StageChoices) -> set[tuple[Any, ...]]:
    """The distinct stages, from every combination of raw values."""
    found = set()
    names = [field.name for field in fields(StageChoices) if field.name != "extra"]
    for combination in itertools.product(*(getattr(choices, name) for name in names)):
        value = dict(zip(names, combination, strict=True))
        if not value["ntb_width"]:
            value.update(repeats=1, ntb_mlp_ratio=0, mix_ratio=0, sr_ratio=0)
        try:
            stage = Stage(**value)
        except ArchitectureError:
            continue
        blocks = stage.part(1, 32, (64, 64)).blocks()
        found.add(tuple((b.kind, b.out_channels, b.hidden_channels, b.sr_ratio,
                         b.kind == "ntb" and b.attention_channels) for b in blocks))  # fmt: skip
    return found


@given(spaces())
@settings(max_examples=60)
def test_the_size_is_that_of_a_brute_force_enumeration(space: SearchSpace) -> None:
    selected = [found.architecture for found in every_selection(space)]
    stages = [len(stage_networks(choices)) for choices in space.stages]
    brute_force = len(space.stem_width) * stages[0] * stages[1] * stages[2] * stages[3]
    assert space.size == brute_force == len(selected)
    assert len({architecture.id for architecture in selected}) == space.size
    assert (
        len({tuple(architecture.blocks(Workload.square(128))) for architecture in selected})
        == space.size
    )


@given(spaces())
@settings(max_examples=60)
def test_blocks_are_those_of_all_architectures(space: SearchSpace) -> None:
    union = {
        block
        for found in every_selection(space)
        for block in found.architecture.blocks(Workload.square(100, 9))
    }
    assert space.blocks(Workload.square(100, 9)) == sorted(union)


@given(spaces(), st.integers(0, 2**32), st.sampled_from([0.0, -2.0, 3.0]))
def test_what_is_sampled_exists_and_is_in_the_space(
    space: SearchSpace, seed: int, size_bias: float
) -> None:
    rng = random.Random(seed)
    architecture = space.sample(rng, size_bias)
    assert Architecture.from_json(architecture.to_json()) == architecture
    assert architecture in space
    assert space.build_from(space.params(architecture)) == architecture
    assert space.mutate(architecture, rng) in space


def test_the_default_space_yields_only_its_blocks_and_has_a_known_size() -> None:
    space = load_space("nextvit")
    stage_1 = 3 * 3 * 2
    stage_2 = 3 * 2 * 3 * 3 * 2 * 2 * 2 * 2
    stage_3 = 4 * 6 * 3 * 3 * 2 * 2 * 2 * 2
    stage_4 = 2 * 2 * 3 * 3 * 2 * 2 * 2 * 1
    assert space.size == 2 * stage_1 * stage_2 * stage_3 * stage_4
    blocks, rng = set(space.blocks()), random.Random(0)
    for _ in range(300):
        assert blocks.issuperset(space.sample(rng).blocks())


@pytest.mark.parametrize(("name", "side"), [("nextvit", 224), ("nextvit-tiny", 32)])
def test_a_space_holds_its_presets(name: str, side: int) -> None:
    space, at = load_space(name), Workload.square(side)
    presets = load_presets(space)
    assert len(presets) == 3
    for preset, architecture in presets:
        assert preset.startswith(name)
        assert architecture in space
        assert space.build_from(space.params(architecture)) == architecture
        assert set(architecture.blocks(at)) <= set(space.blocks(at))
    assert not any(architecture in space for _, architecture in load_presets()[:3]) or side == 224


def test_samples_are_reproducible_and_size_bias_moves_them() -> None:
    space = load_space("nextvit")
    assert space.sample(random.Random(3)) == space.sample(random.Random(3))
    depth = {
        size_bias: sum(space.sample(random.Random(seed), size_bias).depth for seed in range(100))
        for size_bias in (-3.0, 0.0, 3.0)
    }
    assert depth[-3.0] < depth[0.0] < depth[3.0]


def test_an_architecture_outside_is_refused_by_the_first_value() -> None:
    space = load_space("nextvit")
    assert TINY not in space
    with pytest.raises(ArchitectureError, match=r"not in space 'nextvit': s2.ntb_width is 96"):
        space.params(TINY)


def test_choices_that_coincide_or_cannot_exist_are_not_offered() -> None:
    offered: dict[str, set[Choices]] = {}

    def pick(name: str, choices: Choices) -> Choice:
        offered.setdefault(name, set()).add(choices)
        return rng.choice(choices)

    rng = random.Random(0)
    for _ in range(200):
        NARROW.build(pick)
    assert all(len(choices) == 1 for choices in offered.values())
    assert offered["s1.ncb_mlp_ratio@32"] == {(2, 2.5)}
    assert offered["s1.ncb_mlp_ratio"] == {(2, 2.5, 3)}
    assert offered["s2.mix_ratio@64"] == {(0.5,)}
    assert offered["s2.mix_ratio"] == {(0.5, 0.75)}


def test_every_pick_of_a_narrowed_space_can_be_an_optuna_trial() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(60):
        trial = study.ask()
        architecture = NARROW.suggest(trial)
        assert architecture == NARROW.build_from(trial.params)
        study.tell(trial, 0.0)
        seen.add(architecture.id)
    assert len(seen) > 20


def _differences(one: Architecture, other: Architecture) -> list[str]:
    found = ["stem_width"] if one.stem_width != other.stem_width else []
    for number, pair in enumerate(zip(one.stages, other.stages, strict=True), start=1):
        for field in fields(Stage):
            if getattr(pair[0], field.name) != getattr(pair[1], field.name):
                found.append(f"s{number}.{field.name}")
    return found


def test_neighbours_differ_in_one_parameter() -> None:
    space, architecture = load_space("nextvit"), load_architecture("nextvit-small")
    neighbours = list(space.neighbours(architecture))
    stage_choices = [
        f for stage in space.stages for f in vars(stage).values() if f and isinstance(f, tuple)
    ]
    expected = sum(max(0, len(c) - 1) for c in [space.stem_width, *stage_choices])
    assert len({n.id for n in neighbours}) == len(neighbours) == expected
    assert all(len(_differences(architecture, other)) == 1 for other in neighbours)


def test_a_neighbour_keeps_values_that_its_narrower_choices_still_hold() -> None:
    stage = StageChoices((1,), (32,), (64, 96, 128), (2,), (1,), (2,), (0.75, 0.5), (1,))
    space = SearchSpace("mix", (32,), (stage,) * 4)
    wide = Stage(1, 1, 32, 128, 2, 2, 0.5, 1)
    for neighbour in space.neighbours(Architecture(32, (wide,) * 4)):
        assert len(_differences(Architecture(32, (wide,) * 4), neighbour)) == 1


def test_a_space_of_one_has_no_neighbours() -> None:
    stage = StageChoices((1,), (32,), (64,), (2,), (1,), (2,), (0.5,), (1,))
    space = SearchSpace("one", (32,), (stage,) * 4)
    architecture = space.sample(random.Random(0))
    assert space.size == 1
    assert list(space.neighbours(architecture)) == []
    assert space.mutate(architecture, random.Random(0)) == architecture


def test_a_resolution_too_low_for_the_attention_is_refused_with_its_stage() -> None:
    space = load_space("nextvit")
    assert space.blocks(Workload.square(25))
    with pytest.raises(ArchitectureError, match="stage 2 has sr_ratio 4, which needs 16 tokens"):
        space.blocks(Workload.square(24))


@given(st.integers(1, 300), st.integers(1, 32), st.floats(0.01, 0.99))
def test_a_split_is_offered_exactly_where_a_stage_takes_it(
    resolution: int, heads: int, ratio: float
) -> None:
    width = 32 * heads
    choices = StageChoices((1,), (32,), (width,), (2,), (1,), (2,), (ratio,), (1,))
    possible = make_divisible(int(width * ratio)) < width
    assert choices.mix_ratios(width) == ((ratio,) if possible else ())
    if not possible:
        with pytest.raises(ArchitectureError, match="mix_ratio"):
            Stage(1, 1, 32, width, 2, 2, ratio, 1)
