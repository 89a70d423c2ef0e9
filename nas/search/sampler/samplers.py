"""Samplers by their names for ``--sampler``: the latency-aware one, and Optuna's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler

from nas.errors import ConfigError, unknown
from nas.search.sampler.candidates import LatencyRatio
from nas.search.sampler.observation import Observation
from nas.search.sampler.optuna_adapter import LatencyAwareSampler, Observe
from nas.space.parameter_space import A, ParameterSpace

BEST_EVERY = 2
"""One in this many suggestions of the latency-aware sampler seeks the best network within the
limits, which is the one that a search recommends; the others improve the front."""

TRAINING_NOISE = 0.1
"""Share of the scores' variance that is expected to be the noise of short trainings (chosen by
`benchmarks/proxy_fidelity.py`)."""


def _latency_aware(
    seed: int,
    space: ParameterSpace[A],
    latency_ratio: LatencyRatio[A],
    prior: Sequence[Observation],
    observe: Observe | None,
) -> BaseSampler:
    return LatencyAwareSampler(
        space, latency_ratio, seed, prior, BEST_EVERY, TRAINING_NOISE, observe
    )


def _tpe(seed: int, *_: Any) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)


def _nsga2(seed: int, *_: Any) -> BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=12)


def _nsga3(seed: int, *_: Any) -> BaseSampler:
    return optuna.samplers.NSGAIIISampler(seed=seed, population_size=12)


def _gp(seed: int, *_: Any) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed)


def _random(seed: int, *_: Any) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


SAMPLERS: dict[str, Callable[..., BaseSampler]] = {
    "latency-aware": _latency_aware,
    "tpe": _tpe,
    "nsga2": _nsga2,
    "nsga3": _nsga3,
    "gp": _gp,
    "random": _random,
}


def check_sampler(name: str) -> None:
    """Check the name of a sampler.

    Raises:
        ConfigError: the name is unknown; the message lists the known names.
    """
    if name not in SAMPLERS:
        raise ConfigError(unknown("sampler", name, SAMPLERS))


def learns_from_prior(name: str) -> bool:
    """Return whether the sampler of this name learns from observations of earlier runs."""
    return SAMPLERS[name] is _latency_aware


def make_sampler(
    name: str,
    seed: int,
    space: ParameterSpace[A],
    latency_ratio: LatencyRatio[A],
    prior: Sequence[Observation] = (),
    observe: Observe | None = None,
) -> BaseSampler:
    """Make an Optuna sampler.

    Args:
        name: one of `SAMPLERS`.
        seed: seed of the random numbers.
        space, latency_ratio, prior, observe: see `LatencyAwareSampler`; other samplers do not use
            them.

    Raises:
        ConfigError: the name is unknown; the message lists the known names.
    """
    check_sampler(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[name](seed, space, latency_ratio, prior, observe)
