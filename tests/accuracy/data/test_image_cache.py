"""The cache of decoded images: damaged, closed, full, or left unfinished."""

from __future__ import annotations

import os
import resource
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.accuracy.data.dataset import ProxyData, load_data
from nas.accuracy.data.folder_index import index_folder
from nas.config import ProxyConfig
from nas.errors import DataWarning


def load(root: Path, cache: Path | None, resolution: int = 8) -> ProxyData:
    config = ProxyConfig(data=f"imagefolder:{root}", resolution=resolution)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_data(config, cache_dir=cache)


def warned(root: Path, cache: Path | None) -> str:
    """The warning of a cache that cannot be used; the data are read all the same."""
    with pytest.warns(DataWarning) as caught:
        data = load_data(ProxyConfig(data=f"imagefolder:{root}", resolution=8), cache_dir=cache)
    assert len(data.train_images) == 112
    (warning,) = caught
    message = str(warning.message)
    assert message.startswith("decoded images are not kept, and every worker decodes them anew: ")
    assert message.isprintable()
    return message


def test_images_are_decoded_once(root: Path, tmp_path: Path) -> None:
    first = load(root, tmp_path / "cache")
    (cached,) = (tmp_path / "cache").iterdir()
    written = cached.stat().st_mtime_ns
    second = load(root, tmp_path / "cache")
    assert cached.stat().st_mtime_ns == written
    for split in ("train", "val", "test"):
        for part in ("images", "labels"):
            name = f"{split}_{part}"
            assert torch.equal(getattr(first, name), getattr(second, name))
    assert second.class_names == first.class_names
    assert second.fingerprint == first.fingerprint
    assert sorted(path.name for path in root.iterdir()) == ["cat", "dog"]


def test_a_changed_image_and_another_resolution_are_decoded(root: Path, tmp_path: Path) -> None:
    load(root, tmp_path / "cache")
    changed, _ = index_folder(root).splits["val"][0]
    Image.new("RGB", (10, 10), (0, 0, 250)).save(root / changed)
    data = load(root, tmp_path / "cache")
    assert torch.equal(data.val_images[0, :, 0, 0], torch.tensor([0, 0, 250], dtype=torch.uint8))
    os.utime(root / changed, ns=(1, 1))
    load(root, tmp_path / "cache")
    assert load(root, tmp_path / "cache", 12).val_images.shape[-1] == 12
    assert len(list((tmp_path / "cache").iterdir())) == 4


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def _compressed_wrongly(path: Path) -> None:
    """Bytes that say they are compressed and are not: zlib refuses them."""
    content = bytearray(path.read_bytes())
    start = content.rfind(b"PK\x01\x02")
    while start != -1:
        content[start + 10] = 8
        start = content.rfind(b"PK\x01\x02", 0, start)
    path.write_bytes(content)


def _encrypted(path: Path) -> None:
    """Members that say they need a password: zipfile raises a RuntimeError."""
    content = bytearray(path.read_bytes())
    start = content.rfind(b"PK\x01\x02")
    while start != -1:
        content[start + 8] |= 1
        start = content.rfind(b"PK\x01\x02", 0, start)
    path.write_bytes(content)


def _of_other_images(path: Path) -> None:
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["train_images"] = arrays["train_images"][:-1]
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _compressed_wrongly,
        _encrypted,
        _of_other_images,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff"),
        lambda path: np.save(path.open("wb"), np.zeros(3)),
    ],
)
def test_a_damaged_file_is_made_anew(
    root: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    first = load(root, tmp_path / "cache")
    (cached,) = (tmp_path / "cache").iterdir()
    intact = cached.stat().st_size
    damage(cached)
    assert torch.equal(load(root, tmp_path / "cache").train_images, first.train_images)
    assert cached.stat().st_size == intact


def test_a_folder_that_cannot_be_made_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    message = warned(root, tmp_path / "cache")
    assert f"cache folder {tmp_path / 'cache'} cannot be written: " in message
    assert message.endswith("set XDG_CACHE_HOME to a folder that can be")


def test_a_full_folder_is_named_and_nothing_stays_in_it(root: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        message = warned(root, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"cache folder {tmp_path / 'cache'} cannot be written: File too large" in message
    assert not list((tmp_path / "cache").iterdir())


def test_a_user_without_a_home_is_told_what_to_set(root: Path, monkeypatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert "this user has no home folder for the cache: set XDG_CACHE_HOME" in warned(root, None)
