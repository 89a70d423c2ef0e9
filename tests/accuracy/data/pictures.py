"""Folders of images for tests."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

PER_CLASS = 80
COLOURS = {"cat": (250, 10, 10), "dog": (10, 250, 10)}


def write_class(folder: Path, colour: tuple[int, int, int], count: int = PER_CLASS) -> None:
    """A class folder of real images."""
    folder.mkdir(parents=True)
    for number in range(count):
        image = Image.new("RGB", (12 + number % 5, 10), colour)
        image.save(folder / f"{number:03}.png")


def write_names(folder: Path, count: int = PER_CLASS) -> None:
    """A folder of files that are named like images; only their names and sizes count."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:03}.png").touch()


def write_splits(root: Path, *splits: str, count: int = PER_CLASS) -> Path:
    """Class folders of such files in folders of splits, or, without any, in the data folder."""
    for split in splits or ("",):
        for name in COLOURS:
            write_names(root / split / name, count)
    return root
