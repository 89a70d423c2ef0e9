"""Reads folders of images as arrays. Images are decoded once, then read from a cache.

Shape suffixes: N images, 3 colours, H height, W width.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from nas.accuracy.data.fingerprint import DataFingerprint, image_stats
from nas.accuracy.data.folder_index import SPLITS, FolderIndex, check_sizes, index_folder
from nas.accuracy.data.image_cache import DecodedFolder, ImageCache
from nas.accuracy.data.source import DataSummary, parse_source, summarize
from nas.config import ProxyConfig
from nas.errors import DataError, DataWarning, printable

_BITS_PER_SAMPLE = 258
"""The TIFF tag of the number of bits of a pixel."""


def load_folder(
    root: Path, resolution: int, skip_unreadable: bool, cache_dir: Path | None
) -> tuple[DecodedFolder, DataFingerprint]:
    """Decode a folder's images, or read them from the cache.

    A cache that cannot be written is warned of.

    Args:
        root: the folder; see `nas.accuracy.data.folder_index` for its layout.
        resolution: side of the images in pixels. Images are rotated upright, converted to RGB,
            resized by their short side and cropped to the centre square.
        skip_unreadable: skip images that cannot be read, with a warning, instead of failing.
        cache_dir: folder of the cache; None for the user's cache folder.

    Returns:
        The images, and the fingerprint of the folder.

    Raises:
        DataError: the folder's layout is wrong, an image cannot be read (names it), or too few
            images are readable.
    """
    index = index_folder(root)
    stats = image_stats(index)
    cache = ImageCache(index, stats, resolution, cache_dir)
    decoded = cache.read()
    if decoded is None:
        decoded = _decode_folder(index, resolution, skip_unreadable)
        cache.write(decoded)
    if decoded.skipped:
        _report_skipped(root, decoded.skipped, skip_unreadable)
    return decoded, DataFingerprint.of(index, stats)


def read_source(config: ProxyConfig) -> DataSummary:
    """Decode the images of an ``imagefolder:`` source into the cache, before any training.

    Returns:
        What the source holds, without images that cannot be read.

    Raises:
        DataError: see `load_folder`.
    """
    folder = parse_source(config.data)
    if folder is None:
        return summarize(config)
    decoded, fingerprint = load_folder(folder, config.resolution, config.skip_unreadable, None)
    counts = {split: len(labels_N) for split, (_, labels_N) in decoded.splits.items()}
    return DataSummary(config.data, len(decoded.class_names), **counts, fingerprint=fingerprint)


def decode_image(path: Path, resolution: int) -> npt.NDArray[np.uint8]:
    """Read one image as uint8 [3, resolution, resolution].

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: it cannot be read.
    """
    with Image.open(path) as opened:
        # JPEGs can be decoded at a fraction of their size; twice the target keeps them sharp.
        opened.draft("RGB", (2 * resolution, 2 * resolution))
        image = _eight_bit(ImageOps.exif_transpose(opened), _bits(opened)).convert("RGB")
    scale = resolution / min(image.size)
    size = tuple(max(resolution, round(side * scale)) for side in image.size)
    image = image.resize((size[0], size[1]), Image.Resampling.BICUBIC, reducing_gap=3.0)
    left, top = (size[0] - resolution) // 2, (size[1] - resolution) // 2
    image = image.crop((left, top, left + resolution, top + resolution))
    return np.asarray(image, np.uint8).transpose(2, 0, 1)


def _bits(opened: Image.Image) -> int | None:
    """Number of bits of the brightest grey of an image; None if its file does not say it."""
    if opened.mode.startswith("I;16"):
        return int(getattr(opened, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0])
    # These formats have at most 16 bits, which PIL may read into 32.
    return 16 if opened.mode == "I" and opened.format in ("PNG", "PPM") else None


def _eight_bit(image: Image.Image, bits: int | None) -> Image.Image:
    """Scale grey images of more than 8 bits to 8; PIL's own conversion would clip them at 255.

    Args:
        image: an image of any mode.
        bits: number of bits of the brightest grey, if it is known.

    Raises:
        ValueError: it is not known which grey is white.
    """
    if bits is not None:
        pixels = np.asarray(image).astype(np.int64) >> (bits - 8)
        return Image.fromarray(pixels.astype(np.uint8))
    if image.mode == "F":
        pixels_HW = np.asarray(image)
        if pixels_HW.min() >= 0.0 and pixels_HW.max() <= 1.0:
            return Image.fromarray(np.rint(pixels_HW * 255.0).astype(np.uint8))
        raise ValueError("its greys are floating-point numbers beyond 0..1: convert it to 16 bits")
    if image.mode == "I":
        raise ValueError("its greys are 32-bit integers, of unknown range: convert it to 16 bits")
    return image


def _decode_folder(index: FolderIndex, resolution: int, skip_unreadable: bool) -> DecodedFolder:
    splits, skipped = {}, []
    for name in SPLITS:
        images = index.splits[name]
        pixels_N3HW = np.zeros((len(images), 3, resolution, resolution), np.uint8)
        failed = _decode_into(pixels_N3HW, index.root, [path for path, _ in images])
        if failed and not skip_unreadable:
            number, reason = failed[0]
            raise DataError(
                f"image {_shown(index.root, images[number][0])} cannot be read: {reason}; repair "
                f"or remove it, or leave such images out with --skip-unreadable"
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
        check_sizes(replace(index, splits=readable), "readable images")
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
            return number, printable(" ".join(str(error).split())) or type(error).__name__
        return None

    with ThreadPoolExecutor() as threads:
        return [failure for failure in threads.map(decode, range(len(paths))) if failure]


def _report_skipped(root: Path, skipped: tuple[str, ...], skip_unreadable: bool) -> None:
    first = _shown(root, skipped[0])
    if not skip_unreadable:
        raise DataError(
            f"image {first} cannot be read; repair or remove it, or leave such images out with "
            f"--skip-unreadable"
        )
    more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    warnings.warn(f"left out unreadable image {first}{more}", DataWarning, stacklevel=3)


def _shown(root: Path, path: str) -> str:
    return printable(str(root / path))
