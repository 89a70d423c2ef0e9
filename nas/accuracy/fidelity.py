"""Fidelities of successive halving: images seen in training at each rung."""

from __future__ import annotations

REDUCTION = 3
"""Reduction factor of successive halving: a rung has this many times the images of the rung before,
and one candidate in this many is promoted to it."""


def rung_images(train_images: int, rungs: int) -> tuple[int, ...]:
    """Return the images that a candidate has seen at each rung; the last is ``train_images``."""
    return tuple(max(1, train_images // REDUCTION**to_come) for to_come in reversed(range(rungs)))
