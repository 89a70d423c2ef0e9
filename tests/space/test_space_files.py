"""A space is added by adding a YAML file; every mistake in it is reported with its line."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from nas.errors import SpaceError
from nas.space.space_files import load_space, space_names
from nas.system import folders

GOOD = """\
# A small space.
stem_width: [32]
stages:
  - num_ncb: [1, 2]
    ncb_width: [32]
    ntb_width: [0]
    ncb_mlp_ratio: [2, 3]
  - num_ncb: [1]
    repeats: [1, 2]
    ncb_width: [64]
    ntb_width: [64, 128]
    ncb_mlp_ratio: [2]
    ntb_mlp_ratio: [1, 2]
    mix_ratio: [0.5, 0.75]
    sr_ratio: [2]
  - &last
    num_ncb: [1]
    ncb_width: [96]
    ntb_width: [128]
    ncb_mlp_ratio: [2]
    ntb_mlp_ratio: [2]
    mix_ratio: [0.75]
    sr_ratio: [1]
  - *last
"""


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "mine.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def mistakes(folder: Path, content: str | bytes) -> list[str]:
    """Lines of the error, without the file's path."""
    path = written(folder, content)
    with pytest.raises(SpaceError) as caught:
        load_space(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


def test_a_file_is_a_space_named_after_it(tmp_path: Path) -> None:
    space = load_space(written(tmp_path, GOOD))
    assert space.name == "mine"
    assert space.size == 4 * (2 * 2 * 3)
    assert space.stages[2] == space.stages[3]


def test_a_stem_stride_is_a_choice(tmp_path: Path) -> None:
    text = GOOD.replace("stem_width: [32]", "stem_width: [32]\nstem_stride: [2, 4]")
    space, usual = load_space(written(tmp_path, text)), load_space(written(tmp_path, GOOD))
    assert space.size == 2 * load_space(written(tmp_path, GOOD)).size
    strides = {space.sample(random.Random(seed)).stem_stride for seed in range(20)}
    assert strides == {2, 4}
    assert "stem_stride" not in usual.select(lambda _, choices: choices[0]).params
    only = load_space(written(tmp_path, text.replace("[2, 4]", "[2]")))
    network = only.build_from({})
    assert (network.stem_stride, network in only, network in usual) == (2, True, False)


def test_spaces_that_come_with_the_project_load_by_name() -> None:
    assert "nextvit" in space_names()
    for name in space_names():
        assert load_space(name) == load_space(folders.spaces() / f"{name}.yaml")


def test_an_unknown_space_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpaceError, match=r"unknown space 'nextvitt': did you mean 'nextvit'"):
        load_space("nextvitt")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("stem_width: [32]", "stem_widht: [32]",
         ["2: stem_width is missing", "2: unknown entry 'stem_widht': did you mean 'stem_width'"]),
        ("    sr_ratio: [2]\n", "", ["8: stage 2: sr_ratio is missing"]),
        ("    mix_ratio: [0.5, 0.75]", "    mix: [0.5]",
         ["8: stage 2: mix_ratio is missing", "14: stage 2: unknown entry 'mix': did you mean"]),
        ("stem_width: [32]", "stem_width: 32",
         ["2: stem_width must be a list of at least one value, got 32"]),
        ("stem_width: [32]", "stem_width: [32]\nstem_stride: 2",
         ["3: stem_stride must be a list of at least one value, got 2"]),
        ("stem_width: [32]", "stem_width: [32]\nstem_stride: [2, 3]",
         ["3: stem_stride: 3 is neither 2 nor 4"]),
        ("stem_width: [32]", "stem_width: [32]\nstem_stride: [8]",
         ["3: stem_stride: 8 is not from 2 to 4"]),
        ("stem_width: [32]", "stem_width: []",
         ["2: stem_width must be a list of at least one value, got []"]),
        ("num_ncb: [1, 2]", "num_ncb: '12'",
         ["4: stage 1: num_ncb must be a list of at least one value, got '12'"]),
        ("num_ncb: [1, 2]", "num_ncb: [1, two]", ["4: stage 1: num_ncb: 'two' is not a number"]),
        ("num_ncb: [1, 2]", "num_ncb: [1, yes]", ["4: stage 1: num_ncb: True is not a number"]),
        ("num_ncb: [1, 2]", "num_ncb: [1.5]", ["4: stage 1: num_ncb: 1.5 is not a whole number"]),
        ("num_ncb: [1, 2]", "num_ncb: [0, 1]", ["4: stage 1: num_ncb: 0 is not from 1 to 64"]),
        ("num_ncb: [1, 2]", "num_ncb:\n      - 1\n      - 1",
         ["6: stage 1: num_ncb: 1 is there twice"]),
        ("ncb_mlp_ratio: [2, 3]", "ncb_mlp_ratio: [2, 2.0]",
         ["7: stage 1: ncb_mlp_ratio: 2.0 is there twice"]),
        ("ncb_mlp_ratio: [2, 3]", "ncb_mlp_ratio: [.nan]",
         ["7: stage 1: ncb_mlp_ratio: nan is not from 0.25 to 16"]),
        ("ncb_width: [64]", "ncb_width: [48]",
         ["10: stage 2: ncb_width: 48 is not a multiple of the head size 32"]),
        ("ntb_width: [64, 128]", "ntb_width: [100]",
         ["11: stage 2: ntb_width: 100 is not a multiple of the head size 32"]),
        ("ntb_width: [64, 128]", "ntb_width: [32, 64]",
         ["14: stage 2: no mix_ratio leaves channels to convolution at ntb_width 32"]),
        ("ntb_width: [0]", "ntb_width: [0]\n    sr_ratio: [2]",
         ["7: stage 1: sr_ratio does not apply without NTB; remove it"]),
        ("ntb_width: [0]", "ntb_width: 0", ["6: stage 1: ntb_width must be a list"]),
        ("ntb_width: [0]", "ntb_width: [0]\n    ntb_width: [0]",
         ["7: ntb_width is there twice"]),
        ("  - *last\n", "", ["3: there are 4 stages, not 3"]),
        ("  - *last\n", "  - none\n", ["24: stage 4 must be a mapping of lists, got 'none'"]),
        ("stem_width: [32]", "stem_width: [32]\n7: [1]", ["3: unknown entry '7'"]),
        ("sr_ratio: [2]", "sr_ratio: !!python/tuple [2]", ["not readable as YAML"]),
        ("stages:", "stages: [", ["not readable as YAML"]),
        ("stages:", "stages: *nowhere", ["not readable as YAML"]),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_its_line(
    tmp_path: Path, old: str, new: str, expected: list[str]
) -> None:
    assert old in GOOD
    found = mistakes(tmp_path, GOOD.replace(old, new, 1))
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.strip().startswith(start), found


def test_all_mistakes_are_reported_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    content = GOOD.replace("stem_width: [32]", "stem_width: [33, 40]")
    content = content.replace("num_ncb: [1, 2]", "num_ncb: [0]")
    content = content.replace("ntb_width: [64, 128]", "ntb_width: [32, 64, 128]")
    content = content.replace("sr_ratio: [1]", "sr_ratios: [1]")
    content = content.replace("  - *last\n", "")
    assert [line.partition(":")[0] for line in mistakes(tmp_path, content)] == [
        "2", "2", "3", "4", "14", "16", "23",
    ]  # fmt: skip


@pytest.mark.parametrize("content", ["", "# nothing\n", "null", "[1, 2]", "stem_width", "3"])
def test_a_file_that_is_no_mapping_is_reported(tmp_path: Path, content: str) -> None:
    assert mistakes(tmp_path, content) == [
        "1: a space is a mapping with the entries stem_width and stages"
    ]


@pytest.mark.parametrize("content", ["{}", "stages: 3", "stages: []", "stages: {a: 1}"])
def test_missing_parts_are_reported(tmp_path: Path, content: str) -> None:
    found = mistakes(tmp_path, content)
    assert any("stem_width is missing" in line for line in found)
    assert any("stages" in line for line in found)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"stem_width: [\xff\xfe]", "line 1 is no text in UTF-8"),
        (b"stem_width: [32\nstages: 1", "line 2"),
        (b"a: 1\n\tb: 2", "line 2"),
        (b"a: 1\n---\nb: 2", "document"),
        (b"\x00", "zero bytes"),
        (b"x: " + b"[" * 19_000, "nested more than 50 levels"),
        (b"stem_width: [" + b"9" * 5000 + b"]", "digit"),
        (b"#" * 200_000, "larger than"),
    ],
    ids=["encoding", "bracket", "tab", "documents", "null", "nested", "digits", "large"],
)
def test_a_file_that_is_no_yaml_is_reported(tmp_path: Path, content: bytes, reason: str) -> None:
    found = mistakes(tmp_path, content)
    assert len(found) == 1
    assert found[0].startswith(" not readable as YAML: ")
    assert reason in found[0]


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system [touch {}]",
        "!!python/object/new:os.system [touch {}]",
        "!!python/object/apply:subprocess.check_call [[touch, {}]]",
        "!!python/name:os.system",
        "!!python/module:os",
    ],
)
def test_tags_never_run_code(tmp_path: Path, tag: str) -> None:
    trace = tmp_path / "ran"
    found = mistakes(tmp_path, "stem_width: " + tag.format(trace))
    assert "not readable as YAML" in found[0]
    assert not trace.exists()


def nested_aliases(levels: int, width: int, merge: bool = False) -> str:
    lines = ["l0: &l0 {a: 1}" if merge else "l0: &l0 [1]"]
    for level in range(1, levels):
        inner = ", ".join([f"*l{level - 1}"] * width)
        value = f"{{<<: [{inner}]}}" if merge else f"[{inner}]"
        lines.append(f"l{level}: &l{level} {value}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "content",
    [
        nested_aliases(9, 9),
        nested_aliases(16, 2),
        nested_aliases(10, 3) + "\nstem_width: *l9\nstages: [*l9, *l9]",
        nested_aliases(9, 3, merge=True),
        nested_aliases(30, 9, merge=True),
        "stem_width: &a [*a]\nstages: &b [*b, *b, *b, *b]",
        "&a {stem_width: *a, stages: *a}",
    ],
    ids=["bomb", "deep", "used", "merge", "merge bomb", "own list", "own mapping"],
)
def test_aliases_of_aliases_are_answered_quickly_and_briefly(tmp_path: Path, content: str) -> None:
    start = time.perf_counter()
    found = mistakes(tmp_path, content)
    assert time.perf_counter() - start < 10
    assert found
    assert all(len(line) < 400 for line in found)
