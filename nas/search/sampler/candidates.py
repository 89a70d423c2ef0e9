"""Makes candidates: random ones, offspring of others, and ones near a latency ratio."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from nas.space.parameter_space import A, Choice, ParameterSpace, Selection, biased, picked_from

if TYPE_CHECKING:
    from numpy.typing import NDArray

LatencyRatio = Callable[[Sequence[A]], "NDArray[np.float64]"]
"""Latencies of architectures over their limits, above 0: [n, devices]. A ratio above 1 is over
the limit; an architecture that breaks a limit of size is above 1 on every device."""

Key = tuple[tuple[str, Choice], ...]

MAX_BIAS = 4.0
"""Strongest preference of random candidates for small values, or for large ones."""

MAX_RATIO = 100.0
"""Higher latency ratios, also infinite ones, are replaced by this one."""

CROSSOVER_RATE = 0.4
"""Share of the offspring that has two parents."""

FURTHER_MUTATION_RATE = 0.5
"""Chance that after one changed parameter another one is changed."""

GENERATIONS, OFFSPRING, PARENTS = 8, 60, 12
"""Sizes of the evolutionary search for a candidate near a latency ratio."""

CLOSE_ENOUGH = 0.02
"""Relative distance from the wanted latency ratio at which this search ends."""


class CandidateGenerator(Generic[A]):
    """Makes candidates of a space.

    Args:
        space: any parameter space.
        latency_ratio: gives the latencies of architectures over their limits, [n, devices].
        rng: source of random numbers.
    """

    def __init__(
        self, space: ParameterSpace[A], latency_ratio: LatencyRatio[A], rng: random.Random
    ) -> None:
        self._space = space
        self._latency_ratio = latency_ratio
        self._rng = rng

    def select(self, params: Mapping[str, Choice]) -> Selection[A]:
        """The selection that gave these values."""
        return self._space.select(picked_from(params))

    def latency_ratio(self, selections: Sequence[Selection[A]]) -> NDArray[np.float64]:
        """Latency ratios, at most `MAX_RATIO`: [n, devices]."""
        return np.minimum(
            self._latency_ratio([selection.architecture for selection in selections]), MAX_RATIO
        )

    def random(self, count: int) -> list[Selection[A]]:
        """Random candidates, each biased towards small or large values by another amount."""
        biases = [self._rng.uniform(-MAX_BIAS, MAX_BIAS) for _ in range(count)]
        return [self._space.select(biased(self._rng, bias)) for bias in biases]

    def offspring(self, parents: Sequence[Selection[A]], count: int) -> list[Selection[A]]:
        """Mutated copies of parents, and crossovers of two of them."""
        return [self._child(parents) for _ in range(count)]

    def fitting(
        self, selections: Sequence[Selection[A]], known: Container[Key]
    ) -> tuple[list[Selection[A]], NDArray[np.float64]]:
        """New selections within the limits, each once, and their latency ratios: [n, devices]."""
        once = {key(selection): selection for selection in selections}
        new = [selection for found, selection in once.items() if found not in known]
        if not new:
            return [], np.empty((0, 1))
        ratio = self.latency_ratio(new)
        fits = np.all(ratio <= 1.0, axis=1)
        return [selection for selection, fit in zip(new, fits, strict=True) if fit], ratio[fits]

    def near(self, ratio: float, known: Container[Key]) -> Selection[A] | None:
        """A candidate whose highest latency ratio is close to ``ratio``; None if nothing new fits.

        Args:
            ratio: up to 1.
            known: keys of the selections that do not count as new.
        """
        parents = self.random(2 * OFFSPRING)
        best: tuple[float, Selection[A]] | None = None
        for _ in range(GENERATIONS):
            made = (*parents, *self.offspring(parents, OFFSPRING))
            generation = list({key(w): w for w in made}.values())
            highest = self.latency_ratio(generation).max(axis=1)
            distance = np.abs(np.log(highest / ratio)) + (highest > 1.0)
            order = np.argsort(distance, kind="stable")
            parents = [generation[index] for index in order[:PARENTS]]
            for index in order:
                if highest[index] <= 1.0 and key(generation[index]) not in known:
                    if best is None or distance[index] < best[0]:
                        best = float(distance[index]), generation[index]
                    break
            if best is not None and best[0] < CLOSE_ENOUGH:
                break
        return best[1] if best else None

    def _child(self, parents: Sequence[Selection[A]]) -> Selection[A]:
        parent = self._rng.choice(parents)
        params = dict(parent.params)
        if self._rng.random() < CROSSOVER_RATE:
            other = self._rng.choice(parents).params
            params |= {name: value for name, value in other.items() if self._rng.random() < 0.5}
        names = list(parent.offered)
        while True:
            name = self._rng.choice(names)
            others = [value for value in parent.offered[name] if value != params.get(name)]
            if others:
                params[name] = self._rng.choice(others)
            if self._rng.random() >= FURTHER_MUTATION_RATE:
                return self._space.select(picked_from(params, self._rng))


def key(selection: Selection[Any]) -> Key:
    """Key that two selections of the same architecture share."""
    return tuple(selection.params.items())
