"""Asynchronous successive halving: every candidate is trained a little, the best are promoted.

No worker ever waits. When a worker is free, a candidate in the best third of its rung is promoted,
the best of those not promoted yet. If there is none, a new candidate begins (ASHA, arXiv
1810.05934). Candidates have several objectives, so they are ranked by non-dominated fronts, and
within a front by their contributions to the hypervolume (as in MO-ASHA, arXiv 2106.12639).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from nas.accuracy.fidelity import REDUCTION
from nas.search.sampler.hypervolume import REFERENCE_RATIO, hypervolume

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def promotions_of(count: int, no_more: bool) -> int:
    """Return how many candidates of a rung may be promoted.

    Args:
        count: number of candidates of the rung.
        no_more: whether no candidate will be added to the rung. At least one may then be promoted,
            however few there are.
    """
    return max(count // REDUCTION, min(count, 1) if no_more else 0)


def ranking(score: ArrayLike, ratio: ArrayLike) -> list[int]:
    """Return the indices of candidates, in order of rank, the best first.

    Args:
        score: score of each candidate, all trained to the same rung, [n].
        ratio: their latency ratios, [n, devices].
    """
    scores, ratios = np.asarray(score, dtype=float), np.asarray(ratio, dtype=float)
    dominates = _dominates(scores, ratios)
    dominated_by = dominates.sum(axis=0)  # by candidates that are not ranked yet
    ranked: list[int] = []
    while len(ranked) < len(scores):
        front = np.flatnonzero(dominated_by == 0)
        lost = _contributions(scores[front], ratios[front], float(scores.min()))
        ranked += [int(place) for place in front[np.argsort(-lost, kind="stable")]]
        dominated_by -= dominates[front].sum(axis=0)
        dominated_by[front] = -1
    return ranked


def next_promotion(
    score: ArrayLike,
    ratio: ArrayLike,
    promoted: Collection[int],
    able: Collection[int],
    no_more: bool = False,
) -> int | None:
    """Return the index of the candidate of a rung to promote; None if none should be promoted.

    Args:
        score, ratio: see `ranking`, of all candidates that reached the rung.
        promoted: indices of the candidates that were promoted already.
        able: indices of the candidates whose training can go on.
        no_more: see `promotions_of`.
    """
    ranked = ranking(score, ratio)
    best = ranked[: promotions_of(len(ranked), no_more)]
    return next((place for place in best if place in able and place not in promoted), None)


def _dominates(score: NDArray[np.float64], ratio: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether point i Pareto-dominates point j, at [i, j]: [n, n]."""
    losses = np.column_stack([-score, ratio])
    no_worse = np.all(losses[:, None] <= losses[None], axis=2)
    better = np.any(losses[:, None] < losses[None], axis=2)
    both: NDArray[np.bool_] = no_worse & better
    return both


def _contributions(
    score: NDArray[np.float64], ratio: NDArray[np.float64], lowest: float
) -> NDArray[np.float64]:
    """Return each point's contribution to the hypervolume, summed over the devices: [n].

    The contribution is the part of the hypervolume that would be lost without the point.

    Args:
        score: score of each point, [n].
        ratio: latency ratios, [n, devices].
        lowest: score of the reference point.
    """
    reference = (lowest, REFERENCE_RATIO)
    lost = np.zeros(len(score))
    for device in range(ratio.shape[1]):
        whole = hypervolume(score, ratio[:, device], reference)
        for place in range(len(score)):
            others = np.arange(len(score)) != place
            lost[place] += whole - hypervolume(score[others], ratio[others, device], reference)
    return lost
