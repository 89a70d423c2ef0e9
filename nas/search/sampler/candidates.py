"""Makes candidates that fit the limits: fresh ones, children of others, and some for a load."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from nas.space.parameter_space import A, Choice, ParameterSpace, Walk, picked_from, tilted

if TYPE_CHECKING:
    from numpy.typing import NDArray

Load = Callable[[Sequence[A]], "NDArray[np.float64]"]
"""Latencies of architectures as shares of their limits, above 0: [n, devices]. Above 1 is over the
limit; what breaks a limit of another kind is above 1 on every device."""

Key = tuple[tuple[str, Choice], ...]

TILT = 4.0
"""Strongest preference of fresh candidates for small values, or for large ones."""

HIGHEST_LOAD = 100.0
"""Loads beyond it, infinite ones too, count as this."""

CROSSED = 0.4
"""Share of children that have two parents."""

MUTATION_GOES_ON = 0.5
"""Chance that after one changed parameter another one is changed."""

GENERATIONS, BROOD, PARENTS = 8, 60, 12
"""Of the search for a candidate of a given load."""


class Candidates(Generic[A]):
    """Makes candidates of a space.

    Args:
        space: any parameter space.
        load: latencies as shares of their limits.
        rng: where the randomness comes from.
    """

    def __init__(self, space: ParameterSpace[A], load: Load[A], rng: random.Random) -> None:
        self._space = space
        self._load = load
        self._rng = rng

    def walk(self, params: dict[str, Any]) -> Walk[A]:
        """The walk that gave these values."""
        return self._space.walk(picked_from(params))

    def load(self, walks: Sequence[Walk[A]]) -> NDArray[np.float64]:
        """Loads of walks: [n, devices]."""
        return np.minimum(self._load([walk.architecture for walk in walks]), HIGHEST_LOAD)

    def fresh(self, count: int) -> list[Walk[A]]:
        """Random candidates, each tilted towards small or large values by another amount."""
        tilts = [self._rng.uniform(-TILT, TILT) for _ in range(count)]
        return [self._space.walk(tilted(self._rng, tilt)) for tilt in tilts]

    def children(self, parents: Sequence[Walk[A]], count: int) -> list[Walk[A]]:
        """Changed copies of parents, and mixtures of two of them."""
        return [self._child(parents) for _ in range(count)]

    def fitting(
        self, walks: Sequence[Walk[A]], known: Container[Key]
    ) -> tuple[list[Walk[A]], NDArray[np.float64]]:
        """What is within the limits and not ``known``, each once, and its loads: [n, devices]."""
        new = list({key(walk): walk for walk in walks if key(walk) not in known}.values())
        if not new:
            return [], np.empty((0, 1))
        load = self.load(new)
        fits = np.all(load <= 1.0, axis=1)
        return [walk for walk, fit in zip(new, fits, strict=True) if fit], load[fits]

    def near(self, aim: float, known: Container[Key]) -> Walk[A] | None:
        """A candidate whose highest load is close to ``aim``; None if nothing new fits.

        Args:
            aim: share of the limit, up to 1.
            known: what does not count as new.
        """
        parents = self.fresh(2 * BROOD)
        best: tuple[float, Walk[A]] | None = None
        for _ in range(GENERATIONS):
            brood = list({key(w): w for w in (*parents, *self.children(parents, BROOD))}.values())
            highest = self.load(brood).max(axis=1)
            distance = np.abs(np.log(highest / aim)) + (highest > 1.0)
            order = np.argsort(distance, kind="stable")
            parents = [brood[index] for index in order[:PARENTS]]
            for index in order:
                if highest[index] <= 1.0 and key(brood[index]) not in known:
                    if best is None or distance[index] < best[0]:
                        best = float(distance[index]), brood[index]
                    break
            if best is not None and best[0] < 0.02:
                break
        return best[1] if best else None

    def _child(self, parents: Sequence[Walk[A]]) -> Walk[A]:
        parent = self._rng.choice(parents)
        params = dict(parent.params)
        if self._rng.random() < CROSSED:
            other = self._rng.choice(parents).params
            params |= {name: value for name, value in other.items() if self._rng.random() < 0.5}
        names = list(parent.offered)
        while True:
            name = self._rng.choice(names)
            others = [value for value in parent.offered[name] if value != params.get(name)]
            if others:
                params[name] = self._rng.choice(others)
            if self._rng.random() >= MUTATION_GOES_ON:
                return self._space.walk(picked_from(params, self._rng))


def key(walk: Walk[Any]) -> Key:
    """What two walks to the same architecture have in common."""
    return tuple(walk.params.items())
