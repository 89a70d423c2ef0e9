"""Architectures, stages and blocks are values; what cannot exist is refused by name."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from nas.errors import ArchitectureError
from nas.space.architecture import Architecture, Stage
from nas.space.architecture_files import load_architecture
from nas.space.block import Block, make_divisible
from nas.space.workload import Workload
from tests.samples import BLOCKS, TINY, architectures, stages

STAGE = TINY.stages[1]


@given(architectures())
def test_an_architecture_survives_json(architecture: Architecture) -> None:
    read = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
    assert read == architecture
    assert hash(read) == hash(architecture)
    assert read.id == architecture.id
    assert read.blocks(Workload.square(256)) == architecture.blocks(Workload.square(256))


@given(stages())
def test_a_stage_survives_json(stage: Stage) -> None:
    read = Stage.from_json(json.loads(json.dumps(stage.to_json())))
    assert (read, hash(read), read.id) == (stage, hash(stage), stage.id)


@given(architectures())
def test_blocks_survive_json(architecture: Architecture) -> None:
    for block in architecture.blocks(Workload.square(256)):
        read = Block.from_json(json.loads(json.dumps(block.to_json())))
        assert (read, hash(read), read.id) == (block, hash(block), block.id)


@pytest.mark.parametrize(
    "value", [TINY, STAGE, BLOCKS["ncb"]], ids=["architecture", "stage", "block"]
)
def test_values_are_frozen(value: Any) -> None:
    name = next(iter(value.to_json()))
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, 64)


def test_ids_are_short() -> None:
    assert [len(value.id) for value in (TINY, STAGE, BLOCKS["ncb"])] == [10, 10, 10]


def test_an_id_does_not_depend_on_the_number_type_or_the_process() -> None:
    assert replace(STAGE, ncb_mlp_ratio=2).id == replace(STAGE, ncb_mlp_ratio=2.0).id
    code = "import nas; print(nas.load_architecture('nextvit-base').id)"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "f3babcb456"


@given(architectures(), architectures())
def test_ids_differ_where_architectures_do(one: Architecture, other: Architecture) -> None:
    assert (one == other) == (one.id == other.id)


@given(architectures())
def test_blocks_follow_on_each_other(architecture: Architecture) -> None:
    blocks = architecture.blocks(Workload.square(229, 7))
    assert blocks[0].kind == "stem"
    assert (blocks[-1].kind, blocks[-1].out_channels) == ("head", 7)
    for before, after in itertools.pairwise(blocks):
        assert after.in_channels == before.out_channels
        assert (after.height, after.width) == (before.out_height, before.out_width)
    for block in blocks:
        if block.kind == "ntb":
            assert 0 < block.attention_channels < block.out_channels
            assert block.attention_channels % 32 == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_ncb": 0}, "num_ncb must be from 1 to 64, got 0"),
        ({"num_ncb": True}, "num_ncb must be a whole number, got True"),
        ({"num_ncb": 1.5}, "num_ncb must be a whole number, got 1.5"),
        ({"repeats": 65}, "repeats must be from 1 to 64, got 65"),
        ({"ncb_width": 48}, "ncb_width must be a multiple of the head size 32, got 48"),
        ({"ncb_width": 0}, "ncb_width must be a multiple of the head size 32, got 0"),
        ({"ntb_width": 100}, "ntb_width must be a multiple of the head size 32, got 100"),
        ({"ncb_mlp_ratio": 0}, "ncb_mlp_ratio must be above 0"),
        ({"ncb_mlp_ratio": "3"}, "ncb_mlp_ratio must be a number from 0 to 16, got '3'"),
        ({"ntb_mlp_ratio": float("nan")}, "ntb_mlp_ratio must be a number from 0 to 16, got nan"),
        ({"ntb_mlp_ratio": 0.0}, "ntb_mlp_ratio must be above 0"),
        ({"mix_ratio": 0.0}, "mix_ratio must be between 0 and 1, got 0"),
        ({"mix_ratio": 1.0}, "mix_ratio must be between 0 and 1, got 1"),
        ({"sr_ratio": 0}, "sr_ratio must be from 1 to 64, got 0"),
        ({"mix_ratio": 0.9}, "mix_ratio 0.9 of ntb_width 96 gives all channels"),
        ({"ntb_width": 32}, "mix_ratio 0.6 of ntb_width 32 gives all channels"),
        ({"ntb_width": 0}, "a stage without NTB has repeats 1"),
        ({"ntb_width": 0, "repeats": 1}, "ntb_mlp_ratio must be 0 in a stage without NTB"),
    ],
)
def test_a_stage_that_cannot_exist_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchitectureError, match="^" + message):
        replace(STAGE, **change)


def _written(**changes: Any) -> dict[str, Any]:
    value = TINY.to_json()
    value["stages"][2].update(changes)
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, "an architecture is a mapping, got 7"),
        ({"stem_width": 32}, "missing stages"),
        ({**TINY.to_json(), "stem_with": 1}, "unknown entry 'stem_with': did you mean"),
        ({**TINY.to_json(), "stages": "four"}, "stages must be a list of four stages, got 'four'"),
        ({**TINY.to_json(), "stages": []}, "stages must be a tuple of 4, got ()"),
        ({**TINY.to_json(), "stages": [1] * 4}, "stage 1: a stage is a mapping, got 1"),
        ({**TINY.to_json(), "stem_width": 33}, "stem_width must be a multiple of 32, got 33"),
        ({**TINY.to_json(), "stem_width": "32"}, "stem_width must be a whole number 32..1024"),
        (_written(ncb_width=50), "stage 3: ncb_width must be a multiple of the head size 32"),
        (_written(mix=0.5), "stage 3: unknown entry 'mix': did you mean 'mix_ratio'"),
        (_written(mix_ratio=0.8), "stage 3: mix_ratio 0.8 of ntb_width 64 gives all channels"),
    ],
)  # fmt: skip
def test_written_mistakes_are_refused_with_their_stage(value: Any, message: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        Architecture.from_json(value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "mbconv"}, "kind must be one of stem, ncb, ntb, head.* got 'mbconv'"),
        ({"height": 7.5}, "height must be a number, got 7.5"),
        ({"mlp_ratio": "3"}, "mlp_ratio must be a number, got '3'"),
        ({"depth": 3}, "unknown entry 'depth'"),
    ],
)
def test_a_written_block_is_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        Block.from_json({**BLOCKS["ncb"].to_json(), **change})


def test_an_attention_reduction_larger_than_the_image_is_refused() -> None:
    small = load_architecture("nextvit-small")
    assert small.blocks(Workload.square(25))
    with pytest.raises(ArchitectureError, match="stage 2: sr_ratio 4 needs at least 16 tokens"):
        small.blocks(Workload.square(24))


def test_a_huge_wrong_value_gives_a_short_message() -> None:
    value: Any = [1]
    for _ in range(40):
        value = [value, value]
    with pytest.raises(ArchitectureError) as caught:
        Architecture.from_json({"stem_width": value, "stages": [TINY.stages[0].to_json()] * 4})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 32), (35, 32), (36, 64), (71, 64), (72, 96), (192, 192)]
)
def test_make_divisible_rounds_as_published(value: float, expected: int) -> None:
    assert make_divisible(value) == expected
