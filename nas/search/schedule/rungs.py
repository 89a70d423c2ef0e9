"""Asynchronous successive halving: every candidate is trained a little, the best are promoted.

No worker ever waits. When one is free, the best candidate in the best share of its rung that was
not promoted yet is promoted; if there is none, a new candidate begins (ASHA, arXiv 1810.05934).
With two objectives and more, candidates are ranked by non-dominated fronts, and within a front by
what the hypervolume would lose without them (as in MO-ASHA, arXiv 2106.12639).
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
    """How many candidates of a rung may be promoted.

    Args:
        count: candidates of the rung.
        no_more: whether no candidate will be added. Then one may be promoted however few there are.
    """
    return max(count // REDUCTION, min(count, 1) if no_more else 0)


def ranking(score: ArrayLike, ratio: ArrayLike) -> list[int]:
    """Indices of candidates, the best first.

    Args:
        score: score of each candidate, all trained to the same rung, [n].
        ratio: latency ratios, [n, devices].
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
    """Index of the candidate of a rung to promote to the next; None if none should be.

    Args:
        score, ratio: see `ranking`, of all candidates that reached the rung.
        promoted: indices of the candidates that were promoted.
        able: indices of the candidates that can be promoted.
        no_more: see `promotions_of`.
    """
    ranked = ranking(score, ratio)
    best = ranked[: promotions_of(len(ranked), no_more)]
    return next((place for place in best if place in able and place not in promoted), None)


def _dominates(score: NDArray[np.float64], ratio: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which point dominates which other: [n, n]."""
    losses = np.column_stack([-score, ratio])
    no_worse = np.all(losses[:, None] <= losses[None], axis=2)
    better = np.any(losses[:, None] < losses[None], axis=2)
    both: NDArray[np.bool_] = no_worse & better
    return both


def _contributions(
    score: NDArray[np.float64], ratio: NDArray[np.float64], lowest: float
) -> NDArray[np.float64]:
    """What the hypervolume would lose without each point, summed over the devices: [n]."""
    reference = (lowest, REFERENCE_RATIO)
    lost = np.zeros(len(score))
    for device in range(ratio.shape[1]):
        whole = hypervolume(score, ratio[:, device], reference)
        for place in range(len(score)):
            others = np.arange(len(score)) != place
            lost[place] += whole - hypervolume(score[others], ratio[others, device], reference)
    return lost
