"""Predicts a new device's latencies from a few measured networks and the tables of other devices.

The latencies of the new device are modelled as those of its likeness, which is one of the source
devices or their mean, times a scale. A normally distributed departure is added, along the
directions in which the sources differ from each other. The likeness, the size of the departure and
the noise of the measurements are unknown. Each combination of them is a hypothesis with a
closed-form fit, and the fits are averaged with their evidence as weights (how well they explain the
measurements; MacKay 1992, "Bayesian interpolation"). The result is a weight for each source and a
constant, so it stays additive over blocks.

The constants were chosen by ``benchmarks/latency_transfer.py``, which compares the method with a
plain non-negative mix of the sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import TableError
from nas.latency.predict.additive import AdditiveModel
from nas.latency.predict.intervals import (
    LEAST_DEVIATION,
    SHARED_DEVIATION,
    ErrorSpread,
    log_deviation,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NOISES = (0.02, 0.04, 0.08, 0.16, 0.32)
"""Candidate values of the relative standard deviation of measurements from the model."""

DEPARTURES = (0.1, 0.3, 1.0, 3.0)
"""Candidate values of how far a device differs from the mix of its sources, in units of how far the
sources differ from each other."""

CONSTANT = 0.1
"""Prior standard deviation of the constant per unit of departure, as a share of a typical
latency."""

LOWEST = 0.5
"""Errors are relative to the measured latency, or to this share of the median if it is lower: a
network that takes next to no time must not outweigh all others."""

MIN_SAMPLES = 3
"""Least number of measured networks for a transfer; one less must still be enough for a fit."""

CHOICE_NOISE = 0.05
"""Relative noise of measurements that `choose_samples` assumes; it matters little."""


@dataclass(frozen=True)
class Transfer:
    """Latency model of a new device, from a few measurements.

    Attributes:
        model: latency = ``constant_ms`` + source latencies @ ``coefficients``. It is linear in
            the sources, so it holds block by block too: a block takes
            ``sum(coefficients[s] * block_ms[s])`` on the new device.
        relative_errors: leave-one-out errors (predicted / measured - 1) of the samples.
        error: error of predictions on the new device; their intervals follow from it.
    """

    model: AdditiveModel
    relative_errors: tuple[float, ...]
    error: ErrorSpread


def fit_transfer(source_ms: ArrayLike, latency_ms: ArrayLike) -> Transfer:
    """Call `mix_sources`, and estimate its error by leaving out each network in turn.

    The arguments are those of `mix_sources`.

    Raises:
        TableError: there are fewer than `MIN_SAMPLES` networks, or a latency is not above zero.
        ValueError: shapes do not fit.
    """
    sources, measured = _checked(source_ms, latency_ms)
    if len(measured) < MIN_SAMPLES:
        raise TableError(
            f"{len(measured)} measured networks; a transfer needs at least {MIN_SAMPLES}, and "
            f"about 10 to be good"
        )
    errors = []
    for index in range(len(measured)):
        others = np.arange(len(measured)) != index
        predicted = mix_sources(sources[others], measured[others]).predict(sources[[index]])[0]
        errors.append(float(predicted / measured[index] - 1))
    model = mix_sources(sources, measured)
    return Transfer(model, tuple(errors), samples_error(errors))


def mix_sources(source_ms: ArrayLike, latency_ms: ArrayLike) -> AdditiveModel:
    """Fit the posterior mean of the mix of source devices to the measured networks.

    Args:
        source_ms: latencies of the measured networks that the sources predict, [n, sources].
        latency_ms: their latencies on the new device, [n].

    Returns:
        A model whose features are source latencies: its `AdditiveModel.predict` takes those of m
        networks, [m, sources].

    Raises:
        TableError: a latency is not above zero.
        ValueError: shapes do not fit.
    """
    sources, measured = _checked(source_ms, latency_ms)
    count = sources.shape[1]
    typical_ms = sources.mean(axis=0)
    level_ms = float(np.median(measured))
    # Columns: the sources scaled to the new device's level, and a constant of that level.
    columns = np.column_stack([sources / typical_ms, np.ones(len(measured))]) * level_ms
    unit_ms = np.maximum(measured, LOWEST * level_ms)
    columns /= unit_ms[:, None]
    goal = measured / unit_ms
    mean = np.append(np.full(count, 1 / count), 0.0)
    likenesses = np.vstack([np.eye(count, count + 1), mean])
    likenesses *= _best_scale(likenesses @ columns.T, goal)[:, None]
    # Directions of departure: how each source differs from their mean, and the constant.
    directions = np.vstack([(np.eye(count, count + 1) - mean) / math.sqrt(count)])
    directions = np.vstack([directions, CONSTANT * np.eye(count + 1)[-1]])
    weights = _posterior(columns, goal, likenesses, directions)
    coefficients = weights[:-1] * level_ms / typical_ms
    return AdditiveModel(float(weights[-1]) * level_ms, coefficients)


def _best_scale(parts_Hn: NDArray[np.float64], goal_n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale of each row that minimises its squared distance to the goal: [H]."""
    scale: NDArray[np.float64] = parts_Hn @ goal_n / (parts_Hn**2).sum(axis=1)
    return scale


def _posterior(
    columns: NDArray[np.float64],
    goal: NDArray[np.float64],
    likenesses: NDArray[np.float64],
    directions: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Weights of the columns, [p], averaged over all hypotheses by their evidence.

    A hypothesis is a likeness, an amplitude of the departure and a noise. Under it the weights are
    normally distributed around the likeness, whose scale is free too, with standard deviation 1.
    Suffixes: H likenesses, A amplitudes of departure, S noises, n samples, d directions.

    Args:
        columns: features of the samples, [n, p].
        goal: what ``columns @ weights`` should be, [n].
        likenesses: weights of each likeness, [H, p].
        directions: directions of departure from a likeness, [d, p].
    """
    amplitudes, noises = np.array(DEPARTURES), np.array(NOISES)
    parts_Hn = likenesses @ columns.T
    apart_dn = directions @ columns.T
    error_Hn = goal - parts_Hn
    own_Hnn = parts_Hn[:, :, None] * parts_Hn[:, None, :]
    covariance_HAnn = own_Hnn[:, None] + amplitudes[:, None, None] ** 2 * (apart_dn.T @ apart_dn)
    values_HAn, vectors_HAnn = np.linalg.eigh(covariance_HAnn)
    turned_HAn = np.einsum("hanm,hn->ham", vectors_HAnn, error_Hn)
    variance_HASn = np.maximum(values_HAn, 0)[:, :, None] + noises[:, None] ** 2
    solved_HASn = turned_HAn[:, :, None] / variance_HASn
    log_evidence_HAS = -0.5 * (
        (turned_HAn[:, :, None] * solved_HASn).sum(-1) + np.log(variance_HASn).sum(-1)
    )
    share_HAS = np.exp(log_evidence_HAS - log_evidence_HAS.max())
    share_HAS /= share_HAS.sum()
    dual_HASn = np.einsum("hanm,hasm->hasn", vectors_HAnn, solved_HASn)
    own_H = (share_HAS * (1 + np.einsum("hasn,hn->has", dual_HASn, parts_Hn))).sum((1, 2))
    dual_n = np.einsum("has,a,hasn->n", share_HAS, amplitudes**2, dual_HASn)
    weights: NDArray[np.float64] = own_H @ likenesses + (apart_dn @ dual_n) @ directions
    return weights


def choose_samples(source_ms: ArrayLike, count: int) -> list[int]:
    """Choose networks to measure, so that `mix_sources` can predict all of them well.

    The choice is greedy and deterministic: each next network is the one whose measurement lowers
    the mean variance of the relative predictions of all networks the most (I-optimal design). It
    assumes the prior of `mix_sources` around the mean of the sources, and a noise of
    `CHOICE_NOISE`.

    Args:
        source_ms: latencies of the candidates that the sources predict, [n, sources].
        count: number of networks to choose.

    Returns:
        ``count`` different row numbers, the most informative first.

    Raises:
        TableError: there are fewer candidates than ``count``.
        ValueError: ``source_ms`` is not [n, sources].
    """
    sources = np.asarray(source_ms, dtype=np.float64)
    if sources.ndim != 2 or not sources.size:
        raise ValueError(f"source latencies of shape {sources.shape}, expected [n, sources]")
    if not 1 <= count <= len(sources):
        raise TableError(f"cannot choose {count} of {len(sources)} networks to measure")
    level = sources / sources.mean(axis=0)
    mean = level.mean(axis=1, keepdims=True)
    apart = (level / mean - 1) / math.sqrt(sources.shape[1])
    rows = np.column_stack([np.ones(len(mean)), apart, CONSTANT / mean])
    spread = rows.T @ rows / len(rows)
    covariance = np.eye(rows.shape[1])
    chosen: list[int] = []
    for _ in range(count):
        known = rows @ covariance
        gain = np.einsum("ni,ij,nj->n", known, spread, known)
        gain /= CHOICE_NOISE**2 + np.einsum("ni,ni->n", known, rows)
        gain[chosen] = -1.0
        best = int(np.argmax(gain))
        step = covariance @ rows[best]
        covariance -= np.outer(step, step) / (CHOICE_NOISE**2 + rows[best] @ step)
        chosen.append(best)
    return chosen


def samples_error(relative_errors: Sequence[float]) -> ErrorSpread:
    """Error of predictions for a new network, from leave-one-out errors.

    The degrees of freedom are one less than the number of errors. The number of fitted parameters
    does not matter, as each error is of a network that the fit had not seen. All samples were
    measured in one session, so the error that later sessions share is added.
    """
    count = len(relative_errors)
    own = log_deviation(relative_errors) * math.sqrt(1 + 1 / count)
    return ErrorSpread(max(own, LEAST_DEVIATION), count - 1, SHARED_DEVIATION)


def _checked(
    source_ms: ArrayLike, latency_ms: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sources = np.asarray(source_ms, dtype=np.float64)
    measured = np.asarray(latency_ms, dtype=np.float64)
    if sources.ndim != 2 or not sources.size or measured.shape != sources.shape[:1]:
        raise ValueError(
            f"source latencies of shape {sources.shape} and latencies of shape {measured.shape}; "
            f"expected [n, sources] and [n]"
        )
    if not np.isfinite(measured).all() or measured.min() <= 0:
        raise TableError("a measured latency of the new device is not above zero; measure it again")
    if not np.isfinite(sources).all() or (sources.mean(axis=0) <= 0).any():
        raise TableError("a source device's predictor gives no latencies above zero; leave it out")
    return sources, measured
