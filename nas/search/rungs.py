"""Successive halving: every candidate is trained a little, the promising ones go on.

Asynchronous, so that no worker ever waits: whenever one is free, the best candidate that is in the
best share of its rung and has not gone on goes on; only if there is none, a new one begins (ASHA,
arXiv 1810.05934). With two objectives and more, best means: in the first non-dominated front, and
within a front by what the hypervolume would lose without it (as in MO-ASHA, arXiv 2106.12639).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from nas.search.sampler.hypervolume import REFERENCE_LOAD, hypervolume

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

REDUCTION = 3
"""A rung has so many times the images of the one before; one candidate in so many reaches it."""


def rung_images(train_images: int, rungs: int) -> tuple[int, ...]:
    """Images a candidate has seen at each rung; the last is the whole training."""
    return tuple(max(1, train_images // REDUCTION**left) for left in reversed(range(rungs)))


def share_of(count: int, over: bool) -> int:
    """How many of so many candidates of a rung may go on.

    Args:
        count: candidates of the rung.
        over: no more will come; then one may however few there are.
    """
    return max(count // REDUCTION, min(count, 1) if over else 0)


def ranking(accuracy: ArrayLike, load: ArrayLike) -> list[int]:
    """Places of candidates, the best first.

    Args:
        accuracy: of each, or its score, all trained alike, [n].
        load: latencies as shares of their limits, [n, devices].
    """
    accuracies, loads = np.asarray(accuracy, dtype=float), np.asarray(load, dtype=float)
    beats = _beats(accuracies, loads)
    beaten_by = beats.sum(axis=0)  # of those not ranked yet
    ranked: list[int] = []
    while len(ranked) < len(accuracies):
        front = np.flatnonzero(beaten_by == 0)
        lost = _contributions(accuracies[front], loads[front], float(accuracies.min()))
        ranked += [int(place) for place in front[np.argsort(-lost, kind="stable")]]
        beaten_by -= beats[front].sum(axis=0)
        beaten_by[front] = -1
    return ranked


def next_to_go_on(
    accuracy: ArrayLike,
    load: ArrayLike,
    gone: Collection[int],
    able: Collection[int],
    over: bool = False,
) -> int | None:
    """Which candidate of a rung goes on to the next, None if none should.

    Args:
        accuracy, load: see `ranking`; of all that reached the rung.
        gone: places of those that have gone on.
        able: places of those that can.
        over: see `share_of`.
    """
    ranked = ranking(accuracy, load)
    best = ranked[: share_of(len(ranked), over)]
    return next((place for place in best if place in able and place not in gone), None)


def _beats(accuracy: NDArray[np.float64], load: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which point is at least as good as which other in everything, and better in something."""
    losses = np.column_stack([-accuracy, load])
    no_worse = np.all(losses[:, None] <= losses[None], axis=2)
    better = np.any(losses[:, None] < losses[None], axis=2)
    both: NDArray[np.bool_] = no_worse & better
    return both


def _contributions(
    accuracy: NDArray[np.float64], load: NDArray[np.float64], lowest: float
) -> NDArray[np.float64]:
    """What the hypervolume would lose without each point, summed over the devices: [n]."""
    reference = (lowest, REFERENCE_LOAD)
    lost = np.zeros(len(accuracy))
    for device in range(load.shape[1]):
        whole = hypervolume(accuracy, load[:, device], reference)
        for place in range(len(accuracy)):
            others = np.arange(len(accuracy)) != place
            lost[place] += whole - hypervolume(accuracy[others], load[others, device], reference)
    return lost
