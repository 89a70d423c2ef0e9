"""Observations, from which a sampler learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nas.space.parameter_space import Choice


@dataclass(frozen=True)
class Observation:
    """The score of one evaluated architecture.

    Attributes:
        params: parameters of the architecture in the searched space.
        score: higher is better.
        group: number of the group; scores are compared only within a group. It is 0 for a full
            evaluation, and minus the number of further rungs if training stopped at a rung. An
            earlier run that evaluated in another way has numbers above 0 instead, one per rung.
    """

    params: Mapping[str, Choice]
    score: float
    group: int = 0
