"""Estimates latencies of shapes that were never measured, from shapes that were.

The same model serves a table of 300 blocks and a table of 90,000 convolutions:

1. A roofline, ``sum over operators of max(flop / peak, bytes / bandwidth) + overhead`` (Williams
   et al., CACM 52(4), 2009), times a factor for each family of shapes. It carries the estimate
   beyond what was measured: it is positive and grows with the work.
2. Extremely randomised trees (Geurts et al., Machine Learning 63, 2006), fitted to the logarithm
   of measured over roofline latency. They follow the steps that tiles, waves and kernel choices
   cause, which a smooth function cannot. Outside the measured range they are constant.
3. A 90% interval from the errors of rows that were held out of the fits of 1 and 2 (conformal
   prediction with scaled residuals; Lei et al., JASA 113, 2018). It is wider where the trees
   disagree, and wider still outside the measured range.

This module imports scipy and scikit-learn only when it fits, so that reading tables stays fast.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import TableError
from nas.latency.predict.intervals import CONFIDENCE, Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_ROWS = 20
"""Least number of measured rows, of all families together, for a fit."""

MIN_FAMILY = 2
"""Least number of measured rows of a family for an estimate: one to fit, and one to check it."""

FOLDS = 10
"""Number of folds into which the rows are divided for the held-out errors."""

ENOUGH_ERRORS = 5000
"""Number of held-out errors after which no further fold is fitted, because their quantiles would
hardly change."""

OWN_QUANTILE = 30
"""Least number of held-out errors of a family for an interval width of its own. Other families use
the width of the whole table, or more."""

RIDGE = 0.01
"""Weight that keeps a parameter of the roofline near its first guess if the rows don't determine
it."""


@dataclass(frozen=True)
class Shapes:
    """Properties of n shapes that are known without a measurement.

    Attributes:
        features: inputs of the trees, where sizes are natural logarithms: [n, features].
        gflop: arithmetic of every operator, padded with 0: [n, operators].
        gbyte: memory traffic of every operator, in any unit, padded with 0: [n, operators].
        family: number of the shape's family; every family has its own factor: [n], integers.
        twins: number of the shape's group; shapes of a group are so alike that they are held out
            together: [n], integers.
    """

    features: NDArray[np.float64]
    gflop: NDArray[np.float64]
    gbyte: NDArray[np.float64]
    family: NDArray[np.int64]
    twins: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: NDArray[Any]) -> Shapes:
        """Select some of the shapes, by index or by mask."""
        return Shapes(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class _Law:
    """A roofline with a factor for each family; all values are natural logarithms.

    Attributes:
        peak, bandwidth, overhead: in gflop per ms, in the unit of ``gbyte`` per ms, and in ms.
        factors: factor of each family, by its number.
    """

    peak: float
    bandwidth: float
    overhead: float
    factors: Mapping[int, float]

    def log_ms(self, shapes: Shapes) -> NDArray[np.float64]:
        factors = np.array([self.factors[int(family)] for family in shapes.family])
        return np.asarray(_roofline(shapes, self.peak, self.bandwidth, self.overhead) + factors)


@dataclass(frozen=True)
class _Model:
    """The roofline with its factors, and the trees that correct it."""

    law: _Law
    trees: Any

    def log_ms(self, shapes: Shapes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Logarithm of the latency in ms, and its standard deviation over the trees: [n] each."""
        features = shapes.features.astype(np.float32)
        votes = np.stack([tree.predict(features) for tree in self.trees.estimators_])
        return self.law.log_ms(shapes) + votes.mean(axis=0), np.asarray(votes.std(axis=0))


@dataclass(frozen=True)
class Interpolator:
    """Estimates latencies on one device; made by `fit`.

    Attributes:
        rows: number of measured rows to which it was fitted.
        mean_error: mean of |estimated / measured - 1| on held-out rows.
        within_10pct: share of the held-out rows whose error is at most 10%.
    """

    rows: int
    mean_error: float
    within_10pct: float
    _model: _Model
    _floor: float
    _widths: Mapping[int, float]
    _ranges: Mapping[int, tuple[NDArray[np.float64], NDArray[np.float64]]]

    @classmethod
    def fit(cls, shapes: Shapes, measured_ms: NDArray[np.float64]) -> Interpolator:
        """Fit to measured latencies; the same rows in the same order give the same interpolator.

        Args:
            shapes: n measured shapes.
            measured_ms: their latencies in ms, [n], positive.

        Raises:
            TableError: there are too few rows, or a latency is not a positive number.
        """
        if len(shapes) < MIN_ROWS:
            raise TableError(
                f"to estimate what was not measured takes at least {MIN_ROWS} measured rows, "
                f"there are {len(shapes)}: measure more of them"
            )
        if not (np.isfinite(measured_ms).all() and (measured_ms > 0).all()):
            raise TableError("a measured latency is not a positive number of milliseconds")
        log_ms = np.log(measured_ms)
        held, errors, spreads = _held_out(shapes, log_ms)
        floor = max(float(np.median(spreads)), 1e-3)
        relative = np.abs(np.expm1(errors))
        return cls(
            rows=len(shapes),
            mean_error=float(relative.mean()),
            within_10pct=float((relative <= 0.10).mean()),
            _model=_fit_model(shapes, log_ms),
            _floor=floor,
            _widths=_widths(shapes.family, held, np.abs(errors) / (floor + spreads)),
            _ranges={
                int(family): _range(shapes.features[shapes.family == family])
                for family in np.unique(shapes.family)
            },
        )

    def predict(self, shapes: Shapes) -> Prediction:
        """Estimate the latencies of shapes of measured families, with their 90% intervals.

        Raises:
            TableError: a family has fewer than `MIN_FAMILY` measured rows.
        """
        unknown = sorted({int(f) for f in shapes.family} - self._widths.keys())
        if unknown:
            raise TableError(
                f"fewer than {MIN_FAMILY} measured rows in the families {unknown}: measure them"
            )
        log_ms, spread = self._model.log_ms(shapes)
        width = np.array([self._widths[int(family)] for family in shapes.family])
        half = width * (self._floor + spread) * (1.0 + self._outside(shapes))
        half = np.minimum(half, math.log(1e6))  # a wider interval would say nothing more
        return Prediction(np.exp(log_ms), np.exp(log_ms - half), np.exp(log_ms + half))

    def _outside(self, shapes: Shapes) -> NDArray[np.float64]:
        """Distance of each shape from the measured range of its family: [n].

        It is the distance of the feature that is furthest outside; for a size, 1.0 is a factor e.
        """
        low, high = (
            np.stack([self._ranges[int(family)][end] for family in shapes.family]) for end in (0, 1)
        )
        beyond = np.maximum(low - shapes.features, shapes.features - high)
        return np.asarray(np.maximum(beyond, 0.0).max(axis=1))


def _roofline(
    shapes: Shapes, peak: float, bandwidth: float, overhead: float
) -> NDArray[np.float64]:
    """Return the logarithm of the roofline latency in ms, [n].

    ``peak``, ``bandwidth`` and ``overhead`` are logarithms too, in the units of `_Law`.
    """
    bound = np.maximum(shapes.gflop * math.exp(-peak), shapes.gbyte * math.exp(-bandwidth))
    operators = (shapes.gbyte > 0).sum(axis=1)
    return np.asarray(np.log(bound.sum(axis=1) + operators * math.exp(overhead)))


def _fit_law(shapes: Shapes, log_ms: NDArray[np.float64]) -> _Law:
    """Fit a roofline by robust least squares on log errors.

    The factor of a family is the median of the errors that then remain.
    """
    from scipy.optimize import least_squares

    # Start where arithmetic, traffic and overhead each take a third of the time.
    third = np.exp(log_ms) / 3
    operators = np.maximum((shapes.gbyte > 0).sum(axis=1), 1)
    per_third = (shapes.gflop.sum(axis=1) / third, shapes.gbyte.sum(axis=1) / third)
    guesses = [float(np.median(ratio)) for ratio in (*per_third, third / operators)]
    start = np.log(np.maximum(guesses, 1e-12))
    ridge = RIDGE * math.sqrt(len(shapes))

    def residuals(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        errors = _roofline(shapes, *parameters) - log_ms
        return np.concatenate([errors, ridge * (parameters - start)])

    best = least_squares(residuals, start, loss="soft_l1", f_scale=0.1).x
    peak, bandwidth, overhead = (float(value) for value in best)
    left = log_ms - _roofline(shapes, peak, bandwidth, overhead)
    factors = {int(f): float(np.median(left[shapes.family == f])) for f in np.unique(shapes.family)}
    return _Law(peak, bandwidth, overhead, factors)


def _fit_model(shapes: Shapes, log_ms: NDArray[np.float64]) -> _Model:
    from sklearn.ensemble import ExtraTreesRegressor

    law = _fit_law(shapes, log_ms)
    # Few rows are fitted fast, and need the smoother average of more trees.
    trees = ExtraTreesRegressor(
        n_estimators=int(np.clip(1_300_000 // len(shapes), 16, 100)),
        max_features=0.7,
        random_state=0,
    )
    trees.fit(shapes.features.astype(np.float32), log_ms - law.log_ms(shapes))
    return _Model(law, trees)


def _held_out(
    shapes: Shapes, log_ms: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Estimate the rows of each fold with a model that was fitted to all other rows.

    Returns:
        Indices of the rows held out, log(estimated / measured) of each, and the standard
        deviation of each log estimate over the trees: [held] each.

    Raises:
        TableError: no family has two rows.
    """
    held, errors, spreads, count = [], [], [], 0
    for fold in _folds(shapes):
        rows = np.setdiff1d(np.arange(len(shapes)), fold)
        fold = fold[np.isin(shapes.family[fold], shapes.family[rows])]
        if not len(fold):
            continue
        model = _fit_model(shapes.take(rows), log_ms[rows])
        estimate, spread = model.log_ms(shapes.take(fold))
        held.append(fold)
        errors.append(estimate - log_ms[fold])
        spreads.append(spread)
        count += len(fold)
        if count >= ENOUGH_ERRORS:
            break
    if not held:
        raise TableError("no kind of shape has two measured rows: measure more of each")
    return np.concatenate(held), np.concatenate(errors), np.concatenate(spreads)


def _folds(shapes: Shapes) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of the rows of each fold.

    The rows of a family are spread over as many folds as possible, but rows that are twins of
    each other (see `Shapes.twins`) are in the same fold.
    """
    pairs = np.stack([shapes.family, shapes.twins], axis=1)
    # Twins are dealt to the folds in turn, sorted by family and in random order inside it.
    distinct, pair = np.unique(pairs, axis=0, return_inverse=True)
    order = np.lexsort((np.random.default_rng(0).random(len(distinct)), distinct[:, 0]))
    fold_of = np.empty(len(distinct), dtype=np.int64)
    fold_of[order] = np.arange(len(distinct)) % FOLDS
    for fold in range(FOLDS):
        yield np.flatnonzero(fold_of[pair.ravel()] == fold)


def _widths(
    family: NDArray[np.int64], held: NDArray[np.int64], scores: NDArray[np.float64]
) -> dict[int, float]:
    """Half width of each family's interval, in units of the spread, by the family's number.

    Args:
        family: family of every row, [n].
        held: indices of the rows held out.
        scores: their absolute log errors, in units of the spread.
    """
    common = _quantile(scores)
    widths = {}
    for number in np.unique(family):
        own = scores[family[held] == number]
        if len(own) >= OWN_QUANTILE:
            widths[int(number)] = _quantile(own)
        elif int((family == number).sum()) >= MIN_FAMILY:
            widths[int(number)] = max(common, float(own.max(initial=0.0)))
    return widths


def _quantile(scores: NDArray[np.float64]) -> float:
    """Upper bound of the score of one more row, which holds with probability `CONFIDENCE`.

    It holds for any distribution of the scores (split conformal prediction).
    """
    rank = math.ceil((len(scores) + 1) * CONFIDENCE)
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def _range(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return features.min(axis=0), features.max(axis=0)
