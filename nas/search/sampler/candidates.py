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
"""Function that returns the latency ratios (latency / budget) of n architectures: [n, devices].

All ratios are above 0. A ratio above 1 breaks the budget; an architecture that breaks a limit of
size has a ratio above 1 on every device."""

Key = tuple[tuple[str, Choice], ...]

MAX_BIAS = 4.0
"""Random candidates draw their ``size_bias`` (`nas.space.parameter_space.biased`) uniformly
between minus and plus this."""

MAX_RATIO = 100.0
"""Upper bound of latency ratios; higher ones, also infinite ones, are replaced by it."""

CROSSOVER_RATE = 0.4
"""Share of the offspring that have two parents."""

FURTHER_MUTATION_RATE = 0.5
"""Probability that a mutation changes another parameter after each parameter that it changed."""

GENERATIONS, OFFSPRING, PARENTS = 8, 60, 12
"""Sizes of the evolutionary search for a candidate near a latency ratio: generations, offspring of
a generation, and the number of best candidates that become the next parents."""

CLOSE_ENOUGH = 0.02
"""The evolutionary search ends at this relative distance from the wanted latency ratio."""


class CandidateGenerator(Generic[A]):
    """Makes candidates of a space.

    Args:
        space: any parameter space.
        latency_ratio: returns the latency ratios of architectures, see `LatencyRatio`.
        rng: source of random numbers.
    """

    def __init__(
        self, space: ParameterSpace[A], latency_ratio: LatencyRatio[A], rng: random.Random
    ) -> None:
        self._space = space
        self._latency_ratio = latency_ratio
        self._rng = rng

    def select(self, params: Mapping[str, Choice]) -> Selection[A]:
        """Return the selection with these parameter values."""
        return self._space.select(picked_from(params))

    def latency_ratio(self, selections: Sequence[Selection[A]]) -> NDArray[np.float64]:
        """Return the latency ratios of selections, at most `MAX_RATIO`: [n, devices]."""
        return np.minimum(
            self._latency_ratio([selection.architecture for selection in selections]), MAX_RATIO
        )

    def random(self, count: int) -> list[Selection[A]]:
        """Draw random candidates, each with its own random bias to small or large values."""
        biases = [self._rng.uniform(-MAX_BIAS, MAX_BIAS) for _ in range(count)]
        return [self._space.select(biased(self._rng, bias)) for bias in biases]

    def offspring(self, parents: Sequence[Selection[A]], count: int) -> list[Selection[A]]:
        """Make ``count`` offspring: mutated copies of one parent or of a crossover of two."""
        return [self._child(parents) for _ in range(count)]

    def fitting(
        self, selections: Sequence[Selection[A]], known: Container[Key]
    ) -> tuple[list[Selection[A]], NDArray[np.float64]]:
        """Return the new selections within the limits, without duplicates.

        Args:
            selections: selections to choose from.
            known: keys of the selections that do not count as new.

        Returns:
            The n selections, and their latency ratios [n, devices].
        """
        once = {key(selection): selection for selection in selections}
        new = [selection for found, selection in once.items() if found not in known]
        if not new:
            return [], np.empty((0, 1))
        ratio = self.latency_ratio(new)
        fits = np.all(ratio <= 1.0, axis=1)
        return [selection for selection, fit in zip(new, fits, strict=True) if fit], ratio[fits]

    def near(self, ratio: float, known: Container[Key]) -> Selection[A] | None:
        """Find a new candidate whose highest latency ratio is close to ``ratio``.

        Args:
            ratio: wanted latency ratio, above 0 and up to 1.
            known: keys of the selections that do not count as new.

        Returns:
            The candidate; None if no new candidate within the limits was found.
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
    """Return a hashable key, which is equal for selections of the same architecture."""
    return tuple(selection.params.items())
