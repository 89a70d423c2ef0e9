"""Fidelities of successive halving: after how many images each rung is."""

from __future__ import annotations

REDUCTION = 3
"""A rung has so many times the images of the one before; one candidate in so many reaches it."""


def rung_images(train_images: int, rungs: int) -> tuple[int, ...]:
    """Images that a candidate has seen at each rung; the last is the whole training."""
    return tuple(max(1, train_images // REDUCTION**to_come) for to_come in reversed(range(rungs)))
