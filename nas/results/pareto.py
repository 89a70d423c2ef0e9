"""Pareto fronts of accuracy (higher is better) against latency (lower is better)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def pareto_front(items: Sequence[T], points: Sequence[tuple[float, float]]) -> list[T]:
    """Return the Pareto-optimal items, fastest first; of items with equal points, only the first.

    Args:
        items: items of any type.
        points: (accuracy, latency in ms) of each item.
    """
    order = sorted(range(len(items)), key=lambda i: (points[i][1], -points[i][0], i))
    front, best = [], float("-inf")
    for index in order:
        accuracy = points[index][0]
        if accuracy > best:
            front.append(items[index])
            best = accuracy
    return front
