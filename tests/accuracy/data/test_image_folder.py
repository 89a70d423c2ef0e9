"""Decoding folders of images, and images that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.accuracy.data.dataset import ProxyData, load_data
from nas.accuracy.data.folder_index import index_folder
from nas.accuracy.data.image_folder import decode_image
from nas.config import ProxyConfig
from nas.errors import DataError
from tests.accuracy.data.pictures import COLOURS, PER_CLASS


def load(root: Path, tmp_path: Path, **options: object) -> ProxyData:
    config = ProxyConfig.model_validate({"data": f"imagefolder:{root}", "resolution": 8, **options})
    return load_data(config, cache_dir=tmp_path / "cache")


def test_class_folders_are_split_by_class(root: Path, tmp_path: Path) -> None:
    data = load(root, tmp_path)
    assert data.class_names == ("cat", "dog")
    sizes = {"train": 112, "val": 24, "test": 24}
    for split, size in sizes.items():
        images, labels = getattr(data, f"{split}_images"), getattr(data, f"{split}_labels")
        assert images.shape == (size, 3, 8, 8)
        assert images.dtype == torch.uint8
        assert torch.bincount(labels).tolist() == [size // 2, size // 2]
        for image, label in zip(images, labels, strict=True):
            expected = torch.tensor(list(COLOURS.values())[label]).view(3, 1, 1)
            assert torch.equal(image.int(), expected.expand(3, 8, 8).int())


def test_names_that_are_not_utf8_are_read_like_any_other(root: Path, tmp_path: Path) -> None:
    (root / "cat" / "007.png").rename(root / "cat" / os.fsdecode(b"stra\xdfe.png"))
    (root / "dog").rename(root / os.fsdecode(b"h\xfcndchen"))
    (root / "cat" / os.fsdecode(b"\xff.png")).write_bytes(b"no image")
    for _ in range(2):  # decoded, then from the cache
        with pytest.warns(UserWarning, match=r"left out unreadable image .*cat/\\xff\.png"):
            data = load(root, tmp_path, skip_unreadable=True)
        assert len(data.train_images) + len(data.val_images) + len(data.test_images) == 160
        assert data.class_names == ("cat", os.fsdecode(b"h\xfcndchen"))


def test_decoding_turns_resizes_and_crops(tmp_path: Path) -> None:
    pixels = np.zeros((40, 20, 3), np.uint8)
    pixels[:20] = (200, 0, 0)
    pixels[20:] = (0, 0, 200)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image = decode_image(tmp_path / "turned.png", 10)
    assert image.shape == (3, 10, 10)
    assert image.dtype == np.uint8
    assert image[2, :, :4].min() > 190  # the lower, blue half is now left
    assert image[0, :, 6:].min() > 190


@pytest.mark.parametrize("mode", ["L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "1"])
def test_decoding_converts_every_mode_to_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("image.tif" if mode in ("CMYK", "YCbCr") else "image.png")
    if mode == "PA":
        path = tmp_path / "image.tif"
    Image.new("L", (9, 9), 255).convert(mode).save(path)
    image = decode_image(path, 8)
    assert image.shape == (3, 8, 8)
    assert image.min() >= 250


RAMP = np.linspace(0, 1, 64)[None].repeat(64, 0)


@pytest.mark.parametrize(
    ("pixels", "suffix"),
    [
        (RAMP * 65535, "png"),
        (RAMP * 65535, "tif"),
        (RAMP * 65535, "pgm"),
        (RAMP * 65535, "big-endian.tif"),
        (RAMP, "float.tif"),
    ],
)
def test_deep_grey_images_keep_their_range(pixels: np.ndarray, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"ramp.{suffix}"
    kind = np.float32 if "float" in suffix else np.dtype(">u2" if "big" in suffix else "<u2")
    Image.fromarray(pixels.astype(kind)).save(path)
    image = decode_image(path, 64)
    expected = np.rint(RAMP * 255)
    assert np.abs(image.astype(int) - expected).max() <= 1


def test_twelve_bits_of_a_tiff_keep_their_range(tmp_path: Path) -> None:
    """Pillow reads such files, and writes none: one strip, two pixels in three bytes."""
    greys = np.rint(RAMP[0] * 4095).astype(int)
    packed = bytearray()
    for _ in range(64):
        for first, second in zip(greys[::2], greys[1::2], strict=True):
            packed += bytes((first >> 4, (first & 15) << 4 | second >> 8, second & 255))
    path = tmp_path / "ramp.tif"
    Image.new("L", (96, 64)).save(path)  # as many bytes
    with Image.open(path) as image:
        tags = image.tag_v2
        start = tags[273][0]
    content = bytearray(path.read_bytes())
    content[start : start + len(packed)] = packed
    for tag, value in ((256, 64), (258, 12)):
        entry = content.find(tag.to_bytes(2, "little"), 8)
        content[entry + 8 : entry + 10] = value.to_bytes(2, "little")
    path.write_bytes(content)
    with Image.open(path) as image:
        assert image.mode == "I;16" and image.size == (64, 64)
    assert np.abs(decode_image(path, 64).astype(int) - np.rint(RAMP * 255)).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        ((RAMP * 65535).astype(np.int32), "32-bit integers, of unknown range: convert it to 16"),
        ((RAMP * 65535).astype(np.float32), "floating-point numbers beyond 0..1"),
        ((RAMP - 0.5).astype(np.float32), "floating-point numbers beyond 0..1"),
        (np.full((64, 64), np.nan, np.float32), "floating-point numbers beyond 0..1"),
    ],
)
def test_grey_images_of_unknown_range_are_refused(
    pixels: np.ndarray, said: str, root: Path, tmp_path: Path
) -> None:
    Image.fromarray(pixels).save(root / "cat" / "deep.tif")
    with pytest.raises(DataError, match=rf"cat/deep\.tif cannot be read: .*{said}"):
        load(root, tmp_path)


def test_unreadable_image_is_named(root: Path, tmp_path: Path) -> None:
    (root / "dog" / "007.png").write_bytes(b"not an image")
    with pytest.raises(
        DataError, match=r"image .*dog/007\.png cannot be read: .*--skip-unreadable"
    ):
        load(root, tmp_path)
    assert not (tmp_path / "cache").exists()


def test_truncated_image_is_unreadable(root: Path, tmp_path: Path) -> None:
    path = root / "cat" / "011.png"
    Image.effect_noise((64, 64), 90).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(DataError, match=r"cat/011\.png cannot be read"):
        load(root, tmp_path)


def test_unreadable_image_is_skipped_when_told_to(root: Path, tmp_path: Path) -> None:
    (root / "dog" / "007.png").write_bytes(b"not an image")
    for _ in range(2):  # decoded, then from the cache
        with pytest.warns(UserWarning, match=r"left out unreadable image .*dog/007\.png"):
            data = load(root, tmp_path, skip_unreadable=True)
        assert data.skipped == ("dog/007.png",)
        sizes = [len(data.train_images), len(data.val_images), len(data.test_images)]
        assert sum(sizes) == 2 * PER_CLASS - 1
        assert len(data.train_labels) == sizes[0]
    with pytest.raises(DataError, match=r"dog/007\.png cannot be read"):
        load(root, tmp_path)


@pytest.mark.parametrize("target", ["gone.png", "link.png"])
def test_a_broken_link_is_an_image_that_cannot_be_read(
    root: Path, tmp_path: Path, target: str
) -> None:
    (root / "cat" / "link.png").symlink_to(target)
    with pytest.raises(DataError, match=r"cat/link\.png cannot be read"):
        load(root, tmp_path)


def test_too_few_left_after_skipping(root: Path, tmp_path: Path) -> None:
    for path, _ in index_folder(root).splits["val"][:5]:
        (root / path).write_bytes(b"")
    with pytest.raises(DataError, match="the val split has 19 readable images, at least 20"):
        load(root, tmp_path, skip_unreadable=True)
