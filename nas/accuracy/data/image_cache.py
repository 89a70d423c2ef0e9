"""The cache of decoded images: one file for each folder and resolution.

A search needs no cache. Where there is none, each worker decodes the images itself.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.accuracy.data.fingerprint import ImageStat
from nas.accuracy.data.folder_index import SPLITS, FolderIndex
from nas.errors import ConfigError, DataWarning, printable
from nas.system import folders
from nas.system.atomic import replacing

Split = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]

_FORMAT = 2

_NAME = "imagefolder-"


@dataclass(frozen=True)
class DecodedFolder:
    """A folder's images at proxy resolution.

    Attributes:
        class_names: names of the classes, sorted.
        splits: for ``train``, ``val`` and ``test`` uint8 images [N, 3, H, W] and labels [N].
        skipped: paths, relative to the folder, of the images that could not be read, sorted.
    """

    class_names: tuple[str, ...]
    splits: dict[str, Split]
    skipped: tuple[str, ...]


class ImageCache:
    """Reads and writes the file of one folder's images at one resolution.

    Args:
        index: the images of the folder.
        stats: of these images; a changed image makes another file.
        resolution: side of the decoded images in pixels.
        folder: folder of the file; None for the user's cache folder.
    """

    def __init__(
        self,
        index: FolderIndex,
        stats: Sequence[ImageStat],
        resolution: int,
        folder: Path | None,
    ) -> None:
        self._index, self._resolution = index, resolution
        self._unusable: str | None = None
        self._path: Path | None = None
        try:
            folder = folders.user_cache() if folder is None else folder
        except ConfigError as error:
            self._unusable = str(error)
            return
        self._path = folder / f"{_NAME}{_key(index, stats, resolution)}.npz"

    def read(self) -> DecodedFolder | None:
        """Read the file; None if there is none, or it is damaged."""
        if self._path is None:
            return None
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                meta = json.loads(str(stored["meta"]))
                splits = {
                    name: (stored[f"{name}_images"], stored[f"{name}_labels"]) for name in SPLITS
                }
            found = DecodedFolder(tuple(meta["class_names"]), splits, tuple(meta["skipped"]))
            return found if self._fits(found) else None
        except Exception:  # damaged bytes make NumPy, zipfile and zlib raise many kinds of errors
            return None

    def write(self, decoded: DecodedFolder) -> None:
        """Write the file atomically; warn if the folder cannot be written."""
        if self._path is None:
            self._warn(f"{self._unusable}")
            return
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        for name, (images, labels) in decoded.splits.items():
            arrays[f"{name}_images"], arrays[f"{name}_labels"] = images, labels
        meta = {"class_names": decoded.class_names, "skipped": decoded.skipped}
        arrays["meta"] = np.array(json.dumps(meta))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as partial, partial.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        except OSError as error:
            self._warn(
                f"cache folder {self._path.parent} cannot be written: {error.strerror or error}; "
                f"set XDG_CACHE_HOME to a folder that can be"
            )

    def _warn(self, why: str) -> None:
        message = f"decoded images are not kept, and every worker decodes them anew: {why}"
        warnings.warn(printable(message), DataWarning, stacklevel=4)

    def _fits(self, found: DecodedFolder) -> bool:
        """Whether the content of a file is that of the folder's images."""
        shape = (3, self._resolution, self._resolution)
        images_found = sum(map(len, self._index.splits.values()))
        images_there = sum(len(labels) for _, labels in found.splits.values()) + len(found.skipped)
        return (
            found.class_names == self._index.class_names
            and images_there == images_found
            and all(
                images.shape == (len(labels), *shape)
                and images.dtype == np.uint8
                and labels.dtype == np.int64
                for images, labels in found.splits.values()
            )
        )


def _key(index: FolderIndex, stats: Sequence[ImageStat], resolution: int) -> str:
    """Hash the resolution and each image's path, size and time of change."""
    digest = hashlib.sha256()
    header = [_FORMAT, str(index.root.resolve()), resolution, index.class_names]
    digest.update(json.dumps(header).encode())
    for stat in stats:
        digest.update(json.dumps(asdict(stat)).encode())
    return digest.hexdigest()[:20]
