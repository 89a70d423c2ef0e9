"""`digits`: real handwritten digits on cluttered canvases, rendered deterministically.

The scans are scikit-learn's copy of the UCI optical digits (1,797 scans of 8x8 pixels). An image
shows one whole digit at a random place and size, in front of fragments of other digits. The label
is the whole digit. No scan is used by two splits.

Shape suffixes: N images, S pixels of a scan's side, H = W pixels of the canvas, 3 colours.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Split = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Images [N, 3, H, W] and labels [N]."""

CLASS_NAMES = tuple("0123456789")
IMAGES = {"train": 12_000, "val": 3_000, "test": 3_000}
"""Number of images rendered for each split."""

SCAN_SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
"""Share of each digit's scans that a split uses; no scan is in two splits."""

DIGIT_SIZE = (0.5, 0.9)
"""Smallest and largest side of a digit, as a fraction of the canvas."""

BACKGROUND, STROKE = (0.0, 0.05), (0.9, 1.0)
"""Lowest and highest colour of the canvas, and of the digits and fragments drawn on it."""

FRAGMENTS = 4
"""Number of fragments behind each digit."""

FRAGMENT_PIXELS = (3, 5)
"""Smallest and largest side of a fragment, in pixels of the scan it is cut from."""

NOISE = 0.02
"""Standard deviation of the pixel noise; colours run from 0 to 1."""

_SCAN_SIDE = 8
_CHUNK = 100
"""Number of images drawn at once, so that their canvases fit in the processor's cache."""


@lru_cache(maxsize=2)
def render_digits(resolution: int) -> dict[str, Split]:
    """Render the images and labels of ``train``, ``val`` and ``test``.

    Args:
        resolution: side of the canvas in pixels.

    Returns:
        For each split uint8 images [N, 3, resolution, resolution] and int64 labels [N]. Every call
        returns the same arrays, which must not be modified.
    """
    scans_NSS, digits_N = _load_scans()
    rendered = {}
    for number, (name, members) in enumerate(scan_splits().items()):
        rng = np.random.default_rng([number, resolution])
        scans, digits = scans_NSS[members], digits_N[members]
        chunks = []
        for start in range(0, IMAGES[name], _CHUNK):
            count = min(_CHUNK, IMAGES[name] - start)
            chunks.append(_render(scans, digits, count, resolution, rng))
        rendered[name] = (
            np.concatenate([images for images, _ in chunks]),
            np.concatenate([labels for _, labels in chunks]),
        )
    return rendered


@lru_cache(maxsize=1)
def scan_splits() -> dict[str, npt.NDArray[np.int64]]:
    """Indices of each split's scans: no scan is in two splits, all have the same mix of digits."""
    _, digits_N = _load_scans()
    rng = np.random.default_rng(0)
    parts: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in SCAN_SHARES}
    bounds = np.cumsum(list(SCAN_SHARES.values()))[:-1]
    for digit in range(len(CLASS_NAMES)):
        members = rng.permutation(np.flatnonzero(digits_N == digit))
        cuts = np.round(bounds * len(members)).astype(int)
        for name, part in zip(parts, np.split(members, cuts), strict=True):
            parts[name].append(part)
    return {name: np.sort(np.concatenate(found)) for name, found in parts.items()}


@lru_cache(maxsize=1)
def _load_scans() -> tuple[Floats, npt.NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return (bunch.images / 16.0).astype(np.float32), bunch.target.astype(np.int64)


def _render(
    scans_NSS: Floats,
    digits_N: npt.NDArray[np.int64],
    count: int,
    resolution: int,
    rng: np.random.Generator,
) -> Split:
    """Draw ``count`` images: fragments first, the whole digit in front of them, then noise."""
    canvas_N3HW = np.empty((count, 3, resolution, resolution), np.float32)
    canvas_N3HW[:] = _colours(rng, count, *BACKGROUND)
    for _ in range(FRAGMENTS):
        others = scans_NSS[rng.integers(len(scans_NSS), size=count)]
        _draw(canvas_N3HW, _cut_fragments(others, rng), rng, margin=0.0)
    chosen = rng.integers(len(scans_NSS), size=count)
    _draw(canvas_N3HW, scans_NSS[chosen], rng, margin=0.5)
    canvas_N3HW += rng.standard_normal(canvas_N3HW.shape, np.float32) * NOISE
    canvas_N3HW.clip(0.0, 1.0, out=canvas_N3HW)
    return np.rint(canvas_N3HW * 255.0).astype(np.uint8), digits_N[chosen]


def _cut_fragments(scans_NSS: Floats, rng: np.random.Generator) -> Floats:
    """Cut a random window out of each scan; the rest becomes blank."""
    count = len(scans_NSS)
    low, high = FRAGMENT_PIXELS
    place_S = np.arange(_SCAN_SIDE)
    masks = []
    for _ in range(2):
        side_N = rng.integers(low, high + 1, size=count)
        start_N = rng.integers(0, _SCAN_SIDE - side_N + 1)
        masks.append((place_S >= start_N[:, None]) & (place_S < (start_N + side_N)[:, None]))
    window_NSS = masks[0][:, :, None] & masks[1][:, None, :]
    return scans_NSS * window_NSS


def _draw(
    canvas_N3HW: Floats, sprites_NSS: Floats, rng: np.random.Generator, margin: float
) -> None:
    """Blend one sprite into each canvas, in place, at a random size, place and colour.

    Args:
        canvas_N3HW: colours from 0 to 1.
        sprites_NSS: opacity from 0 to 1.
        margin: least distance of the centre from the border, in sides of the sprite.
    """
    count, resolution = len(canvas_N3HW), canvas_N3HW.shape[-1]
    side_N = rng.uniform(*DIGIT_SIZE, size=count) * resolution
    weights = []
    for _ in range(2):
        inset_N = margin * side_N
        centre_N = inset_N + rng.random(count) * (resolution - 2 * inset_N)
        weights.append(_sampling(centre_N, side_N, resolution))
    opacity_NHW = weights[0] @ sprites_NSS @ weights[1].transpose(0, 2, 1)
    colour_N311 = _colours(rng, count, *STROKE)
    canvas_N3HW += opacity_NHW[:, None] * (colour_N311 - canvas_N3HW)


def _sampling(
    centre_N: npt.NDArray[np.float64], side_N: npt.NDArray[np.float64], resolution: int
) -> Floats:
    """Return the weights [N, resolution, S] that resample one axis of N scans bilinearly.

    On the canvas axis of ``resolution`` pixels, each scan is centred at ``centre_N`` and
    ``side_N`` long, both in pixels.
    """
    pixel_H = np.arange(resolution) + 0.5
    place_NH = (pixel_H - centre_N[:, None]) / side_N[:, None] * _SCAN_SIDE + _SCAN_SIDE / 2 - 0.5
    distance_NHS = np.abs(place_NH[:, :, None] - np.arange(_SCAN_SIDE))
    return np.maximum(1.0 - distance_NHS, 0.0).astype(np.float32)


def _colours(rng: np.random.Generator, count: int, low: float, high: float) -> Floats:
    """Random colours [N, 3, 1, 1]."""
    return rng.uniform(low, high, size=(count, 3, 1, 1)).astype(np.float32)
