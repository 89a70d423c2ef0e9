"""Parses and checks a data source of proxy training, without torch.

A source is ``digits`` or ``imagefolder:PATH``; `nas.accuracy.data.folder_index` says what PATH
holds.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from nas.accuracy.data.fingerprint import DataFingerprint, image_stats
from nas.accuracy.data.folder_index import SPLITS, FolderIndex, index_folder
from nas.config import ProxyConfig
from nas.errors import DataError, DataWarning, printable, unknown
from nas.system.paths import is_dir

_PREFIX = "imagefolder:"
_KNOWN = ("digits", "imagefolder:PATH")


@dataclass(frozen=True)
class DataSummary:
    """What a data source holds.

    Attributes:
        source: the source, as the user gave it.
        classes: number of classes.
        train, val, test: number of images of each split.
        fingerprint: of a folder of images; None for data that come along.
    """

    source: str
    classes: int
    train: int
    val: int
    test: int
    fingerprint: DataFingerprint | None = None

    @property
    def images(self) -> int:
        """Number of all images."""
        return self.train + self.val + self.test

    @property
    def text(self) -> str:
        """Numbers of classes and images, as messages show them."""
        return (
            f"{self.classes:,} classes, images: {self.train:,} train, {self.val:,} val, "
            f"{self.test:,} test"
        )


def parse_source(source: str) -> Path | None:
    """The folder of an ``imagefolder:PATH`` source; None for ``digits``.

    Raises:
        DataError: unknown source, or no path given.
    """
    if source == "digits":
        return None
    if not source.startswith(_PREFIX):
        message = unknown("data source", source, _KNOWN)
        if is_dir(_expanded(source)):
            message += f"; for the folder write {_PREFIX}{printable(source)}"
        raise DataError(message)
    path = source.removeprefix(_PREFIX)
    if not path.strip():
        raise DataError(f"data source {source!r} has no path: write imagefolder:PATH")
    return _expanded(path)


def check_source(config: ProxyConfig) -> FolderIndex | None:
    """Refuse a source that is not suitable for training, without opening an image.

    Returns:
        The images of a folder; None for ``digits``.

    Raises:
        DataError: the source is unknown, the folder is missing or empty, there is only one class,
            or a split is too small.
    """
    folder = parse_source(config.data)
    if folder is None:
        return None
    index = index_folder(folder)
    images = len(index.splits["train"])
    if images < config.batch_size:
        raise DataError(
            f"data folder {printable(str(folder))}: the train split has {images} images, a batch "
            f"of proxy training takes {config.batch_size}; add images"
        )
    return index


def warn_of_left_out(index: FolderIndex) -> None:
    """Warn if a folder holds what looks like images or is closed, and is not used."""
    if index.left_out:
        message = f"data folder {printable(str(index.root))}: left out {index.left_out}"
        warnings.warn(message, DataWarning, stacklevel=3)


def summarize(config: ProxyConfig) -> DataSummary:
    """Count the classes and images of a source, without opening an image.

    Raises:
        DataError: see `check_source`.
    """
    index = check_source(config)
    if index is None:
        from nas.accuracy.data import digits

        return DataSummary(config.data, len(digits.CLASS_NAMES), **digits.IMAGES, fingerprint=None)
    counts = {split: len(index.splits[split]) for split in SPLITS}
    fingerprint = DataFingerprint.of(index, image_stats(index))
    return DataSummary(config.data, len(index.class_names), **counts, fingerprint=fingerprint)


def absolute_source(source: str) -> str:
    """Return the source with an absolute path, so that it is valid in any working directory.

    Raises:
        DataError: see `parse_source`; or the path is not UTF-8, as which config.yaml is written.
    """
    folder = parse_source(source)
    if folder is None:
        return source
    path = str(folder.absolute())
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"data folder {printable(path)}: its path is not UTF-8, and no file of a run could "
            f"name it: rename the folder, or name a link to it"
        ) from None
    return f"{_PREFIX}{path}"


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # neither HOME nor an entry in the list of users
        raise DataError(
            f"data folder {printable(path)}: there is no home folder for its ~: write the whole "
            f"path"
        ) from None
