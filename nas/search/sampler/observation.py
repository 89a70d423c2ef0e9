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
        group: scores are compared only with scores of the same group. The group is 0 for a full
            evaluation, and -k for training that stopped k rungs before the last one. Trials of an
            earlier run that evaluated in another way have groups above 0, one for each rung.
    """

    params: Mapping[str, Choice]
    score: float
    group: int = 0
