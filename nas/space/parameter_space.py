"""Conditional parameter spaces: samplers can search them without knowing what they describe.

A space builds an architecture by asking for one parameter after the other. Every way of choosing
(an Optuna trial, a random sample, given values, a mutation) calls the same `ParameterSpace.build`
with another ``pick``. A parameter that is not asked for does not exist, so earlier values decide
which parameters follow.
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
"""A function that takes a parameter's name and choices, and returns one of the choices."""

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

        A name must always have the same choices. If an earlier value narrows the choices of a
        later parameter, append that value to its name: ``s2.mix_ratio@64`` at width 64. Names with
        the same last word after a dot (``s1.width``, ``s2.width``) count as one property.
        """

    def select(self, pick: Pick) -> Selection[A]:
        """Build one architecture, and also return its parameters and their choices."""
        params: dict[str, Choice] = {}
        offered: dict[str, Choices] = {}

        def recorded(name: str, choices: Choices) -> Choice:
            offered[name] = choices
            params[name] = value = pick(name, choices)
            return value

        return Selection(self.build(recorded), params, offered)

    def suggest(self, trial: optuna.trial.BaseTrial) -> A:
        """Build the architecture whose parameters an Optuna trial suggests (all categorical)."""

        def pick(name: str, choices: Choices) -> Choice:
            value = trial.suggest_categorical(name, choices)
            assert value is not None  # no choice has this value
            return value

        return self.build(pick)

    def sample(self, rng: random.Random, size_bias: float = 0.0) -> A:
        """Build a random architecture; for ``size_bias`` see `biased`."""
        return self.build(biased(rng, size_bias))

    def build_from(self, params: Mapping[str, Choice], rng: random.Random | None = None) -> A:
        """Build an architecture from values by name; for missing values see `picked_from`."""
        return self.build(picked_from(params, rng))


def biased(rng: random.Random, size_bias: float = 0.0) -> Pick:
    """Return a `Pick` that chooses at random, and may prefer small or large values.

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
    """Return a `Pick` that chooses the values in ``params``.

    Args:
        params: values by name.
        rng: chooses where ``params`` has no value, or one that is not among the choices; None
            takes the first choice there.
    """
    by_field = {field(name): value for name, value in params.items()}

    def pick(name: str, choices: Choices) -> Choice:
        # A value is kept where another width narrows its parameter to other choices.
        value = params.get(name, by_field.get(field(name)))
        if value is not None and value in choices:
            return value
        return rng.choice(choices) if rng else choices[0]

    return pick


def field(name: str) -> str:
    """A parameter's name without the value that narrowed its choices: ``s2.mix_ratio``."""
    return name.partition("@")[0]
