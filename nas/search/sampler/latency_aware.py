"""An Optuna sampler that knows the latency of a candidate before it is trained.

A surrogate (`nas.search.sampler.surrogate`) predicts the accuracy of architectures that were not
trained. Those that fit the limits are bred from the best that are known and from fresh ones, and
the one whose accuracy is expected to raise the front's hypervolume most is trained next: the
expectation is over accuracy alone, as latencies are known (`nas.search.sampler.hypervolume`). With
several devices the gain is the mean of their gains.

Nothing over a limit is proposed, and nothing twice. Trials that are being trained elsewhere count
as if they gave what the surrogate expects, so parallel workers get different candidates. What
stopped at a rung counts as compared with what stopped at the same rung.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.results.pareto import pareto_front
from nas.search.sampler.candidates import Candidates, Key, Load, key
from nas.search.sampler.hypervolume import REFERENCE_LOAD, expected_gain
from nas.search.sampler.surrogate import NOISE, AccuracySurrogate, Hyperparameters
from nas.search.store.trials import Stopped
from nas.space.parameter_space import A, Choice, ParameterSpace, Walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

START = 8
"""Trained candidates the surrogate needs; before, candidates are spread over the loads. A prior
does not replace them. Mean hypervolume of twelve searches as benchmarks/warm_start.py does them,
with other seeds, after 10, 25 and 50 evaluations: 45.3, 47.8 and 49.7 where it did, 41.6, 48.5 and
50.5 with these first, 41.4, 47.7 and 50.4 without a prior."""

FRESH, GENERATIONS, BROOD, PARENTS = 300, 6, 200, 40
"""Of a suggestion: random candidates, rounds of breeding, children of a round, and how many of
the best breed the next."""

CURIOSITY = 0.5
"""How much of the surrogate's standard deviation counts. The expected gain of one more candidate
does not know that a hundred follow. Mean hypervolume of four seeds on Once-for-All networks
(benchmarks/ofa.py) after 50 and 100 evaluations: 3692 and 3823 with 0.05, 3701 and 3794 with 0.2,
3719 and 3829 with 0.35, 3710 and 3818 with 0.5, 3669 and 3785 with 1, 3561 and 3720 with 2; of six
more seeds after 200: 3900 with 0.5, 3883 with 1."""

HIGHEST_REFERENCE = 100.0
"""Reference load of a suggestion that is for the best network within the limits: so far beyond them
that a gain in accuracy counts nearly the same at every load."""

REFIT_GROWTH = 1.1
"""Growth of the number of observations after which hyperparameters are chosen anew."""


@dataclass(frozen=True)
class PriorTrial:
    """What is known from elsewhere.

    Attributes:
        params: of the architecture, in the space that is searched.
        accuracy: what training gave.
        group: 0 if it was trained as the study's trials are, minus the number of rungs left if it
            stopped at one of theirs, else a number above 0 that it shares with those trained alike;
            only differences within a group are relied upon.
    """

    params: dict[str, Choice]
    accuracy: float
    group: int


class LatencyAwareSampler(BaseSampler, Generic[A]):
    """Proposes the candidate within the limits that is expected to raise the front most.

    The study's first objective is the accuracy; its others are not read, as ``load`` knows the
    latencies. The objective function must build its architecture by ``space.suggest(trial)``.

    Args:
        space: any parameter space.
        load: latencies as shares of their limits.
        seed: of its random numbers.
        prior: trials of other studies to learn from.
        best_every: of so many suggestions one is for the best network within the limits, whatever
            its load; 0 for none. A front is raised more by the fast networks on it, as each counts
            at all loads above its own.
        noise: the share of the accuracies' variance that is expected to be noise.
    """

    def __init__(
        self,
        space: ParameterSpace[A],
        load: Load[A],
        seed: int,
        prior: Sequence[PriorTrial] = (),
        best_every: int = 0,
        noise: float = NOISE,
    ) -> None:
        self._prior = prior
        self._best_every = best_every
        self._noise = noise
        self._rng = random.Random(seed)
        self._candidates = Candidates(space, load, self._rng)
        self._independent = RandomSampler(seed=seed)
        self._lock = threading.Lock()
        self._walks: dict[int, Walk[A]] = {}  # by the trial's id in its storage
        self._hyperparameters: tuple[int, Hyperparameters] | None = None
        self._suggested = 0  # by the surrogate

    def reseed_rng(self) -> None:
        """Give each process of a parallel study its own random numbers."""
        self._rng.seed()
        self._independent.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters of the architecture for this trial, which is chosen here."""
        if "fixed_params" in trial.system_attrs:  # queued by someone who chose already
            return {}
        with self._lock:
            walk = self._choose(study, trial.number)
            if walk is None:
                return {}
            self._walks[trial._trial_id] = walk
        return {name: CategoricalDistribution(offered) for name, offered in walk.offered.items()}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """The values of that architecture."""
        return dict(self._walks[trial._trial_id].params) if search_space else {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value: of a queued trial that left it open, or where nothing new fits."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _choose(self, study: optuna.Study, number: int) -> Walk[A] | None:
        """The architecture to train next, None where nothing new fits."""
        others = [t for t in study.get_trials(deepcopy=False) if t.number != number]
        walks = {t.number: w for t in others if (w := self._walk(t)) is not None}
        pending = [
            walks[t.number] for t in others if t.state == TrialState.RUNNING and t.number in walks
        ]
        seen = {key(walk) for walk in walks.values()}
        sign = 1.0 if study.directions[0] == StudyDirection.MAXIMIZE else -1.0
        known, observed, groups = self._observed([t for t in others if t.number in walks], walks)
        elsewhere = len(self._prior)
        trained = {key(walk) for walk in known[elsewhere:]}
        if len(trained) < START:
            return self._spread(len(trained | {key(walk) for walk in pending}), seen)
        accuracy = sign * np.array(observed)
        load = self._candidates.load(known)
        surrogate = self._surrogate(known, load, accuracy, groups)
        if pending:
            pending_load = self._candidates.load(pending)
            believed, _ = surrogate.predict(pending, pending_load)
            known, load = known + pending, np.vstack([load, pending_load])
            accuracy = np.append(accuracy, believed)
            groups += [surrogate.group] * len(pending)
            kept = surrogate.hyperparameters
            surrogate = AccuracySurrogate(known, load, accuracy, kept, False, groups)
        lowest = float(accuracy[np.array(groups) == surrogate.group].min())
        for_best = self._best_every and self._suggested % self._best_every == 0
        self._suggested += 1
        reference = (lowest, HIGHEST_REFERENCE if for_best else REFERENCE_LOAD)
        found = self._breed(known, load, surrogate, elsewhere, reference, seen)
        return found or self._spread(0, seen)

    def _observed(
        self, trials: Sequence[FrozenTrial], walks: Mapping[int, Walk[A]]
    ) -> tuple[list[Walk[A]], list[float], list[int]]:
        """Walks, accuracies, and how each was trained: the prior, and all that trials gave."""
        known = [self._candidates.walk(p.params) for p in self._prior]
        observed = [p.accuracy for p in self._prior]
        groups = [p.group for p in self._prior]
        for trial in trials:
            stopped = Stopped.of(trial.user_attrs)
            if stopped is not None:
                accuracy, group = stopped.score, -stopped.left
            elif trial.state == TrialState.COMPLETE and np.isfinite(trial.values[0]):
                accuracy, group = trial.values[0], 0
            else:
                continue
            known.append(walks[trial.number])
            observed.append(accuracy)
            groups.append(group)
        return known, observed, groups

    def _walk(self, trial: FrozenTrial) -> Walk[A] | None:
        """What a trial trains or trained; None while that is unknown."""
        walk = self._walks.get(trial._trial_id)
        if walk is None:
            params = trial.system_attrs.get("fixed_params", {}) | trial.params
            if not params:
                return None
            walk = self._candidates.walk(params)
            if trial.state.is_finished():  # until then others may draw more of its parameters
                self._walks[trial._trial_id] = walk
        return walk

    def _spread(self, count: int, seen: set[Key]) -> Walk[A] | None:
        """A candidate of another load than the ``count`` ones before it."""
        aim, digit = 0.0, 0.5  # van der Corput's sequence: 1, 1/2, 3/4, 1/4, ...
        while count:
            count, bit = divmod(count, 2)
            aim, digit = aim + bit * digit, digit / 2
        return self._candidates.near(1.0 - 0.9 * aim, seen)

    def _surrogate(
        self,
        known: Sequence[Walk[A]],
        load: NDArray[np.float64],
        accuracy: NDArray[np.float64],
        groups: Sequence[int],
    ) -> AccuracySurrogate:
        count, kept = self._hyperparameters or (0, None)
        refit = len(known) >= REFIT_GROWTH * count
        surrogate = AccuracySurrogate(known, load, accuracy, kept, refit, groups, self._noise)
        if surrogate.hyperparameters is not kept:  # also where the groups are others than before
            self._hyperparameters = (len(known), surrogate.hyperparameters)
        return surrogate

    def _breed(
        self,
        known: Sequence[Walk[A]],
        load: NDArray[np.float64],
        surrogate: AccuracySurrogate,
        elsewhere: int,
        reference: tuple[float, float],
        seen: set[Key],
    ) -> Walk[A] | None:
        """The best of some generations that live by their expected gain; None if nothing fits.

        The first ``elsewhere`` of the known were trained elsewhere: they breed and may be trained
        here, but the front that is to be raised is only of what was trained here; ``reference`` is
        that of its hypervolume.
        """
        expected, _ = surrogate.predict(known, load)
        points = list(zip(expected, load.max(axis=1), strict=True))
        parents = pareto_front(known, points)
        brood = [*self._candidates.fresh(FRESH), *known[:elsewhere]]
        gain_of: dict[Key, tuple[float, Walk[A]]] = {}
        for _ in range(GENERATIONS):
            brood += self._candidates.children(parents, BROOD)
            new, new_load = self._candidates.fitting(brood, seen | gain_of.keys())
            brood = []
            if not new:
                continue
            mean, deviation = surrogate.predict(new, new_load)
            gain = np.zeros(len(new))
            for device in range(new_load.shape[1]):
                front = (expected[elsewhere:], load[elsewhere:, device])
                gain += expected_gain(
                    mean, CURIOSITY * deviation, new_load[:, device], front, reference
                )
            gain_of |= {key(w): (float(g), w) for w, g in zip(new, gain, strict=True)}
            ranked = sorted(gain_of.values(), key=lambda entry: -entry[0])
            parents = [walk for _, walk in ranked[:PARENTS]]
        return parents[0] if gain_of else None
