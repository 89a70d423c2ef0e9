"""The latency predictor: a sum over `Block`s, corrected by whole networks.

Measured table
    A block that is timed alone finds its weights and its input in the caches. Inside a network it
    does not, but there the runtime can fuse operators of neighbouring blocks. So the sum of
    isolated blocks is not the latency of the network. The correction is a constant plus a linear
    function of that sum, the number of convolution blocks, the number of transformer blocks, and
    the number of weights, which have to come from memory where they do not fit into the caches
    together. It is fitted to the relative errors of the table's whole networks, with a ridge
    towards the plain sum so that few networks suffice. ``benchmarks/latency_predictor.py`` compares
    it with other corrections.
Adapted table
    The rows of blocks are latencies inside a network already, so they are summed with the table's
    constant.
Published figures
    The roofline of `nas.latency.predict.roofline` is fitted to the published networks.

Each is a constant plus one number for each block, so a prediction is a sum of cached numbers and
a breakdown by block is exact. The interval is a Student t interval on the leave-one-out errors.
Where the table was measured, it is widened by the error that all measurements of one session share,
which these errors cannot show. Networks measured in the session narrow it again
(`LatencyPredictor.in_session`, `LatencyPredictor.recalibrated`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import TableError
from nas.latency.predict.additive import fit_additive, leave_one_out
from nas.latency.predict.intervals import (
    CONFIDENCE,
    LEAST_DEVIATION,
    MEASURED_AGAIN,
    SHARED_DEVIATION,
    ErrorSpread,
    Prediction,
    log_deviation,
)
from nas.latency.predict.scorer import Scorer
from nas.latency.table.catalog import remeasure_command
from nas.latency.table.table import MIN_NETWORKS, LatencyTable, NetworkRow
from nas.latency.table.validation import check_plausible
from nas.models.cost import block_cost
from nas.space.architecture import Architecture
from nas.space.block import Block
from nas.space.block_kinds import kind_of
from nas.space.workload import IMAGENET, Workload
from nas.system import folders

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLAIN_SUM = (1.0, 0.0, 0.0, 0.0)
"""Coefficients of the correction that changes nothing: of the sum of isolated blocks (ms), of the
number of convolution blocks, of the number of transformer blocks, and of the weights in millions.
"""

RIDGE = 0.02
"""Ridge towards the plain sum, see `nas.latency.predict.additive.fit_additive`."""

MEDIAN_NOISE = 1.2533
"""Standard deviation of a median over that of a mean, for normal errors."""

MAX_PUBLISHED_FITS = 24
"""Largest number of fits by which the error of published networks is estimated."""

MAX_FACTOR = 10.0
"""Largest factor of an interval, see `ErrorSpread.factor`. A table whose factor is larger is
refused, as its rows contradict each other."""


@dataclass(frozen=True)
class LatencyPredictor:
    """Predicts the latency of architectures on one table's device; made by `fit`.

    Attributes:
        table: the table that it is derived from.
        constant_ms: latency of a network beyond the sum of its blocks.
        block_ms: returns the latency in ms of one block inside a network; raises TableError if
            the table has no row for it.
        relative_errors: leave-one-out errors (predicted / measured - 1) of the networks that it is
            fitted to.
        error: error of its predictions; their intervals follow from it.
    """

    table: LatencyTable
    constant_ms: float
    block_ms: Callable[[Block], float]
    relative_errors: tuple[float, ...]
    error: ErrorSpread
    _cache: dict[Block, float] = field(default_factory=dict, repr=False, compare=False)
    _scorers: dict[Workload, tuple[Scorer, Scorer]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def fit(cls, table: LatencyTable, workload: Workload | None = None) -> LatencyPredictor:
        """Fit to a table.

        Args:
            table: the table.
            workload: workload to predict for. If a measured table has at least `MIN_NETWORKS` whole
                networks of its image size, the fit uses these alone, because small images need
                another correction than large ones. None fits to all networks.

        Raises:
            TableError: the table has too few whole networks (the message says how many, and what
                to run), or its rows are implausible or contradict each other.
        """
        networks = _networks_for(table, workload)
        if table.meta.kind == "adapted":
            return cls._of_adapted(table)
        fit = _fit_published if table.meta.kind == "published" else _fit_measured
        if len(networks) < MIN_NETWORKS:
            raise TableError(
                f"{table.path}: has {len(networks)} whole networks, the predictor needs at least "
                f"{MIN_NETWORKS}; measure them on the device with: "
                f"{remeasure_command(table)}"
            )
        if table.meta.kind == "measured":
            try:
                check_plausible(table.blocks, table.networks, table.meta)
            except ValueError as error:
                raise TableError(
                    f"{table.path}: {error}; mend or delete that row, or measure again"
                ) from None
        constant_ms, block_ms, parameters = fit(table, networks)
        errors = _left_out_errors(table, networks)
        spread = ErrorSpread(log_deviation(errors), len(errors) - parameters)
        if table.meta.kind == "measured":
            own = max(spread.own, LEAST_DEVIATION)
            spread = ErrorSpread(own, spread.freedom, SHARED_DEVIATION)
        if spread.factor() > MAX_FACTOR:
            mean = 100 * float(np.mean(np.abs(errors)))
            raise TableError(
                f"{table.path}: its blocks do not explain its networks (mean error {mean:.3g}%): "
                f"some rows are wrong, or from another device; delete the folder and measure again"
            )
        return cls(table, constant_ms, block_ms, tuple(errors), spread)

    @classmethod
    def _of_adapted(cls, table: LatencyTable) -> LatencyPredictor:
        from nas.latency.predict.transfer import MIN_SAMPLES, samples_error

        errors = table.meta.relative_errors
        if len(errors) < MIN_SAMPLES:
            raise TableError(f"{table.path / 'meta.json'}: has no relative_errors to trust it by")

        def block_ms(block: Block) -> float:
            return float(block_sums(table, [block])[0, 0])

        return cls(table, table.meta.constant_ms, block_ms, errors, samples_error(errors))

    def recalibrated(
        self,
        architectures: Sequence[Architecture],
        latency_ms: Sequence[float],
        workload: Workload = IMAGENET,
    ) -> LatencyPredictor:
        """Return a predictor that is corrected by networks measured in this session.

        Every prediction is multiplied by one factor, and intervals become narrower; see
        `ErrorSpread.after`.

        Args:
            architectures: the n measured networks; without any, the predictor stays as it is.
            latency_ms: their measured latencies, [n].
            workload: workload of the networks.
        """
        if not architectures:
            return self
        predicted = self.predict(architectures, workload).latency_ms
        noise = self.error.shared_by(len(architectures))
        mean = float(np.mean(np.log(np.asarray(latency_ms) / predicted)))
        return self._multiplied(*self.error.after(mean, noise))

    def in_session(self, ratios: Sequence[float]) -> LatencyPredictor:
        """Return a predictor that is corrected by networks of the table, measured once more.

        Their latencies need no prediction, so they show what the session shares more exactly than
        other networks do.

        Args:
            ratios: latency in this session / latency in the table of each network; without any,
                the predictor stays as it is.
        """
        if not ratios:
            return self
        middle = math.log(float(np.median(ratios)))  # one disturbed measurement decides nothing
        noise = MEDIAN_NOISE * MEASURED_AGAIN.own / math.sqrt(len(ratios))
        return self._multiplied(*self.error.after(middle, noise))

    def _multiplied(self, shift: float, error: ErrorSpread) -> LatencyPredictor:
        """Return this predictor with all predictions multiplied by ``exp(shift)``."""
        factor = math.exp(shift)
        return replace(
            self,
            constant_ms=factor * self.constant_ms,
            block_ms=lambda block: factor * self.block_ms(block),
            error=error,
            _cache={},
            _scorers={},
        )

    @property
    def mean_error(self) -> float:
        """Mean absolute leave-one-out error, as a fraction."""
        return float(np.mean(np.abs(self.relative_errors)))

    def breakdown(self, blocks: Iterable[Block]) -> list[tuple[Block, float]]:
        """Latency in ms of each block inside a network.

        These latencies and ``constant_ms`` add up to the latency of the network.

        Raises:
            TableError: a block was never measured; names it.
        """
        return [(block, self.predict_block(block)) for block in blocks]

    def predict_block(self, block: Block) -> float:
        """Latency in ms of one block inside a network; errors as `breakdown`."""
        value = self._cache.get(block)
        if value is None:
            value = self._cache[block] = self.block_ms(block)
        return value

    def predict_blocks(self, blocks: Iterable[Block]) -> float:
        """Latency in ms of a network given as its blocks; errors as `breakdown`."""
        return self.constant_ms + sum(self.predict_block(block) for block in blocks)

    def predict(
        self,
        architectures: Sequence[Architecture],
        workload: Workload = IMAGENET,
        confidence: float = CONFIDENCE,
    ) -> Prediction:
        """Predict the latencies of networks, with their intervals.

        Args:
            architectures: the networks to predict.
            workload: size of input and output; the batch size is always the table's.
            confidence: share of networks whose measured latency should be inside the interval.

        Raises:
            TableError: a block was never measured; names it.
        """
        scorers = self._scorers.get(workload)
        if scorers is None:
            half_width = self.table.interpolated.get
            scorers = self._scorers[workload] = (
                Scorer(self.constant_ms, self.predict_block, workload),
                Scorer(0.0, lambda block: half_width(block, 0.0), workload),
            )
        latencies, interpolated = scorers
        latency = np.array(latencies.latencies_ms(architectures))
        factor = self.error.factor(confidence)
        low, high = latency / factor, latency * factor
        if self.table.interpolated:
            # Estimates of similar blocks are off together, so their half widths add up.
            half = np.array(interpolated.latencies_ms(architectures))
            half *= self.error.quantile(confidence) / self.error.quantile()
            low, high = np.maximum(low - half, 0.1 * latency), high + half
        return Prediction(latency, low, high)


def fit_by_size(table: LatencyTable) -> list[tuple[list[int | str], LatencyPredictor]]:
    """Fit the predictors for the image sizes of a table's networks, from small to large images.

    Returns:
        Each predictor with the resolutions (`Workload.resolution`) that it is used for.

    Raises:
        TableError: see `LatencyPredictor.fit`.
    """
    sizes: dict[int | str, Workload] = {}
    for row in sorted(table.networks, key=lambda r: (r.workload.height, r.workload.width)):
        sizes.setdefault(row.workload.resolution, row.workload)
    shared: dict[tuple[NetworkRow, ...], list[int | str]] = {}
    for resolution, workload in sizes.items():
        shared.setdefault(_networks_for(table, workload), []).append(resolution)
    return [(found, LatencyPredictor.fit(table, sizes[found[0]])) for found in shared.values()] or [
        ([], LatencyPredictor.fit(table))
    ]


def _networks_for(table: LatencyTable, workload: Workload | None) -> tuple[NetworkRow, ...]:
    """Return the whole networks to which a predictor for a workload is fitted; see `fit`.

    A roofline holds at every image size, so it is fitted to all published networks.
    """
    if workload is None or table.meta.kind != "measured":
        return table.networks
    same = table.networks_at(workload)
    return same if len(same) >= MIN_NETWORKS else table.networks


_Fit = tuple[float, Callable[[Block], float], int]
"""Constant in ms, time of a block in ms, number of parameters that were fitted."""


def _fit_published(table: LatencyTable, networks: Sequence[NetworkRow]) -> _Fit:
    from nas.latency.predict.roofline import fit_roofline  # scipy is not needed for measured tables

    meta = table.meta
    roofline = fit_roofline(
        [row.blocks() for row in networks],
        [row.timing.latency_ms for row in networks],
        meta.precision,
        meta.batch_size,
    )
    return 0.0, roofline.block_ms, 3


def _left_out_errors(table: LatencyTable, networks: Sequence[NetworkRow]) -> list[float]:
    """Errors (predicted / measured - 1) of networks that are left out of the fit in turn.

    Of published networks, of which each fit takes long, every `MAX_PUBLISHED_FITS`-th is left out
    together if there are more than that.
    """
    if table.meta.kind == "measured":
        features, measured = _sums(table, networks)
        predicted = leave_one_out(
            features, measured, prior=PLAIN_SUM, ridge=RIDGE, constant_ridge=RIDGE
        )
        return [float(error) for error in predicted / measured - 1]
    errors = [0.0] * len(networks)
    for first in range(min(len(networks), MAX_PUBLISHED_FITS)):
        left_out = range(first, len(networks), MAX_PUBLISHED_FITS)
        others = [row for index, row in enumerate(networks) if index not in left_out]
        constant_ms, block_ms, _ = _fit_published(table, others)
        for index in left_out:
            predicted_ms = constant_ms + sum(map(block_ms, networks[index].blocks()))
            errors[index] = predicted_ms / networks[index].timing.latency_ms - 1
    return errors


def _sums(
    table: LatencyTable, networks: Sequence[NetworkRow]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features of networks for the correction, [n, 4], and their latencies in ms, [n]."""
    features = np.array([block_sums(table, row.blocks()).sum(axis=0) for row in networks])
    return features, np.array([row.timing.latency_ms for row in networks])


def _fit_measured(table: LatencyTable, networks: Sequence[NetworkRow]) -> _Fit:
    features, measured = _sums(table, networks)
    model = fit_additive(features, measured, prior=PLAIN_SUM, ridge=RIDGE, constant_ridge=RIDGE)

    def block_ms(block: Block) -> float:
        return float(block_sums(table, [block])[0] @ model.coefficients)

    return model.constant_ms, block_ms, len(PLAIN_SUM) + 1


def block_sums(table: LatencyTable, blocks: Sequence[Block]) -> NDArray[np.float64]:
    """Features of each block, [blocks, 4], which the correction sums over a network.

    The features are those of `PLAIN_SUM`.

    Raises:
        TableError: a block was never measured; names it.
    """
    values = []
    for block in blocks:
        timing = table.blocks.get(block)
        if timing is None:
            advice = (
                "delete that folder and adapt or measure it for what is wanted now"
                if table.meta.kind == "adapted"
                else f"measure its space at that size, see {folders.command()} tables measure "
                "--help, or estimate it with --interpolate"
            )
            raise TableError(f"{table.path}: no row for the block {block}; {advice}")
        role = kind_of(block.kind).role
        counts = float(role == "convolution"), float(role == "transformer")
        values.append((timing.latency_ms, *counts, block_cost(block).weights / 1e6))
    return np.array(values)
