"""Data sources: how they are named, and what is checked before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.accuracy.data.dataset import load_data
from nas.accuracy.data.source import (
    absolute_source,
    check_source,
    summarize,
    warn_of_left_out,
)
from nas.config import ProxyConfig
from nas.errors import DataError, DataWarning
from tests.accuracy.data.pictures import write_splits


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("digit", "unknown data source 'digit': did you mean 'digits'?"),
        ("imagefolders:/data", "did you mean 'imagefolder:PATH'?"),
        ("cifar10", "known: digits, imagefolder:PATH"),
        ("imagefolder:", "data source 'imagefolder:' has no path: write imagefolder:PATH"),
        ("x" * 5000, "unknown data source"),
        ("imagefolder:~nobody-of-this-name/photos", "no home folder for its ~: write the whole"),
        ("imagefolder:/a\0b", "does not exist"),
    ],
)
def test_unknown_source_is_refused(source: str, message: str) -> None:
    for read in (check_source, load_data):
        with pytest.raises(DataError) as caught:
            read(ProxyConfig(data=source))
        assert message in str(caught.value)


def test_a_bare_folder_is_told_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"for the folder write imagefolder:{tmp_path}"):
        check_source(ProxyConfig(data=str(tmp_path)))


def test_fewer_training_images_than_a_batch_are_refused(tmp_path: Path) -> None:
    for split, count in {"train": 20, "val": 10, "test": 10}.items():
        write_splits(tmp_path, split, count=count)
    said = "the train split has 40 images, a batch of proxy training takes 64"
    with pytest.raises(DataError, match=said):
        check_source(ProxyConfig(data=f"imagefolder:{tmp_path}"))


def test_a_relative_source_is_made_absolute(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_source("imagefolder:photos") == f"imagefolder:{tmp_path / 'photos'}"
    assert absolute_source("digits") == "digits"


def test_a_relative_source_below_a_folder_that_is_not_utf8_is_refused(
    tmp_path: Path, monkeypatch
) -> None:
    folder = tmp_path / os.fsdecode(b"gr\xf6\xdfe")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(DataError) as caught:
        absolute_source("imagefolder:photos")
    assert rf"data folder {tmp_path}/gr\xf6\xdfe/photos: its path is not UTF-8" in str(caught.value)


def test_what_is_left_out_is_one_warning(tmp_path: Path) -> None:
    write_splits(tmp_path)
    (tmp_path / "cat" / "a\x1b[2J.heic").touch()
    index = check_source(ProxyConfig(data=f"imagefolder:{tmp_path}"))
    assert index is not None
    with pytest.warns(DataWarning) as caught:
        warn_of_left_out(index)
    (warning,) = caught
    assert str(warning.message) == (
        f"data folder {tmp_path}: left out 1 file of other formats "
        r"(1 .heic; for example cat/a\x1b[2J.heic)"
    )


def test_a_summary_counts_classes_and_images(tmp_path: Path) -> None:
    found = summarize(ProxyConfig(data=f"imagefolder:{write_splits(tmp_path)}"))
    assert found.text == "2 classes, images: 112 train, 24 val, 24 test"
    assert found.images == 160 and found.fingerprint is not None
    own = summarize(ProxyConfig())
    assert own.text == "10 classes, images: 12,000 train, 3,000 val, 3,000 test"
    assert own.fingerprint is None


def test_digits_need_no_check() -> None:
    assert check_source(ProxyConfig()) is None


def test_checking_a_source_loads_neither_torch_nor_pil() -> None:
    code = (
        "import sys; from nas.config import ProxyConfig; "
        "from nas.accuracy.data.source import check_source; check_source(ProxyConfig()); "
        "print(sorted({'torch', 'PIL', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
