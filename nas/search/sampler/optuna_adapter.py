"""Makes an Optuna sampler of `LatencyAware`, by turning Optuna trials into observations."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.search.sampler.candidates import LatencyRatio
from nas.search.sampler.latency_aware import LatencyAware
from nas.search.sampler.observation import Observation
from nas.search.sampler.surrogate import NOISE
from nas.space.parameter_space import A, Choice, ParameterSpace, Selection

Observe = Callable[[FrozenTrial, dict[str, Choice]], Observation | None]
"""Function that returns the observation of a trial, given the trial and the parameters of its
architecture; None if there is no observation."""


class LatencyAwareSampler(BaseSampler, Generic[A]):
    """An Optuna sampler whose suggestions are those of `LatencyAware`.

    The objective function must build its architecture by ``space.suggest(trial)``.

    Args:
        space, latency_ratio, seed, prior, best_every, noise: see `LatencyAware`.
        observe: returns the observation of a trial. By default, the score is the first value of a
            complete trial, negated if the study minimises it. Its other values are not read, as
            ``latency_ratio`` knows the latencies.
    """

    def __init__(
        self,
        space: ParameterSpace[A],
        latency_ratio: LatencyRatio[A],
        seed: int,
        prior: Sequence[Observation] = (),
        best_every: int = 0,
        noise: float = NOISE,
        observe: Observe | None = None,
    ) -> None:
        self._latency_aware = LatencyAware(space, latency_ratio, seed, prior, best_every, noise)
        self._observe = observe
        self._independent = RandomSampler(seed=seed)
        self._lock = threading.Lock()
        self._suggested: dict[int, Selection[A]] = {}  # keys are trial ids of the storage

    def reseed_rng(self) -> None:
        """Give each process of a parallel study its own random numbers."""
        self._latency_aware.reseed()
        self._independent.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Choose the architecture to suggest, and return the distributions of its parameters.

        There are none if the trial was enqueued, or if no new architecture fits the limits.
        """
        if "fixed_params" in trial.system_attrs:  # it was enqueued
            return {}
        with self._lock:
            suggested = self._suggest(study, trial.number)
            if suggested is None:
                return {}
            self._suggested[trial._trial_id] = suggested
        return {
            name: CategoricalDistribution(offered) for name, offered in suggested.offered.items()
        }

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Return the parameters of the architecture that `infer_relative_search_space` chose."""
        return dict(self._suggested[trial._trial_id].params) if search_space else {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a random value of a parameter.

        It is used for a parameter that an enqueued trial does not fix, and for all parameters if no
        new architecture fits the limits.
        """
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _suggest(self, study: optuna.Study, number: int) -> Selection[A] | None:
        sign = 1.0 if study.directions[0] == StudyDirection.MAXIMIZE else -1.0
        observations, pending, proposed = [], [], []
        for trial in study.get_trials(deepcopy=False):
            params = self._params(trial)
            if trial.number == number or not params:
                continue
            found = self._observation(trial, params, sign)
            if found is not None:
                observations.append(found)
            elif trial.state == TrialState.RUNNING:
                pending.append(params)
            else:
                proposed.append(params)
        return self._latency_aware.suggest(observations, pending, proposed)

    def _observation(
        self, trial: FrozenTrial, params: dict[str, Choice], sign: float
    ) -> Observation | None:
        if self._observe is not None:
            return self._observe(trial, params)
        if trial.state == TrialState.COMPLETE and np.isfinite(trial.values[0]):
            return Observation(params, sign * trial.values[0])
        return None

    def _params(self, trial: FrozenTrial) -> dict[str, Choice]:
        """Return the parameters of a trial's architecture; empty while they are unknown."""
        suggested = self._suggested.get(trial._trial_id)
        if suggested is not None:
            return suggested.params
        return dict(trial.system_attrs.get("fixed_params", {}) | trial.params)
