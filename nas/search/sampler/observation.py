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
        group: 0 if it was evaluated in full as this search does; minus the number of further
            rungs if it stopped at a rung; else a number above 0, shared by the observations of an
            earlier run that were evaluated alike. Scores are compared within a group only.
    """

    params: Mapping[str, Choice]
    score: float
    group: int = 0
