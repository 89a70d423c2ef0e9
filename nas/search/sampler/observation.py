"""What a sampler learns from: observations, whichever loop made them."""

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
        group: 0 if it was evaluated in full as this search does; minus the number of rungs still to
            come if it stopped at one; else a number above 0 that it shares with those of an earlier
            run that were evaluated alike. Only differences within a group are relied upon.
    """

    params: Mapping[str, Choice]
    score: float
    group: int = 0
