"""Reads folders of images as arrays. Images are decoded once, then read from a cache.

Shape suffixes: N images, 3 colours, H height, W width.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from nas.accuracy.data.source import SPLITS, FolderIndex, check_sizes, index_folder, parse_source
from nas.config import ProxyConfig
from nas.errors import DataError, DataWarning
from nas.system import folders

Split = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]

_CACHE_FORMAT = 1


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


def load_folder(
    root: Path, resolution: int, skip_unreadable: bool, cache_dir: Path | None
) -> DecodedFolder:
    """Decode a folder's images, or read them from the cache.

    Args:
        root: the folder; see `nas.accuracy.data.source` for its layout.
        resolution: side of the images in pixels. Images are rotated upright, converted to RGB,
            resized by their short side and cropped to the centre square.
        skip_unreadable: skip images that cannot be read, with a warning, instead of failing.
        cache_dir: folder of the cache; None for the user's cache folder.

    Raises:
        DataError: the folder's layout is wrong, an image cannot be read (names it), too few
            images are readable, or the cache cannot be written.
    """
    index = index_folder(root)
    folder = folders.user_cache() if cache_dir is None else cache_dir
    path = folder / f"imagefolder-{cache_key(index, resolution)}.npz"
    decoded = _read_cache(path)
    if decoded is None:
        decoded = _decode_folder(index, resolution, skip_unreadable)
        _write_cache(path, decoded)
    if decoded.skipped:
        _report_skipped(root, decoded.skipped, skip_unreadable)
    return decoded


def read_source(config: ProxyConfig) -> None:
    """Decode the images of an ``imagefolder:`` source into the cache, before any training.

    Raises:
        DataError: see `load_folder`.
    """
    folder = parse_source(config.data)
    if folder is not None:
        load_folder(folder, config.resolution, config.skip_unreadable, None)


def cache_key(index: FolderIndex, resolution: int) -> str:
    """Name a cache file by a hash of the resolution and each image's path, size and change time."""
    digest = hashlib.sha256()
    header = [_CACHE_FORMAT, str(index.root.resolve()), resolution, index.class_names]
    digest.update(json.dumps(header).encode())
    for split in SPLITS:
        for path, label in index.splits[split]:
            file = index.root / path
            stat = file.stat() if file.exists() else file.lstat()  # a broken link
            entry = [split, path, label, stat.st_size, stat.st_mtime_ns]
            digest.update(json.dumps(entry).encode())
    return digest.hexdigest()[:20]


def decode_image(path: Path, resolution: int) -> npt.NDArray[np.uint8]:
    """Read one image as uint8 [3, resolution, resolution].

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: it cannot be read.
    """
    with Image.open(path) as opened:
        # JPEGs can be decoded at a fraction of their size; twice the target keeps them sharp.
        opened.draft("RGB", (2 * resolution, 2 * resolution))
        image = _eight_bit(ImageOps.exif_transpose(opened)).convert("RGB")
    scale = resolution / min(image.size)
    size = tuple(max(resolution, round(side * scale)) for side in image.size)
    image = image.resize((size[0], size[1]), Image.Resampling.BICUBIC, reducing_gap=3.0)
    left, top = (size[0] - resolution) // 2, (size[1] - resolution) // 2
    image = image.crop((left, top, left + resolution, top + resolution))
    return np.asarray(image, np.uint8).transpose(2, 0, 1)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey images to 8 bits; PIL's own conversion would clip them at 255."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _decode_folder(index: FolderIndex, resolution: int, skip_unreadable: bool) -> DecodedFolder:
    splits, skipped = {}, []
    for name in SPLITS:
        images = index.splits[name]
        pixels_N3HW = np.zeros((len(images), 3, resolution, resolution), np.uint8)
        failed = _decode_into(pixels_N3HW, index.root, [path for path, _ in images])
        if failed and not skip_unreadable:
            number, reason = failed[0]
            raise DataError(
                f"image {index.root / images[number][0]} cannot be read: {reason}; repair or "
                f"remove it, or leave such images out with --skip-unreadable"
            )
        unread = {number for number, _ in failed}
        skipped += [images[number][0] for number in sorted(unread)]
        kept = [number for number in range(len(images)) if number not in unread]
        labels_N = np.array([images[number][1] for number in kept], np.int64)
        splits[name] = (pixels_N3HW[kept], labels_N)
    if skipped:
        left_out = set(skipped)
        readable = {
            name: tuple(image for image in images if image[0] not in left_out)
            for name, images in index.splits.items()
        }
        check_sizes(FolderIndex(index.root, index.class_names, readable), "readable images")
    return DecodedFolder(index.class_names, splits, tuple(sorted(skipped)))


def _decode_into(
    pixels_N3HW: npt.NDArray[np.uint8], root: Path, paths: Sequence[str]
) -> list[tuple[int, str]]:
    """Fill the array; returns index and error of each image that cannot be read."""
    resolution = pixels_N3HW.shape[-1]

    def decode(number: int) -> tuple[int, str] | None:
        try:
            pixels_N3HW[number] = decode_image(root / paths[number], resolution)
        except Exception as error:  # PIL's plugins raise many kinds of errors for a broken file
            return number, " ".join(str(error).split()) or type(error).__name__
        return None

    with ThreadPoolExecutor() as threads:
        return [failure for failure in threads.map(decode, range(len(paths))) if failure]


def _report_skipped(root: Path, skipped: tuple[str, ...], skip_unreadable: bool) -> None:
    if not skip_unreadable:
        raise DataError(
            f"image {root / skipped[0]} cannot be read; repair or remove it, or leave such "
            f"images out with --skip-unreadable"
        )
    more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    message = f"left out unreadable image {root / skipped[0]}{more}"
    warnings.warn(message, DataWarning, stacklevel=3)


def _read_cache(path: Path) -> DecodedFolder | None:
    """Read a cache file; None if it does not exist or is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            meta = json.loads(str(stored["meta"]))
            splits = {name: (stored[f"{name}_images"], stored[f"{name}_labels"]) for name in SPLITS}
        return DecodedFolder(tuple(meta["class_names"]), splits, tuple(meta["skipped"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write_cache(path: Path, decoded: DecodedFolder) -> None:
    """Write a cache file atomically.

    Raises:
        DataError: the cache folder cannot be written.
    """
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for name, (images, labels) in decoded.splits.items():
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = images, labels
    meta = {"class_names": decoded.class_names, "skipped": decoded.skipped}
    arrays["meta"] = np.array(json.dumps(meta))
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
            np.savez(file, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise DataError(
            f"cache folder {path.parent} cannot be written: {error.strerror or error}; "
            f"set XDG_CACHE_HOME to a folder that can be"
        ) from None
