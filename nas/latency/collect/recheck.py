"""Checks whether a table is still valid by measuring and predicting some networks."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from nas.errors import TableError
from nas.latency.collect.tables import measure_networks
from nas.latency.predict.intervals import ErrorSpread
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.table import LatencyTable
from nas.measurement.protocol import Timing
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.space.workload import Workload

RARE = 0.01
"""Significance level: a table is rejected if errors like these, or larger ones, are less probable
than this for a valid table."""


@dataclass(frozen=True)
class Recheck:
    """Networks with their predicted and newly measured latencies.

    Attributes:
        networks: random networks that the table has not measured, each with its prediction as
            (latency, low, high) in ms, and its new timing.
        error: spread of the errors of the predictions.
    """

    networks: tuple[tuple[Architecture, tuple[float, float, float], Timing], ...]
    error: ErrorSpread

    @property
    def inside(self) -> int:
        """Number of networks whose measured latency is inside the 90% prediction interval."""
        return sum(low <= t.latency_ms <= high for _, (_, low, high), t in self.networks)

    @property
    def mean_error(self) -> float:
        """Mean absolute relative error of the predictions, as a fraction."""
        errors = [abs(p[0] / t.latency_ms - 1) for _, p, t in self.networks]
        return sum(errors) / len(errors)

    @property
    def steady(self) -> bool:
        """Whether all networks could be measured well enough to tell whether the table is valid."""
        return all(timing.steady for _, _, timing in self.networks)

    @property
    def shift(self) -> float:
        """Mean log(measured / predicted): how much slower the device is than the table says."""
        return sum(self._log_ratios()) / len(self.networks)

    @property
    def holds(self) -> bool:
        """Whether the table is still valid: the errors of its predictions can be due to chance.

        The networks of a session are off together, and those of one kind as well. So what they
        share is compared with the deviation of sessions, and what is left with the networks' own.
        """
        from scipy.special import chdtrc, stdtr

        count, freedom = len(self.networks), max(1, self.error.freedom)
        together = math.hypot(self.error.shared, self.error.shared_by(count))
        chance = 2 * stdtr(freedom, -abs(self.shift) / together)
        left = sum((ratio - self.shift) ** 2 for ratio in self._log_ratios()) / self.error.own**2
        return bool(chance >= RARE and (count < 2 or chdtrc(count - 1, left) >= RARE))

    def _log_ratios(self) -> list[float]:
        return [math.log(t.latency_ms / p[0]) for _, p, t in self.networks]


def recheck(
    table: LatencyTable,
    space: SearchSpace,
    count: int,
    seed: int,
    workload: Workload,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Recheck:
    """Measure random networks of a space on this machine and predict them from a table.

    Args:
        table: measured on this machine.
        space: where the networks come from; the table must have its blocks.
        count: number of networks to measure.
        seed: seed of the choice of networks.
        workload: one of `measured_workloads`.
        progress: called with the number of measured networks and the total number.

    Raises:
        TableError: the table lacks blocks of the space, or has measured all its networks.
        RuntimeUnavailableError: the runtime is missing here.
    """
    networks = unmeasured_networks(table, space, count, seed)
    predictor = LatencyPredictor.fit(table, workload)
    prediction = predictor.predict(networks, workload)
    timings = measure_networks(networks, table, workload, progress)
    predicted = zip(prediction.latency_ms, prediction.low_ms, prediction.high_ms, strict=True)
    return Recheck(
        tuple(
            (network, (float(p[0]), float(p[1]), float(p[2])), timing)
            for network, p, timing in zip(networks, predicted, timings, strict=True)
        ),
        predictor.error,
    )


def measured_workloads(table: LatencyTable) -> list[Workload]:
    """A workload of each image size at which a table has networks, in the table's order.

    Raises:
        TableError: the table has no networks.
    """
    if not table.networks:
        raise TableError(f"{table.path}: has no networks, so no predictor")
    sizes: dict[int | str, Workload] = {}
    for row in table.networks:
        sizes.setdefault(row.workload.resolution, row.workload)
    return list(sizes.values())


def unmeasured_networks(
    table: LatencyTable, space: SearchSpace, count: int, seed: int
) -> list[Architecture]:
    """Sample ``count`` networks, small and large, that a table has not measured.

    Returns:
        Distinct networks; fewer than ``count`` if the space is tiny.

    Raises:
        TableError: the table has measured every network of the space.
    """
    rng = random.Random(10_000 + seed)
    known = {row.architecture for row in table.networks}
    networks: dict[Architecture, None] = {}
    attempts = 0
    while len(networks) < count and attempts < 100 * count:
        network = space.sample(rng, size_bias=rng.uniform(-3.0, 3.0))
        attempts += 1
        if network not in known:
            networks[network] = None
    if not networks:
        raise TableError(f"{table.path}: has measured every network of space {space.name!r}")
    return list(networks)
