"""The additive latency model: a constant plus one coefficient for each feature.

A network's features are quantities that add up over its parts, for example how often each operator
occurs at each position, or the sum of the latencies of its blocks. The fit minimises relative
errors, so a millisecond counts for more in a fast network. A ridge penalty pulls each coefficient
towards a prior value where the measurements say little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

ROBUST_ROUNDS = 6
"""Number of reweighted fits in `fit_additive` with ``robust``."""

HUBER = 2.0
"""Residuals beyond this many standard deviations lose weight in a robust fit."""

LOWEST = 0.1
"""A robust fit raises predictions below this share of the median latency to this share."""


@dataclass(frozen=True)
class AdditiveModel:
    """Latency as ``constant_ms + features @ coefficients``.

    Attributes:
        constant_ms: part of every network's latency that does not depend on its features.
        coefficients: milliseconds per unit of each feature, [features].
    """

    constant_ms: float
    coefficients: NDArray[np.float64]

    def predict(self, features: ArrayLike) -> NDArray[np.float64]:
        """Latencies in ms of networks, [n], from their features, [n, features]."""
        predicted: NDArray[np.float64] = np.asarray(features, dtype=np.float64) @ self.coefficients
        return predicted + self.constant_ms


def fit_additive(
    features: ArrayLike,
    latency_ms: ArrayLike,
    *,
    prior: ArrayLike = 0.0,
    ridge: ArrayLike = 1e-3,
    constant_ridge: float = 0.0,
    robust: bool = False,
) -> AdditiveModel:
    """Fit by least squares on relative errors, with a ridge towards prior coefficients.

    Minimises ``mean((predicted / measured - 1)**2) + sum((ridge * effect * (c - prior))**2)``
    where ``effect`` is the mean of ``abs(feature / measured)``. So a ridge has no unit: to move a
    coefficient until it changes latencies by 100% on average costs as much as a relative error of
    ``ridge`` in every network. Combinations of coefficients that neither the measurements nor the
    ridge determine stay at the prior.

    Args:
        features: [n, features].
        latency_ms: measured latencies, [n], all above zero.
        prior: the prior coefficients, [features] or one for all, in ms per unit.
        ridge: weight of the prior, [features] or one for all, 0 or more.
        constant_ridge: weight of the prior of the constant, which is zero.
        robust: give less weight to residuals beyond `HUBER` deviations, and divide errors by the
            predicted instead of the measured latency, so that a few wrong measurements (a phone
            that was throttled, a timer that returned nearly zero) do not decide the fit.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or a latency is not above zero.
    """
    design, measured, center, pull = _problem(features, latency_ms, prior, ridge, constant_ridge)
    coefficients = _solve(design, measured, 1 / measured, center, pull)
    for _ in range(ROBUST_ROUNDS if robust else 0):
        weight = _robust_weight(design @ coefficients, measured)
        coefficients = _solve(design, measured, weight, center, pull)
    return AdditiveModel(float(coefficients[-1]), coefficients[:-1])


def leave_one_out(
    features: ArrayLike,
    latency_ms: ArrayLike,
    *,
    prior: ArrayLike = 0.0,
    ridge: ArrayLike = 1e-3,
    constant_ridge: float = 0.0,
) -> NDArray[np.float64]:
    """Predict each network by a fit of `fit_additive` to all others, in linear time.

    The sums that a fit needs are those over all networks, less one term. The arguments are those of
    `fit_additive`.

    Returns:
        Predicted latencies in ms, [n].

    Raises:
        ValueError: as `fit_additive`; or there is only one network.
    """
    design_np, measured_n, center_p, pull_p = _problem(
        features, latency_ms, prior, ridge, constant_ridge
    )
    others = len(measured_n) - 1
    if not others:
        raise ValueError("to leave one network out takes at least two")
    rows_np = design_np / measured_n[:, None]
    size_np = np.abs(rows_np)
    effect_np = (size_np.sum(axis=0) - size_np) / others
    # A column that only the network itself has is zero in the others, but for rounding.
    effect_np[effect_np <= 1e-12 * size_np] = 1.0
    residual_n = 1.0 - rows_np @ center_p
    products_npp = rows_np[:, :, None] * rows_np[:, None, :]
    gram_npp = (products_npp.sum(axis=0) - products_npp) / others
    gram_npp /= effect_np[:, :, None] * effect_np[:, None, :]
    gram_npp += np.diag(pull_p**2)
    moments_np = rows_np * residual_n[:, None]
    right_np = (moments_np.sum(axis=0) - moments_np) / others / effect_np
    change_np = np.einsum("npq,nq->np", np.linalg.pinv(gram_npp, hermitian=True), right_np)
    predicted: NDArray[np.float64] = (design_np * (center_p + change_np / effect_np)).sum(axis=1)
    return predicted


def _problem(
    features: ArrayLike,
    latency_ms: ArrayLike,
    prior: ArrayLike,
    ridge: ArrayLike,
    constant_ridge: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Check the arguments of a fit.

    Returns:
        Features with a column of ones for the constant, [n, p], latencies, [n], and the prior and
        ridge of every column, [p] each.
    """
    matrix = np.asarray(features, dtype=np.float64)
    measured = np.asarray(latency_ms, dtype=np.float64)
    if matrix.ndim != 2 or measured.shape != matrix.shape[:1] or not len(measured):
        raise ValueError(
            f"features of shape {matrix.shape} and latencies of shape {measured.shape}; "
            f"expected [n, features] and [n], n at least 1"
        )
    if not np.isfinite(matrix).all() or not np.isfinite(measured).all() or measured.min() <= 0:
        raise ValueError("features must be finite, latencies finite and above zero")
    design = np.column_stack([matrix, np.ones(len(measured))])
    center = np.append(np.broadcast_to(np.asarray(prior, float), matrix.shape[1:]), 0.0)
    pull = np.append(np.broadcast_to(np.asarray(ridge, float), matrix.shape[1:]), constant_ridge)
    return design, measured, center, pull


def _solve(
    design: NDArray[np.float64],
    measured: NDArray[np.float64],
    weight: NDArray[np.float64],
    center: NDArray[np.float64],
    pull: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Solve the weighted ridge regression; returns the coefficients: [columns].

    The normal equations are in units of each column's mean effect, so that they are well scaled.
    """
    rows = design * weight[:, None]
    effect = np.abs(rows).mean(axis=0)
    effect[effect == 0] = 1.0
    rows /= effect
    residual = weight * measured - rows @ (center * effect)
    gram = rows.T @ rows / len(rows) + np.diag(pull**2)
    change: NDArray[np.float64] = np.linalg.lstsq(gram, rows.T @ residual / len(rows))[0]
    solved: NDArray[np.float64] = center + change / effect
    return solved


def _robust_weight(
    predicted: NDArray[np.float64], measured: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Factors for the residuals in ms, [n]: the root of the Huber weight, over the prediction.

    The Huber weight is that of the error relative to the prediction.
    """
    reference = np.maximum(predicted, LOWEST * np.median(measured))
    errors = np.abs(measured - reference) / reference
    deviation = 1.4826 * np.median(errors)  # of a normal distribution, from its median
    huber = np.minimum(1.0, HUBER * deviation / np.maximum(errors, 1e-12))
    weight: NDArray[np.float64] = np.sqrt(np.maximum(huber, 1e-12)) / reference
    return weight
