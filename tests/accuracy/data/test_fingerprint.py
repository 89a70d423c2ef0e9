"""Whether a folder of images is still the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.accuracy.data.fingerprint import DataFingerprint, image_stats
from nas.accuracy.data.folder_index import index_folder
from nas.errors import DataError
from tests.accuracy.data.pictures import write_splits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_splits(tmp_path / "pets", "train", "val", "test", count=12)


def fingerprint(root: Path) -> DataFingerprint:
    index = index_folder(root)
    return DataFingerprint.of(index, image_stats(index))


def test_a_copy_elsewhere_and_later_is_the_same(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "train" / "cat" / "000.png", (1, 1))
    before, after = fingerprint(root), fingerprint(tmp_path / "copy")
    assert before == after and before.change_to(after) is None


def _rename_class(root: Path) -> None:
    for split in ("train", "val", "test"):
        (root / split / "dog").rename(root / split / "wolf")


def _swap_splits(root: Path) -> None:
    (root / "val").rename(root / "x")
    (root / "test").rename(root / "val")
    (root / "x").rename(root / "test")
    (root / "val" / "cat" / "000.png").rename(root / "val" / "cat" / "a.png")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_rename_class, "it has other classes"),
        (
            lambda root: (root / "val" / "cat" / "000.png").unlink(),
            "it had 72 images and has 71",
        ),
        (
            lambda root: (root / "val/cat/000.png").rename(root / "train/cat/a.png"),
            "its train split had 24 images and has 25",
        ),
        (_swap_splits, "images have other names, or are in other classes or splits"),
        (
            lambda root: (root / "train" / "dog" / "003.png").write_text("more"),
            "images have other contents",
        ),
    ],
)
def test_a_change_is_said_in_kind(root: Path, change: Callable[[Path], None], said: str) -> None:
    before = fingerprint(root)
    change(root)
    assert before.change_to(fingerprint(root)) == said


def test_an_image_that_goes_meanwhile_is_named(root: Path) -> None:
    index = index_folder(root)
    (root / "val" / "cat" / "000.png").unlink()
    with pytest.raises(DataError, match=r"val/cat/000\.png cannot be examined: No such file"):
        image_stats(index)


def test_a_fingerprint_is_read_as_it_was_written(root: Path) -> None:
    found = fingerprint(root)
    assert DataFingerprint.from_json(json.loads(json.dumps(found.to_json()))) == found
