"""Predicts the accuracy of architectures that were not trained, and how sure that is.

A Gaussian process on few observations, so its prior says what is known of architectures before
any is trained: accuracy is mostly a smooth trend over latency and over what all places of a
network have in common (depth, widths), plus an effect of every single choice, plus a smaller part
of how choices act together. Each is a kernel, and the data decide (by marginal likelihood under
weak priors) how much of the variance each gets.

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

from nas.parameter_space import Walk
from nas.search.encoding import Encoded, Encoder

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PRIOR_LOG = np.log([1.0, 1.0, 0.3, 1.0, 0.01])
PRIOR_SPREAD = np.array([1.5, 1.5, 1.5, 0.5, 1.5])
"""Mean and standard deviation of the prior on the logarithms of: variance of the trend, of single
choices, of choices together; their length scale; variance of the noise. Accuracies have
variance 1."""

CONSTANT_VARIANCE = 10.0
"""The mean of all accuracies is nearly free."""

GROUP_SHARE = 0.4
"""How much of that is of a group of observations alone: groups that were trained in another way
are better or worse as a whole."""

JITTER = 1e-6

MOST_FOR_HYPERPARAMETERS = 300
"""Observations used to choose them; all are used to predict."""


@dataclass(frozen=True)
class _Distances:
    """What the kernels are made of, between two sets of architectures: [n, m] each."""

    trend: NDArray[np.float64]
    choices: NDArray[np.float64]
    together: NDArray[np.float64]
    constant: NDArray[np.float64]

    def kernels(self, log_length: float) -> tuple[NDArray[np.float64], ...]:
        return self.trend, self.choices, np.exp(-0.5 * self.together * math.exp(-2 * log_length))


class AccuracySurrogate:
    """A Gaussian process from architectures to accuracy.

    Args:
        walks: the trained architectures, at least two.
        load: their latencies, [n, devices], any unit, above 0.
        accuracy: what training gave, [n].
        groups: a number for how each was trained, [n]; all alike by default. Predictions are for
            the largest group (``group``): elsewhere they differ by a constant that is less certain.
        hyperparameters: what an earlier one chose (`hyperparameters`), to begin with.
        refit: False takes them as they are.
    """

    def __init__(
        self,
        walks: Sequence[Walk[Any]],
        load: ArrayLike,
        accuracy: ArrayLike,
        hyperparameters: NDArray[np.float64] | None = None,
        refit: bool = True,
        groups: ArrayLike | None = None,
    ) -> None:
        self._encoder = Encoder(walks)
        observed = np.asarray(accuracy, dtype=np.float64)
        group = np.zeros(len(observed)) if groups is None else np.asarray(groups, dtype=np.float64)
        kinds, places, counts = np.unique(group, return_inverse=True, return_counts=True)
        self.group = int(kinds[np.argmax(counts)])
        means = np.bincount(places, observed) / np.bincount(places)
        deviation = float(np.sqrt(np.mean((observed - means[places]) ** 2)))
        self._center = float(observed.mean())
        self._scale = deviation if deviation > 1e-9 else 1.0
        raw = _raw_trend(self._encoder.encode(walks), load)
        self._trend_center, spread = raw.mean(axis=0), raw.std(axis=0)
        self._trend_scale = np.where(spread > 1e-9, spread, np.inf)
        self._features = self._featurise(walks, load, group)
        self._target = (observed - self._center) / self._scale
        theta = PRIOR_LOG if hyperparameters is None else hyperparameters
        self.hyperparameters = self._fit(theta) if refit else theta
        self._condition()

    def predict(
        self, walks: Sequence[Walk[Any]], load: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of the accuracy without the noise of training, [n] each.

        Args:
            walks: architectures, trained or not.
            load: their latencies, [n, devices].
        """
        features = self._featurise(walks, load, np.full(len(walks), float(self.group)))
        cross = self._covariance(_distances(features, self._features))
        mean = cross @ self._weights
        half = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        own = self._covariance(_self_distances(features))
        variance = np.maximum(own - np.sum(half**2, axis=0), 1e-12)
        return mean * self._scale + self._center, np.sqrt(variance) * self._scale

    def _featurise(
        self, walks: Sequence[Walk[Any]], load: ArrayLike, group: NDArray[np.float64]
    ) -> _Features:
        encoded = self._encoder.encode(walks)
        trend = (_raw_trend(encoded, load) - self._trend_center) / self._trend_scale
        trend /= math.sqrt(trend.shape[1])
        choices = encoded.one_hot / math.sqrt(max(1, self._encoder.fields))
        together = np.hstack([trend, 2.0 * encoded.ranks / math.sqrt(max(1, self._encoder.fields))])
        return _Features(trend, choices, together, group)

    def _covariance(self, distances: _Distances) -> NDArray[np.float64]:
        theta = self.hyperparameters
        return _weighted(distances, distances.kernels(theta[3]), theta)

    def _condition(self) -> None:
        covariance = self._covariance(_distances(self._features, self._features))
        covariance[np.diag_indices_from(covariance)] += math.exp(self.hyperparameters[4]) + JITTER
        self._factor, _ = cho_factor(covariance, lower=True, check_finite=False)
        self._weights = cho_solve((self._factor, True), self._target, check_finite=False)

    def _fit(self, start: NDArray[np.float64]) -> NDArray[np.float64]:
        """The most probable hyperparameters (equation 5.9, and the priors)."""
        count = min(len(self._target), MOST_FOR_HYPERPARAMETERS)
        chosen = np.linspace(0, len(self._target) - 1, count).astype(int)
        features = self._features.of(chosen)
        found = minimize(
            _log_loss,
            start,
            args=(_distances(features, features), self._target[chosen]),
            jac=True,
            method="L-BFGS-B",
            bounds=[(m - 4 * s, m + 4 * s) for m, s in zip(PRIOR_LOG, PRIOR_SPREAD, strict=True)],
            options={"maxiter": 40},
        )
        best: NDArray[np.float64] = found.x
        return best


def _raw_trend(encoded: Encoded, load: ArrayLike) -> NDArray[np.float64]:
    return np.hstack([np.log(np.asarray(load, dtype=np.float64)), encoded.shared])


@dataclass(frozen=True)
class _Features:
    """Scaled so that typical inner products and distances are about 1: [n, ...] each."""

    trend: NDArray[np.float64]
    choices: NDArray[np.float64]
    together: NDArray[np.float64]
    group: NDArray[np.float64]

    def of(self, chosen: Any) -> _Features:
        parts = (self.trend, self.choices, self.together, self.group)
        return _Features(*(part[chosen] for part in parts))


def _distances(left: _Features, right: _Features) -> _Distances:
    a, b = left.together, right.together
    squared = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2 * a @ b.T
    same = left.group[:, None] == right.group
    return _Distances(
        left.trend @ right.trend.T,
        left.choices @ right.choices.T,
        np.maximum(squared, 0.0),
        CONSTANT_VARIANCE * np.where(same, 1.0, 1.0 - GROUP_SHARE),
    )


def _self_distances(features: _Features) -> _Distances:
    """Of each architecture to itself: [n] each."""
    return _Distances(
        np.sum(features.trend**2, axis=1),
        np.sum(features.choices**2, axis=1),
        np.zeros(len(features.trend)),
        np.full(len(features.trend), CONSTANT_VARIANCE),
    )


def _weighted(
    distances: _Distances, parts: tuple[NDArray[np.float64], ...], theta: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The covariance without noise: the kernels by their variances."""
    total = distances.constant.copy()
    for weight, part in zip(theta[:3], parts, strict=True):
        total += math.exp(weight) * part
    return total


def _log_loss(
    theta: NDArray[np.float64], distances: _Distances, target: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Negative log posterior of hyperparameters, and its gradient."""
    parts = distances.kernels(theta[3])
    covariance = _weighted(distances, parts, theta)
    noise = math.exp(theta[4])
    covariance[np.diag_indices_from(covariance)] += noise + JITTER
    factor = cho_factor(covariance, lower=True, check_finite=False)
    weights = cho_solve(factor, target, check_finite=False)
    inverse = cho_solve(factor, np.eye(len(target)), check_finite=False)
    outer = np.outer(weights, weights) - inverse
    slope = np.empty(5)
    for index, part in enumerate(parts):
        slope[index] = 0.5 * math.exp(theta[index]) * np.sum(outer * part)
    by_length = parts[2] * distances.together * math.exp(-2 * theta[3])
    slope[3] = 0.5 * math.exp(theta[2]) * np.sum(outer * by_length)
    slope[4] = 0.5 * noise * np.trace(outer)
    from_prior = (theta - PRIOR_LOG) / PRIOR_SPREAD**2
    likelihood = -0.5 * target @ weights - np.sum(np.log(np.diag(factor[0])))
    loss = -likelihood + 0.5 * np.sum((theta - PRIOR_LOG) * from_prior)
    return float(loss), from_prior - slope
