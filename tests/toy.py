"""A parameter space that is not of networks: conditional, and small enough to enumerate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nas.space.parameter_space import Choice, Choices, ParameterSpace, Pick, Selection

WIDTHS = (16, 32, 64, 128)
RATIOS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Layer:
    """One place; a ratio of 0 is a layer without what the ratio is of."""

    width: int
    ratio: float


class Toy(ParameterSpace[tuple[Layer, ...]]):
    """Up to ``places`` layers; deeper ones and their ratios exist only where they are asked for.

    A width of 16 narrows the ratios to 0.5 and 0.75.
    """

    def __init__(self, places: int = 3) -> None:
        self.places = places

    def build(self, pick: Pick) -> tuple[Layer, ...]:
        depth = int(pick("depth", tuple(range(1, self.places + 1))))
        return tuple(self._layer(f"s{place}", pick) for place in range(1, depth + 1))

    def _layer(self, prefix: str, pick: Pick) -> Layer:
        width = int(pick(f"{prefix}.width", WIDTHS))
        if not pick(f"{prefix}.gated", (0, 1)):
            return Layer(width, 0.0)
        if width == 16:
            return Layer(width, float(pick(f"{prefix}.ratio@16", RATIOS[1:])))
        return Layer(width, float(pick(f"{prefix}.ratio", RATIOS)))


PER_PLACE = len(WIDTHS) + 2 + (len(WIDTHS) - 1) * len(RATIOS)


class One(ParameterSpace[int]):
    """A space whose only parameters have one choice."""

    def build(self, pick: Pick) -> int:
        return int(pick("a", (3,))) + int(pick("b", (4,)))


class _MorePicksError(Exception):
    def __init__(self, choices: Choices) -> None:
        self.choices = choices


def every_selection(space: ParameterSpace) -> Iterator[Selection]:
    """All ways through a space."""
    pending: list[tuple[Choice, ...]] = [()]
    while pending:
        prefix = pending.pop()
        answers = iter(prefix)

        def pick(_: str, choices: Choices, answers: Iterator[Choice] = answers) -> Choice:
            value = next(answers, None)
            if value is None:
                raise _MorePicksError(choices)
            return value

        try:
            yield space.select(pick)
        except _MorePicksError as stopped:
            pending += [(*prefix, value) for value in stopped.choices]


def toy_accuracy(layers: tuple[Layer, ...]) -> float:
    """Saturates in width, falls with depth gained; what ratios give costs no latency."""
    gain = 0.0
    for place, layer in enumerate(layers):
        gain += 0.10 * np.log2(layer.width / 8) / (1 + 0.5 * place)
        gain += {0.0: 0.0, 0.25: -0.15, 0.5: 0.25, 0.75: 0.1}[layer.ratio]
    return float(0.4 + 0.3 * gain)


def toy_latency(layers: tuple[Layer, ...]) -> float:
    """Grows with depth and width, from 0.3 to about 5."""
    return 0.1 + sum(0.2 + layer.width / 100 + 0.1 * (layer.ratio > 0) for layer in layers)


def shares(limit: float):
    """Loads of a limit that the fastest 0.46 to the slowest 4.84 of the space fit or not."""
    return lambda layers: np.array([[toy_latency(one) / limit] for one in layers])


def two_devices(layers) -> np.ndarray:
    """The second device minds depth alone, and allows two layers."""
    return np.array([[toy_latency(one) / 2.5, len(one) / 2] for one in layers])
