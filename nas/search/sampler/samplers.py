"""Samplers by the names of ``--sampler``: ours, and Optuna's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler

from nas.errors import ConfigError, unknown
from nas.search.sampler.candidates import Load
from nas.search.sampler.latency_aware import LatencyAwareSampler, PriorTrial
from nas.space.parameter_space import A, ParameterSpace

BEST_EVERY = 2
"""Suggestions of the latency-aware sampler of which one is for the best network within the limits,
which is what a search recommends."""


PROXY_NOISE = 0.1
"""Share of the scores' variance that is expected to be noise: networks of one latency differ by
hardly more than one network does when it is trained again (benchmarks/proxy_fidelity.py)."""


def _latency_aware(
    seed: int, space: ParameterSpace[A], load: Load[A], prior: Sequence[PriorTrial]
) -> BaseSampler:
    return LatencyAwareSampler(space, load, seed, prior, BEST_EVERY, PROXY_NOISE)


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
    """Refuse an unknown name.

    Raises:
        ConfigError: lists the known ones.
    """
    if name not in SAMPLERS:
        raise ConfigError(unknown("sampler", name, SAMPLERS))


def learns_from_prior(name: str) -> bool:
    """Whether a sampler makes use of trials of other studies."""
    return SAMPLERS[name] is _latency_aware


def make_sampler(
    name: str,
    seed: int,
    space: ParameterSpace[A],
    load: Load[A],
    prior: Sequence[PriorTrial] = (),
) -> BaseSampler:
    """A fresh sampler.

    Args:
        name: one of `SAMPLERS`.
        seed: of its random numbers.
        space, load: what is searched, for the sampler that knows latencies.
        prior: trials of other studies, for that sampler.

    Raises:
        ConfigError: unknown name; lists the known ones.
    """
    check_sampler(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[name](seed, space, load, prior)
