"""How much of the accuracy/latency plane a front covers, and what a candidate may add to it.

The plane is accuracy (higher is better) over load, a latency as a share of its limit (lower is
better). A front covers what one of its points reaches with at most that load and at least that
accuracy, up to a reference point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

REFERENCE_LOAD = 1.25
"""Up to which load a front counts in a search. Above 1, or accuracy close to the limit would count
for nothing, and that is what most searches are for."""


def hypervolume(accuracy: ArrayLike, load: ArrayLike, reference: tuple[float, float]) -> float:
    """Area covered by points.

    Args:
        accuracy: of each point, [n].
        load: of each point, [n].
        reference: lowest accuracy and highest load that count.
    """
    left, right, level = _steps(accuracy, load, reference)
    covered = level > reference[0]
    return float(np.sum((right - left)[covered] * (level - reference[0])[covered]))


def expected_gain(
    mean: ArrayLike,
    deviation: ArrayLike,
    load: ArrayLike,
    front: tuple[ArrayLike, ArrayLike],
    reference: tuple[float, float],
) -> NDArray[np.float64]:
    """Expected growth of the hypervolume by one more point of uncertain accuracy, exact: [n].

    The load of a candidate is known. At each load x beyond it, it raises the front from f(x) to
    its accuracy if that is higher, so the expected growth is the integral over x of the expected
    improvement upon f(x); f is a step function, so the integral is a sum over its steps.

    Args:
        mean: expected accuracy of each candidate, [n].
        deviation: standard deviation of that, above 0, [n].
        load: of each candidate, [n].
        front: accuracies and loads of points that are there, [m] each.
        reference: as for `hypervolume`.
    """
    left, right, level = _steps(*front, reference)
    width = right - np.maximum(left, np.asarray(load, dtype=np.float64)[:, None])
    spread = np.asarray(deviation, dtype=np.float64)[:, None]
    z = (np.asarray(mean, dtype=np.float64)[:, None] - level) / spread
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    improvement = spread * (z * ndtr(z) + density)
    gain: NDArray[np.float64] = np.sum(np.maximum(width, 0.0) * improvement, axis=1)
    return gain


def _steps(
    accuracy: ArrayLike, load: ArrayLike, reference: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Best accuracy within each range of loads: left ends, right ends, and levels, [steps] each.

    The first range begins at minus infinity with the accuracy of the reference.
    """
    accuracies = np.asarray(accuracy, dtype=np.float64)
    loads = np.asarray(load, dtype=np.float64)
    order = np.argsort(loads, kind="stable")
    order = order[loads[order] < reference[1]]
    level = np.maximum.accumulate(np.append(reference[0], accuracies[order]))
    left = np.append(-np.inf, loads[order])
    right = np.append(loads[order], reference[1])
    return left, right, level
