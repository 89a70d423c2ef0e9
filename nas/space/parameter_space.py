"""Conditional parameter spaces, which a sampler can search whatever they describe.

A space builds an architecture by asking for one parameter after the other. Every way of choosing
(an Optuna trial, a random sample, given values, a mutation) is the same `ParameterSpace.build` with
another ``pick``. A parameter that is not asked for does not exist, so that parameters may depend on
each other.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import optuna

Choice = int | float | str
Choices = tuple[Choice, ...]
Pick = Callable[[str, Choices], Choice]
"""Chooses one of the values offered under a parameter's name."""

A = TypeVar("A")


@dataclass(frozen=True)
class Selection(Generic[A]):
    """An architecture with the parameters that it was built from.

    Attributes:
        architecture: the architecture that was built.
        params: the chosen values by name, in the order they were asked for.
        offered: the choices of each parameter.
    """

    architecture: A
    params: dict[str, Choice]
    offered: dict[str, Choices]


class ParameterSpace(ABC, Generic[A]):
    """A space of architectures of type ``A``; a subclass says how one is built."""

    @abstractmethod
    def build(self, pick: Pick) -> A:
        """Build one architecture, asking ``pick`` for every value.

        A name must always stand for one set of choices: where an earlier choice narrows a later
        one, append what narrowed it, as in ``s2.mix_ratio@64``. Names that end in the same word
        after a dot (``s1.width``, ``s2.width``) count as one property in different places.
        """

    def select(self, pick: Pick) -> Selection[A]:
        """Like `build`, but the result includes the parameters and their choices."""
        params: dict[str, Choice] = {}
        offered: dict[str, Choices] = {}

        def recorded(name: str, choices: Choices) -> Choice:
            offered[name] = choices
            params[name] = value = pick(name, choices)
            return value

        return Selection(self.build(recorded), params, offered)

    def suggest(self, trial: optuna.trial.BaseTrial) -> A:
        """An architecture whose parameters an Optuna trial suggests (all categorical)."""

        def pick(name: str, choices: Choices) -> Choice:
            value = trial.suggest_categorical(name, choices)
            assert value is not None  # no choice has this value
            return value

        return self.build(pick)

    def sample(self, rng: random.Random, size_bias: float = 0.0) -> A:
        """A random architecture; see `biased`."""
        return self.build(biased(rng, size_bias))

    def build_from(self, params: Mapping[str, Choice], rng: random.Random | None = None) -> A:
        """The architecture of ``params``; what is missing is the first choice, or random."""
        return self.build(picked_from(params, rng))


def biased(rng: random.Random, size_bias: float = 0.0) -> Pick:
    """Picks at random, with a preference for small or large values.

    Args:
        rng: source of random numbers.
        size_bias: 0 draws every parameter uniformly; below 0 small values are likelier, above 0
            large ones. The largest is ``exp(size_bias)`` times as likely as the smallest.
    """

    def pick(_: str, choices: Choices) -> Choice:
        ordered = sorted(choices)
        steps = max(1, len(ordered) - 1)
        weights = [math.exp(size_bias * index / steps) for index in range(len(ordered))]
        return rng.choices(ordered, weights)[0]

    return pick


def picked_from(params: Mapping[str, Choice], rng: random.Random | None = None) -> Pick:
    """Picks the values of ``params``; what is missing is the first choice, or random."""
    by_field = {field(name): value for name, value in params.items()}

    def pick(name: str, choices: Choices) -> Choice:
        # A value is kept where another width narrows its parameter to other choices.
        value = params.get(name, by_field.get(field(name)))
        if value is not None and value in choices:
            return value
        return rng.choice(choices) if rng else choices[0]

    return pick


def field(name: str) -> str:
    """A parameter's name without what narrowed its choices."""
    return name.partition("@")[0]
