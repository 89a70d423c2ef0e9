"""A Gaussian process that predicts the score of architectures that were not evaluated.

Observations are few, so the prior expresses what is known of architectures in advance. The score
is mostly a smooth trend over latency and over properties that are summed over the network (depth,
widths). Every single choice adds an effect, and interactions of choices add a smaller one. Each of
the three parts has a kernel. The share of each part in the variance is fitted: it maximises the
marginal likelihood under weak priors.

Observations of another training (another fidelity, data set or run) are a group of their own. A
group has its own mean, a factor that scales its score differences, and its own noise.

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), equations 2.23 to
2.26 and 5.9.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from nas.search.sampler.encoding import Encoded, Encoder
from nas.space.parameter_space import Selection

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NOISE = 0.01
"""Share of the scores' variance that is expected to be noise, unless a caller knows better."""

PRIOR_LOG = np.log([1.0, 1.0, 0.3, 1.0, NOISE])
PRIOR_SPREAD = np.array([1.5, 1.5, 1.5, 0.5, 1.5])
"""Means and standard deviations of normal priors on the logarithms of five hyperparameters: the
variances of the trend, of single choices and of interactions, the length scale of interactions, and
the variance of the noise. Scores are scaled to variance 1."""

SCALE_SPREAD = 0.7
"""Prior standard deviation of the logarithm of each further group's factor; its prior mean is 0.
The noise of a further group has the same prior as the noise of the first group."""

CONSTANT_VARIANCE = 10.0
"""Prior variance of the constant mean, so wide that the data alone decide the mean."""

GROUP_SHARE = 0.4
"""Share of `CONSTANT_VARIANCE` that is independent in each group. The scores of a group are centred
on their mean before; this share allows for better architectures in one group than in another."""

JITTER = 1e-6
"""Added to the variances of the observations, so that the Cholesky decomposition succeeds."""

MOST_FOR_HYPERPARAMETERS = 300
"""Most observations used to fit the hyperparameters; all observations are used to predict."""


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of the surrogate for a set of groups.

    Attributes:
        groups: numbers of the groups, the largest group first.
        theta: logarithms of the five hyperparameters in `PRIOR_LOG`, then of factor and noise
            variance of each further group, group by group: [5 + 2 * (groups - 1)].
    """

    groups: tuple[int, ...]
    theta: NDArray[np.float64]

    @staticmethod
    def prior(groups: tuple[int, ...], noise: float = NOISE) -> Hyperparameters:
        """Return the most probable hyperparameters before any data.

        Args:
            groups: numbers of the groups, the largest group first.
            noise: expected share of noise in the variance of the scores.
        """
        further = np.tile([0.0, math.log(noise)], len(groups) - 1)
        own = np.append(PRIOR_LOG[:4], math.log(noise))
        return Hyperparameters(groups, np.concatenate([own, further]))

    @property
    def spread(self) -> NDArray[np.float64]:
        """Prior standard deviation of each entry of ``theta``."""
        further = np.tile([SCALE_SPREAD, PRIOR_SPREAD[4]], len(self.groups) - 1)
        return np.concatenate([PRIOR_SPREAD, further])

    @property
    def factor(self) -> NDArray[np.float64]:
        """Factor that scales the score differences of each group, 1 for the first: [groups]."""
        factor: NDArray[np.float64] = np.exp(np.append(0.0, self.theta[5::2]))
        return factor

    @property
    def noise(self) -> NDArray[np.float64]:
        """Variance of the noise of each group: [groups]."""
        noise: NDArray[np.float64] = np.exp(np.append(self.theta[4], self.theta[6::2]))
        return noise


@dataclass(frozen=True)
class _Distances:
    """What the kernels are computed from, between n and m architectures: [n, m] each.

    Attributes:
        trend, choices: inner products, for the linear kernels of trend and single choices.
        together: squared distances, for the squared exponential kernel of interactions.
        constant: covariance of the constant means.
        places: index of each architecture's group in `Hyperparameters.groups`, [n, 1] and [1, m].
    """

    trend: NDArray[np.float64]
    choices: NDArray[np.float64]
    together: NDArray[np.float64]
    constant: NDArray[np.float64]
    places: tuple[NDArray[np.int_], NDArray[np.int_]]

    def kernels(self, log_length: float) -> tuple[NDArray[np.float64], ...]:
        return self.trend, self.choices, np.exp(-0.5 * self.together * math.exp(-2 * log_length))


class ScoreSurrogate:
    """A Gaussian process that predicts the scores of architectures.

    Args:
        selections: the n evaluated architectures, at least two.
        ratio: their latency ratios, [n, devices], above 0.
        score: their scores, [n].
        hyperparameters: hyperparameters of an earlier surrogate, from which the fit starts; None to
            start from the prior.
        refit: whether to fit the hyperparameters. They are always fitted if ``hyperparameters``
            are of other groups.
        groups: group of each observation, [n]; None for one group.
        noise: share of the scores' variance that is expected to be noise.

    Attributes:
        group: number of the largest group, for which scores are predicted.
        hyperparameters: the hyperparameters in use.
    """

    def __init__(
        self,
        selections: Sequence[Selection[Any]],
        ratio: ArrayLike,
        score: ArrayLike,
        hyperparameters: Hyperparameters | None = None,
        refit: bool = True,
        groups: ArrayLike | None = None,
        noise: float = NOISE,
    ) -> None:
        self._encoder = Encoder(selections)
        observed = np.asarray(score, dtype=np.float64)
        group = np.zeros(len(observed), int) if groups is None else np.asarray(groups, dtype=int)
        kinds = sorted(set(group.tolist()), key=lambda kind: (-np.sum(group == kind), kind))
        self.group = kinds[0]
        self._place = np.array([kinds.index(kind) for kind in group])
        means = np.bincount(self._place, observed) / np.bincount(self._place)
        deviation = float(observed[self._place == 0].std())
        self._center = float(means[0])
        self._scale = deviation if deviation > 1e-9 else 1.0
        raw = _raw_trend(self._encoder.encode(selections), ratio)
        self._trend_center, spread = raw.mean(axis=0), raw.std(axis=0)
        self._trend_scale = np.where(spread > 1e-9, spread, np.inf)
        self._features = self._featurise(selections, ratio, self._place)
        self._target = (observed - means[self._place]) / self._scale
        prior = Hyperparameters.prior(tuple(kinds), noise)
        start = hyperparameters or prior
        if start.groups != tuple(kinds):
            start, refit = prior, True
        self.hyperparameters = self._fit(start, prior) if refit else start
        self._condition()

    def predict(
        self, selections: Sequence[Selection[Any]], ratio: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predict mean and standard deviation of the scores without noise, [n] each.

        Args:
            selections: architectures, evaluated or not.
            ratio: their latency ratios, [n, devices].
        """
        features = self._featurise(selections, ratio, np.zeros(len(selections), int))
        cross = self._covariance(_distances(features, self._features))
        mean = cross @ self._weights
        half = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        own = self._covariance(_self_distances(features))
        variance = np.maximum(own - np.sum(half**2, axis=0), 1e-12)
        return mean * self._scale + self._center, np.sqrt(variance) * self._scale

    def _featurise(
        self, selections: Sequence[Selection[Any]], ratio: ArrayLike, place: NDArray[np.int_]
    ) -> _Features:
        encoded = self._encoder.encode(selections)
        trend = (_raw_trend(encoded, ratio) - self._trend_center) / self._trend_scale
        trend /= math.sqrt(trend.shape[1])
        choices = encoded.one_hot / math.sqrt(max(1, self._encoder.fields))
        together = np.hstack([trend, 2.0 * encoded.ranks / math.sqrt(max(1, self._encoder.fields))])
        return _Features(trend, choices, together, place)

    def _covariance(self, distances: _Distances) -> NDArray[np.float64]:
        return distances.constant + _shared(distances, self.hyperparameters)[0]

    def _condition(self) -> None:
        covariance = self._covariance(_distances(self._features, self._features))
        noise = self.hyperparameters.noise[self._place]
        covariance[np.diag_indices_from(covariance)] += noise + JITTER
        self._factor, _ = cho_factor(covariance, lower=True, check_finite=False)
        self._weights = cho_solve((self._factor, True), self._target, check_finite=False)

    def _fit(self, start: Hyperparameters, prior: Hyperparameters) -> Hyperparameters:
        """Find the most probable hyperparameters, given the scores and the priors.

        The gradient of the marginal likelihood is equation 5.9.
        """
        count = min(len(self._target), MOST_FOR_HYPERPARAMETERS)
        chosen = np.linspace(0, len(self._target) - 1, count).astype(int)
        features = self._features.of(chosen)
        found = minimize(
            _log_loss,
            start.theta,
            args=(_distances(features, features), self._target[chosen], prior),
            jac=True,
            method="L-BFGS-B",
            bounds=[(m - 4 * s, m + 4 * s) for m, s in zip(prior.theta, prior.spread, strict=True)],
            options={"maxiter": 40},
        )
        return Hyperparameters(start.groups, found.x)


def _raw_trend(encoded: Encoded, ratio: ArrayLike) -> NDArray[np.float64]:
    return np.hstack([np.log(np.asarray(ratio, dtype=np.float64)), encoded.shared])


@dataclass(frozen=True)
class _Features:
    """Encoded architectures, one per row, scaled so that typical inner products are about 1.

    Attributes:
        trend, choices, together: features of the three kernels, [n, features] each.
        place: index of each architecture's group in `Hyperparameters.groups`, [n].
    """

    trend: NDArray[np.float64]
    choices: NDArray[np.float64]
    together: NDArray[np.float64]
    place: NDArray[np.int_]

    def of(self, chosen: Any) -> _Features:
        parts = (self.trend, self.choices, self.together, self.place)
        return _Features(*(part[chosen] for part in parts))


def _distances(left: _Features, right: _Features) -> _Distances:
    a, b = left.together, right.together
    squared = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2 * a @ b.T
    same = left.place[:, None] == right.place
    return _Distances(
        left.trend @ right.trend.T,
        left.choices @ right.choices.T,
        np.maximum(squared, 0.0),
        CONSTANT_VARIANCE * np.where(same, 1.0, 1.0 - GROUP_SHARE),
        (left.place[:, None], right.place[None, :]),
    )


def _self_distances(features: _Features) -> _Distances:
    """Return what `_distances` gives between each architecture and itself: [n] each."""
    return _Distances(
        np.sum(features.trend**2, axis=1),
        np.sum(features.choices**2, axis=1),
        np.zeros(len(features.trend)),
        np.full(len(features.trend), CONSTANT_VARIANCE),
        (features.place, features.place),
    )


def _shared(
    distances: _Distances, hyperparameters: Hyperparameters
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return the covariance of the scores without constant means and noise: [n, m].

    The factors of the groups scale it. The second result has its three summands, one per kernel.
    """
    theta, factor = hyperparameters.theta, hyperparameters.factor
    left, right = distances.places
    both = factor[left] * factor[right]
    kernels = distances.kernels(theta[3])
    parts = [math.exp(theta[i]) * kernel * both for i, kernel in enumerate(kernels)]
    return sum(parts[1:], parts[0]), parts


def _log_loss(
    theta: NDArray[np.float64],
    distances: _Distances,
    target: NDArray[np.float64],
    prior: Hyperparameters,
) -> tuple[float, NDArray[np.float64]]:
    """Return the negative log posterior of ``theta``, up to a constant, and its gradient.

    Args:
        theta: see `Hyperparameters`.
        distances: distances between the n observed architectures.
        target: their scores, centred and scaled, [n].
        prior: mode of the prior.
    """
    hyperparameters = Hyperparameters(prior.groups, theta)
    shared, parts = _shared(distances, hyperparameters)
    place = distances.places[0][:, 0]
    noise = hyperparameters.noise[place]
    covariance = distances.constant + shared
    covariance[np.diag_indices_from(covariance)] += noise + JITTER
    factor = cho_factor(covariance, lower=True, check_finite=False)
    weights = cho_solve(factor, target, check_finite=False)
    inverse = cho_solve(factor, np.eye(len(target)), check_finite=False)
    outer = np.outer(weights, weights) - inverse
    slope = np.empty(len(theta))
    for index, part in enumerate(parts):
        slope[index] = 0.5 * np.sum(outer * part)
    by_length = parts[2] * distances.together * math.exp(-2 * theta[3])
    slope[3] = 0.5 * np.sum(outer * by_length)
    by_noise = 0.5 * noise * np.diag(outer)
    by_factor = np.sum(outer * shared, axis=1)  # by the factors of row and column
    for number in range(len(prior.groups)):
        here = place == number
        slope[4 if number == 0 else 4 + 2 * number] = np.sum(by_noise[here])
        if number:
            slope[3 + 2 * number] = np.sum(by_factor[here])
    from_prior = (theta - prior.theta) / prior.spread**2
    likelihood = -0.5 * target @ weights - np.sum(np.log(np.diag(factor[0])))
    loss = -likelihood + 0.5 * np.sum((theta - prior.theta) * from_prior)
    return float(loss), from_prior - slope
