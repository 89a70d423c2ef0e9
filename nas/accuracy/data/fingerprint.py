"""Tells whether a folder of images is still the same, without opening an image."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.accuracy.data.folder_index import SPLITS, FolderIndex
from nas.errors import DataError, printable


@dataclass(frozen=True)
class ImageStat:
    """An image of a folder as the file system knows it.

    Attributes:
        split: ``train``, ``val`` or ``test``.
        path: path below the data folder.
        label: index of its class.
        size: size of the file in bytes.
        mtime_ns: time of its last change.
    """

    split: str
    path: str
    label: int
    size: int
    mtime_ns: int


def image_stats(index: FolderIndex) -> list[ImageStat]:
    """Examine each image of a folder.

    Raises:
        DataError: an image has gone since it was found.
    """
    found = []
    for split in SPLITS:
        for path, label in index.splits[split]:
            file = index.root / path
            try:
                stat = _stat(file)
            except OSError as error:
                raise DataError(
                    f"image {printable(str(file))} cannot be examined: {error.strerror}; begin "
                    f"again when nothing changes the data folder"
                ) from None
            found.append(ImageStat(split, path, label, stat.st_size, stat.st_mtime_ns))
    return found


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError:  # a broken link
        return file.lstat()


@dataclass(frozen=True)
class DataFingerprint:
    """What makes a data set the one that it is: its classes, and names and sizes of its images.

    It does not depend on where the folder is, nor on when its files were written.

    Attributes:
        class_names: hash of the names of the classes.
        train, val, test: number of images of each split.
        paths: hash of each image's split, class and path below the data folder.
        sizes: hash of the images' sizes in bytes.
    """

    class_names: str
    train: int
    val: int
    test: int
    paths: str
    sizes: str

    @classmethod
    def of(cls, index: FolderIndex, stats: Sequence[ImageStat]) -> DataFingerprint:
        """Make the fingerprint of a folder.

        Args:
            index: the images of the folder.
            stats: as returned by `image_stats`.
        """
        counts = {split: len(index.splits[split]) for split in SPLITS}
        return cls(
            class_names=digest(index.class_names),
            **counts,
            paths=digest([stat.split, stat.label, stat.path] for stat in stats),
            sizes=digest(stat.size for stat in stats),
        )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DataFingerprint:
        """Read what `to_json` returned."""
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the fingerprint as values of JSON."""
        return asdict(self)

    @property
    def images(self) -> int:
        """Number of all images."""
        return self.train + self.val + self.test

    def change_to(self, now: DataFingerprint) -> str | None:
        """Say what has changed in kind from this fingerprint to another; None for nothing."""
        if self.class_names != now.class_names:
            return "it has other classes"
        if self.images != now.images:
            return f"it had {self.images:,} images and has {now.images:,}"
        for split in SPLITS:
            before, after = getattr(self, split), getattr(now, split)
            if before != after:
                return f"its {split} split had {before:,} images and has {after:,}"
        if self.paths != now.paths:
            return "images have other names, or are in other classes or splits"
        return "images have other contents" if self.sizes != now.sizes else None


def digest(values: Iterable[object]) -> str:
    """A short hash of values of JSON."""
    found = hashlib.sha256()
    for value in values:
        found.update(json.dumps(value).encode())
        found.update(b"\n")
    return found.hexdigest()[:20]
