"""Hypervolume of a front in score and latency ratio, and its expected improvement.

A score is better when higher, a latency ratio (latency / budget) when lower. The hypervolume of a
front is the area of the plane that its points dominate, up to a reference point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

REFERENCE_RATIO = 1.25
"""Latency ratio of the reference point in a search. It is above 1, so that a higher score adds to
the hypervolume even just within the budget, where most searches look for their network."""


def hypervolume(score: ArrayLike, ratio: ArrayLike, reference: tuple[float, float]) -> float:
    """Return the area that points dominate, up to a reference point.

    Args:
        score: score of each point, [n].
        ratio: latency ratio of each point, [n].
        reference: score and latency ratio of the reference point; worse points do not count.
    """
    left, right, level = _steps(score, ratio, reference)
    covered = level > reference[0]
    return float(np.sum((right - left)[covered] * (level - reference[0])[covered]))


def expected_gain(
    mean: ArrayLike,
    deviation: ArrayLike,
    ratio: ArrayLike,
    front: tuple[ArrayLike, ArrayLike],
    reference: tuple[float, float],
) -> NDArray[np.float64]:
    """Return the exact expected hypervolume improvement of each candidate: [n].

    A candidate's score is normally distributed, and its latency ratio is known. Let f(x) be the
    best score of the front up to latency ratio x. At each x beyond its own latency ratio, the
    candidate raises f(x) to its score if that is higher. So the expected hypervolume improvement is
    the integral over x of the expected improvement on f(x). As f is a step function, it is a sum.

    Args:
        mean: expected score of each candidate, [n].
        deviation: standard deviation of each candidate's score, above 0, [n].
        ratio: latency ratio of each candidate, [n].
        front: scores and latency ratios of the current front, [m] each.
        reference: see `hypervolume`.
    """
    left, right, level = _steps(*front, reference)
    width = right - np.maximum(left, np.asarray(ratio, dtype=np.float64)[:, None])
    spread = np.asarray(deviation, dtype=np.float64)[:, None]
    z = (np.asarray(mean, dtype=np.float64)[:, None] - level) / spread
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    improvement = spread * (z * ndtr(z) + density)
    gain: NDArray[np.float64] = np.sum(np.maximum(width, 0.0) * improvement, axis=1)
    return gain


def _steps(
    score: ArrayLike, ratio: ArrayLike, reference: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Divide the latency ratios up to the reference point into ranges of constant best score.

    Returns:
        Left end, right end and best score of each range, [steps] each. The first range begins at
        minus infinity, with the score of the reference point.
    """
    scores = np.asarray(score, dtype=np.float64)
    ratios = np.asarray(ratio, dtype=np.float64)
    order = np.argsort(ratios, kind="stable")
    order = order[ratios[order] < reference[1]]
    level = np.maximum.accumulate(np.append(reference[0], scores[order]))
    left = np.append(-np.inf, ratios[order])
    right = np.append(ratios[order], reference[1])
    return left, right, level
