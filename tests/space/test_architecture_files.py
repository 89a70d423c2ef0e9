"""Presets are the published networks, and smaller ones; a wrong file is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.errors import ArchitectureError
from nas.models.cost import network_cost
from nas.space.architecture_files import (
    PUBLISHED,
    load_architecture,
    load_presets,
    preset_names,
)
from nas.space.workload import Workload
from tests.samples import TINY

PRESET_IDS = {
    "nextvit-small": "c7bcf68ff3",
    "nextvit-base": "f3babcb456",
    "nextvit-large": "dc1d57f4c5",
    "nextvit-tiny-small": "5da7d83edd",
    "nextvit-tiny-base": "732fb90cad",
    "nextvit-tiny-large": "d65d9eab0c",
}


def test_ids_of_presets_never_change() -> None:
    assert {name: load_architecture(name).id for name in preset_names()} == PRESET_IDS


def test_presets_come_smallest_first_in_each_family() -> None:
    assert preset_names() == list(PRESET_IDS)
    assert preset_names()[:3] == list(PUBLISHED)
    at = Workload.square(32)
    macs = [network_cost(preset.blocks(at)).macs for _, preset in load_presets()]
    assert macs[:3] == sorted(macs[:3]) and macs[3:] == sorted(macs[3:])


@pytest.mark.parametrize(
    ("name", "depths"),
    [
        ("nextvit-small", [3, 4, 10, 3]),
        ("nextvit-base", [3, 4, 20, 3]),
        ("nextvit-large", [3, 4, 30, 3]),
    ],
)
def test_presets_have_the_published_depths(name: str, depths: list[int]) -> None:
    architecture = load_architecture(name)
    assert [stage.depth for stage in architecture.stages] == depths
    blocks = architecture.blocks()
    assert len(blocks) == architecture.depth + 2 == sum(depths) + 2
    assert [b.out_channels for b in blocks if b.kind == "ntb"] == [
        256, *[512] * (depths[2] // 5), 1024,
    ]  # fmt: skip


def test_architectures_load_from_files(tmp_path: Path) -> None:
    best = tmp_path / "best.json"
    best.write_text(json.dumps({"architecture": TINY.to_json(), "latency_ms": 3.1}))
    plain = tmp_path / "plain.yaml"
    plain.write_text(json.dumps(TINY.to_json()))
    assert load_architecture(best) == load_architecture(tmp_path) == TINY
    assert load_architecture(plain) == TINY


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not readable as an architecture"),
        (b"\xff\xfe\x00", "not readable as an architecture"),
        (b"[1, 2]", "an architecture is a mapping"),
        (b'{"stem_width": 64}', "missing stages"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "best.json"
    path.write_bytes(content)
    with pytest.raises(ArchitectureError) as caught:
        load_architecture(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(ArchitectureError, match="did you mean 'nextvit-small'"):
        load_architecture("nextvit-smal")
