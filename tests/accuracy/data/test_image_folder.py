"""Folders of images: layouts, splits, decoding, cache, and error messages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.accuracy.data.dataset import ProxyData, load_data
from nas.accuracy.data.image_folder import decode_image
from nas.accuracy.data.source import absolute_source, check_source, index_folder
from nas.config import ProxyConfig
from nas.errors import DataError

PER_CLASS = 80
COLOURS = {"cat": (250, 10, 10), "dog": (10, 250, 10)}


def write_class(folder: Path, colour: tuple[int, int, int], count: int = PER_CLASS) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        image = Image.new("RGB", (12 + number % 5, 10), colour)
        image.save(folder / f"{number:03}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    for name, colour in COLOURS.items():
        write_class(folder / name, colour)
    return folder


def load(root: Path, tmp_path: Path, **options: object) -> ProxyData:
    config = ProxyConfig.model_validate({"data": f"imagefolder:{root}", "resolution": 8, **options})
    return load_data(config, cache_dir=tmp_path / "cache")


def refused(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        check_source(ProxyConfig(data=f"imagefolder:{root}"))
    message = str(caught.value)
    assert "\n" not in message
    return message


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


def test_split_depends_on_paths_alone(root: Path, tmp_path: Path) -> None:
    before = index_folder(root).splits
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    assert index_folder(moved).splits == before
    members = [path for images in before.values() for path, _ in images]
    assert len(set(members)) == len(members) == 2 * PER_CLASS


def test_own_splits_are_used(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    for split, count in {"train": 30, "val": 15, "test": 11}.items():
        for name, colour in COLOURS.items():
            write_class(root / split / name, colour, count)
    splits = index_folder(root).splits
    assert {name: len(images) for name, images in splits.items()} == {
        "train": 60,
        "val": 30,
        "test": 22,
    }
    assert all(path.startswith("val/") for path, _ in splits["val"])


def test_a_missing_split_is_drawn_from_train(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    for split in ("train", "val"):
        for name, colour in COLOURS.items():
            write_class(root / split / name, colour)
    splits = index_folder(root).splits
    assert {name: len(images) for name, images in splits.items()} == {
        "train": 136,
        "val": 160,
        "test": 24,
    }
    assert all(path.startswith("train/") for path, _ in splits["test"])
    assert not set(splits["test"]) & set(splits["train"])


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("car", "train"):
        write_class(tmp_path / name, (1, 2, 3))
    assert index_folder(tmp_path).class_names == ("car", "train")


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


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_decoding_converts_every_mode_to_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    if mode == "I;16":
        Image.fromarray(np.full((9, 9), 200 * 256, np.uint16)).save(path)
    else:
        Image.new("L", (9, 9), 255).convert(mode).save(path)
    image = decode_image(path, 8)
    assert image.shape == (3, 8, 8)
    assert image.min() >= (250 if mode != "I;16" else 200)


def test_cache_round_trip(root: Path, tmp_path: Path) -> None:
    first = load(root, tmp_path)
    (cached,) = (tmp_path / "cache").iterdir()
    written = cached.stat().st_mtime_ns
    second = load(root, tmp_path)
    assert cached.stat().st_mtime_ns == written
    for split in ("train", "val", "test"):
        for part in ("images", "labels"):
            name = f"{split}_{part}"
            assert torch.equal(getattr(first, name), getattr(second, name))
    assert second.class_names == first.class_names
    assert sorted(path.name for path in root.iterdir()) == ["cat", "dog"]


def test_cache_notices_a_changed_image_and_another_resolution(root: Path, tmp_path: Path) -> None:
    load(root, tmp_path)
    changed, _ = index_folder(root).splits["val"][0]
    Image.new("RGB", (10, 10), (0, 0, 250)).save(root / changed)
    data = load(root, tmp_path)
    assert torch.equal(data.val_images[0, :, 0, 0], torch.tensor([0, 0, 250], dtype=torch.uint8))
    os.utime(root / changed, ns=(1, 1))
    load(root, tmp_path)
    assert load(root, tmp_path, resolution=12).val_images.shape[-1] == 12
    assert len(list((tmp_path / "cache").iterdir())) == 4


def test_a_damaged_cache_is_made_again(root: Path, tmp_path: Path) -> None:
    first = load(root, tmp_path)
    (cached,) = (tmp_path / "cache").iterdir()
    cached.write_bytes(cached.read_bytes()[:1000])
    assert torch.equal(load(root, tmp_path).train_images, first.train_images)


def test_unwritable_cache(root: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"cache folder .*cache cannot be written"):
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


def test_a_broken_link_is_an_image_that_cannot_be_read(root: Path, tmp_path: Path) -> None:
    (root / "cat" / "link.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"cat/link\.png cannot be read"):
        load(root, tmp_path)


def test_too_few_left_after_skipping(root: Path, tmp_path: Path) -> None:
    for path, _ in index_folder(root).splits["val"][:5]:
        (root / path).write_bytes(b"")
    with pytest.raises(DataError, match="the val split has 19 readable images, at least 20"):
        load(root, tmp_path, skip_unreadable=True)


def test_missing_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "none") == f"data folder {tmp_path / 'none'} does not exist"


def test_file_instead_of_folder(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_text("")
    assert "is a file, not a folder" in refused(tmp_path / "images.zip")


def test_empty_folder(tmp_path: Path) -> None:
    assert "has no class folders" in refused(tmp_path)


def test_images_without_class_folders(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert "has images but no class folders" in refused(tmp_path)


def test_empty_class_folder(root: Path) -> None:
    (root / "emu").mkdir()
    (root / "emu" / "notes.txt").write_text("none yet")
    assert f"class folder {root / 'emu'} has no images (bmp, gif, jpeg," in refused(root)


def test_one_class_only(root: Path) -> None:
    shutil.rmtree(root / "dog")
    assert "has one class only, 'cat'" in refused(root)


def test_split_too_small(tmp_path: Path) -> None:
    for name, colour in COLOURS.items():
        write_class(tmp_path / name, colour, 30)
    assert "the val split has 8 images, at least 20 are needed" in refused(tmp_path)


def test_split_without_a_class(root: Path) -> None:
    write_class(root / "emu", (1, 2, 3), 1)
    assert "the train split has no image of class 'emu'" in refused(root)


def test_splits_of_different_classes(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name, colour in COLOURS.items():
            write_class(tmp_path / split / name, colour, 30)
    (tmp_path / "val" / "dog").rename(tmp_path / "val" / "dogs")
    message = refused(tmp_path)
    assert "val has class 'dogs', which train lacks and lacks class 'dog', which train has" in (
        message
    )


def test_splits_without_train(tmp_path: Path) -> None:
    write_class(tmp_path / "val" / "cat", (1, 2, 3), 30)
    assert "has val but no train folder" in refused(tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("digit", "unknown data source 'digit': did you mean 'digits'?"),
        ("imagefolders:/data", "did you mean 'imagefolder:PATH'?"),
        ("cifar10", "known: digits, imagefolder:PATH"),
        ("imagefolder:", "data source 'imagefolder:' has no path: write imagefolder:PATH"),
    ],
)
def test_unknown_source(source: str, message: str) -> None:
    for read in (check_source, load_data):
        with pytest.raises(DataError) as caught:
            read(ProxyConfig(data=source))
        assert message in str(caught.value)


def test_a_bare_folder_is_told_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"for the folder write imagefolder:{tmp_path}"):
        check_source(ProxyConfig(data=str(tmp_path)))


def test_fewer_training_images_than_a_batch(tmp_path: Path) -> None:
    for split, count in {"train": 20, "val": 10, "test": 10}.items():
        for name, colour in COLOURS.items():
            write_class(tmp_path / split / name, colour, count)
    message = refused(tmp_path)
    assert "the train split has 40 images, a batch of proxy training takes 64" in message


def test_a_relative_source_is_made_absolute(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_source("imagefolder:photos") == f"imagefolder:{tmp_path / 'photos'}"
    assert absolute_source("digits") == "digits"


def test_digits_need_no_check() -> None:
    check_source(ProxyConfig())


def test_checking_a_source_loads_neither_torch_nor_pil() -> None:
    code = (
        "import sys; from nas.config import ProxyConfig; "
        "from nas.accuracy.data.source import check_source; check_source(ProxyConfig()); "
        "print(sorted({'torch', 'PIL', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
