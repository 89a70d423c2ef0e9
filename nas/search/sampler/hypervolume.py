"""Hypervolume of a front of scores over latency ratios, and the expected improvement of it.

A score is better when higher, a latency ratio (latency / budget) when lower. A front covers the
part of the plane that is dominated by one of its points, up to a reference point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

REFERENCE_RATIO = 1.25
"""Highest latency ratio that counts in a search. It is above 1, so that the score
of a network close to the limit counts; most searches are for that network."""


def hypervolume(score: ArrayLike, ratio: ArrayLike, reference: tuple[float, float]) -> float:
    """Area covered by points.

    Args:
        score: score of each point, [n].
        ratio: latency ratio of each point, [n].
        reference: lowest score and highest latency ratio that count.
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
    """Expected growth of the hypervolume by one more point of uncertain score, exact: [n].

    The latency ratio of a candidate is known. At each ratio x beyond it, the candidate raises the
    front from f(x) to its score if that is higher, so the expected growth is the integral over x
    of the expected improvement upon f(x). f is a step function, so the integral is a sum.

    Args:
        mean: expected score of each candidate, [n].
        deviation: standard deviation of the score, above 0, [n].
        ratio: latency ratio of each candidate, [n].
        front: scores and latency ratios of the current front, [m] each.
        reference: as for `hypervolume`.
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
    """Best score within each range of latency ratios: left ends, right ends, levels, [steps] each.

    The first range begins at minus infinity with the score of the reference.
    """
    scores = np.asarray(score, dtype=np.float64)
    ratios = np.asarray(ratio, dtype=np.float64)
    order = np.argsort(ratios, kind="stable")
    order = order[ratios[order] < reference[1]]
    level = np.maximum.accumulate(np.append(reference[0], scores[order]))
    left = np.append(-np.inf, ratios[order])
    right = np.append(ratios[order], reference[1])
    return left, right, level
