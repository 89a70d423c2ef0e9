"""Suggests the next architecture, knowing its latency before it is evaluated.

A surrogate (`nas.search.sampler.surrogate`) predicts the scores of architectures that were not
evaluated. Candidates are random architectures and offspring of the best known ones. The candidate
of the highest expected hypervolume improvement is suggested (`nas.search.sampler.hypervolume`). The
expectation is over the score alone, as latencies are known. With several devices, the expected
improvements of their fronts are added.

No architecture over a limit is suggested, and none twice. Pending architectures count as if they
had the score that the surrogate expects, so that parallel workers get different suggestions. Scores
are compared only within their group (`nas.search.sampler.observation`).

`nas.search.sampler.optuna_adapter` makes an Optuna sampler of `LatencyAware`. Any other loop can
use `LatencyAware` too.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic

import numpy as np

from nas.results.pareto import pareto_front
from nas.search.sampler.candidates import CandidateGenerator, Key, LatencyRatio, key
from nas.search.sampler.hypervolume import REFERENCE_RATIO, expected_gain
from nas.search.sampler.observation import Observation
from nas.search.sampler.surrogate import NOISE, Hyperparameters, ScoreSurrogate
from nas.space.parameter_space import A, Choice, ParameterSpace, Selection

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_OBSERVATIONS = 8
"""Number of architectures that this search must have evaluated before the surrogate is used. Until
then, suggestions are spread over the latency ratios. Architectures of earlier runs do not count
(chosen by `benchmarks/warm_start.py`)."""

RANDOM_CANDIDATES, GENERATIONS, OFFSPRING, PARENTS = 300, 6, 200, 40
"""Sizes of the evolutionary search for one suggestion: random candidates, generations, offspring of
a generation, and the number of best candidates that become the next parents."""

EXPLORATION_WEIGHT = 0.5
"""Factor on the surrogate's standard deviation in the expected hypervolume improvement. The plain
expected improvement, with factor 1, explores too much (chosen by
`benchmarks/search_efficiency.py`)."""

BEST_REFERENCE_RATIO = 100.0
"""Latency ratio of the reference point in a suggestion that seeks the best network within the
limits. It is so high that an improvement in score adds nearly the same area at every latency."""

REFIT_GROWTH = 1.1
"""Hyperparameters are fitted again once the number of observations has grown by this factor."""


class LatencyAware(Generic[A]):
    """Suggests architectures within the limits by expected hypervolume improvement.

    Args:
        space: any parameter space.
        latency_ratio: returns the latency ratios of architectures, see
            `nas.search.sampler.candidates.LatencyRatio`.
        seed: seed of the random numbers.
        prior: observations of earlier runs.
        best_every: one suggestion in this many seeks the best network within the limits, whatever
            its latency; 0 for none. The other suggestions prefer fast networks, because a fast
            network raises the front at all latencies above its own.
        noise: share of the scores' variance that is expected to be noise.
    """

    def __init__(
        self,
        space: ParameterSpace[A],
        latency_ratio: LatencyRatio[A],
        seed: int,
        prior: Sequence[Observation] = (),
        best_every: int = 0,
        noise: float = NOISE,
    ) -> None:
        self._prior = tuple(prior)
        self._best_every = best_every
        self._noise = noise
        self._rng = random.Random(seed)
        self._candidates = CandidateGenerator(space, latency_ratio, self._rng)
        self._known: dict[Key, Selection[A]] = {}
        self._hyperparameters: tuple[int, Hyperparameters] | None = None
        self._from_surrogate = 0

    def reseed(self) -> None:
        """Draw a new seed, so that each process of a parallel study has its own random numbers."""
        self._rng.seed()

    def suggest(
        self,
        observations: Sequence[Observation],
        pending: Sequence[Mapping[str, Choice]] = (),
        proposed: Iterable[Mapping[str, Choice]] = (),
    ) -> Selection[A] | None:
        """Return the architecture to evaluate next; None if no new one within the limits is found.

        Args:
            observations: all observations of this search so far.
            pending: parameters of the architectures that are being evaluated.
            proposed: parameters of further architectures that are not to be suggested again.
        """
        own = [self._select(o.params) for o in observations]
        waiting = [self._select(params) for params in pending]
        seen = {key(selection) for selection in (*own, *waiting)}
        seen |= {key(self._select(params)) for params in proposed}
        evaluated = {key(selection) for selection in own}
        if len(evaluated) < MIN_OBSERVATIONS:
            return self._spread(len(evaluated | {key(selection) for selection in waiting}), seen)
        known = [*(self._select(o.params) for o in self._prior), *own]
        score = np.array([o.score for o in (*self._prior, *observations)])
        groups = [o.group for o in (*self._prior, *observations)]
        ratio = self._candidates.latency_ratio(known)
        surrogate = self._surrogate(known, ratio, score, groups)
        if waiting:
            waiting_ratio = self._candidates.latency_ratio(waiting)
            expected, _ = surrogate.predict(waiting, waiting_ratio)
            known, ratio = known + waiting, np.vstack([ratio, waiting_ratio])
            score = np.append(score, expected)
            groups += [surrogate.group] * len(waiting)
            kept = surrogate.hyperparameters
            surrogate = ScoreSurrogate(known, ratio, score, kept, False, groups)
        lowest = float(score[np.array(groups) == surrogate.group].min())
        found = self._breed(known, ratio, surrogate, (lowest, self._reference_ratio()), seen)
        return found or self._spread(0, seen)

    def _reference_ratio(self) -> float:
        """Return the latency ratio of the reference point of the next suggestion.

        Each call counts as one suggestion (``best_every``).
        """
        for_best = self._best_every and self._from_surrogate % self._best_every == 0
        self._from_surrogate += 1
        return BEST_REFERENCE_RATIO if for_best else REFERENCE_RATIO

    def _select(self, params: Mapping[str, Choice]) -> Selection[A]:
        given = tuple(params.items())
        if given not in self._known:
            self._known[given] = self._candidates.select(params)
        return self._known[given]

    def _spread(self, count: int, seen: set[Key]) -> Selection[A] | None:
        """Find a new candidate far in latency from the ``count`` candidates before it.

        Its latency ratio is near 1 minus 0.9 times a term of van der Corput's sequence.

        Returns:
            The candidate; None if no new one within the limits is found.
        """
        place, digit = 0.0, 0.5  # van der Corput's sequence: 0, 1/2, 1/4, 3/4, ...
        while count:
            count, bit = divmod(count, 2)
            place, digit = place + bit * digit, digit / 2
        return self._candidates.near(1.0 - 0.9 * place, seen)

    def _surrogate(
        self,
        known: Sequence[Selection[A]],
        ratio: NDArray[np.float64],
        score: NDArray[np.float64],
        groups: Sequence[int],
    ) -> ScoreSurrogate:
        count, kept = self._hyperparameters or (0, None)
        refit = len(known) >= REFIT_GROWTH * count
        surrogate = ScoreSurrogate(known, ratio, score, kept, refit, groups, self._noise)
        if surrogate.hyperparameters is not kept:  # also if the groups have changed
            self._hyperparameters = (len(known), surrogate.hyperparameters)
        return surrogate

    def _breed(
        self,
        known: Sequence[Selection[A]],
        ratio: NDArray[np.float64],
        surrogate: ScoreSurrogate,
        reference: tuple[float, float],
        seen: set[Key],
    ) -> Selection[A] | None:
        """Search for the candidate of the highest expected hypervolume improvement, by evolution.

        Architectures that only earlier runs evaluated are among the first parents, and may be
        suggested. The front to improve consists of this search's own architectures alone.

        Args:
            known: all n observed and pending architectures, those of earlier runs first.
            ratio: their latency ratios, [n, devices].
            surrogate: surrogate that is fitted to these architectures.
            reference: score and latency ratio of the hypervolume's reference point.
            seen: keys of the selections that are not to be suggested.

        Returns:
            The candidate; None if no new one within the limits is found.
        """
        prior = len(self._prior)
        expected, _ = surrogate.predict(known, ratio)
        points = list(zip(expected, ratio.max(axis=1), strict=True))
        parents = pareto_front(known, points)
        offspring = [*self._candidates.random(RANDOM_CANDIDATES), *known[:prior]]
        gain_of: dict[Key, tuple[float, Selection[A]]] = {}
        for _ in range(GENERATIONS):
            offspring += self._candidates.offspring(parents, OFFSPRING)
            new, new_ratio = self._candidates.fitting(offspring, seen | gain_of.keys())
            offspring = []
            if not new:
                continue
            mean, deviation = surrogate.predict(new, new_ratio)
            gain = np.zeros(len(new))
            for device in range(new_ratio.shape[1]):
                gain += expected_gain(
                    mean,
                    EXPLORATION_WEIGHT * deviation,
                    new_ratio[:, device],
                    (expected[prior:], ratio[prior:, device]),
                    reference,
                )
            gain_of |= {key(w): (float(g), w) for w, g in zip(new, gain, strict=True)}
            ranked = sorted(gain_of.values(), key=lambda entry: -entry[0])
            parents = [selection for _, selection in ranked[:PARENTS]]
        return parents[0] if gain_of else None
