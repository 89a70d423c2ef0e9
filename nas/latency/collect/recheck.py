"""Checks whether a table is still valid by measuring and predicting some networks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from nas.errors import TableError
from nas.latency.collect.tables import measure_networks
from nas.latency.predict.intervals import CONFIDENCE
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.table import LatencyTable
from nas.measurement.protocol import Timing
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.space.workload import Workload

RARE = 0.01
"""Significance level: a table is rejected if the probability that a valid table has so few networks
inside their intervals is below this."""

MAX_ERROR = 2.0
"""A table is also rejected if its mean error is larger than this, in units of the mean half width
of the intervals. A valid table has about 0.5."""


@dataclass(frozen=True)
class Recheck:
    """Networks with their predicted and newly measured latencies.

    Attributes:
        networks: random networks that the table has not measured, each with its prediction as
            (latency, low, high) in ms, and its new timing.
    """

    networks: tuple[tuple[Architecture, tuple[float, float, float], Timing], ...]

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
    def holds(self) -> bool:
        """Whether the table is still valid: the errors of its predictions can be due to chance."""
        from scipy.special import bdtr

        halves = [(high - low) / 2 / latency for _, (latency, low, high), _ in self.networks]
        near = self.mean_error <= MAX_ERROR * sum(halves) / len(halves)
        return near and bool(bdtr(self.inside, len(self.networks), CONFIDENCE) >= RARE)


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
    prediction = LatencyPredictor.fit(table, workload).predict(networks, workload)
    timings = measure_networks(networks, table, workload, progress)
    predicted = zip(prediction.latency_ms, prediction.low_ms, prediction.high_ms, strict=True)
    return Recheck(
        tuple(
            (network, (float(p[0]), float(p[1]), float(p[2])), timing)
            for network, p, timing in zip(networks, predicted, timings, strict=True)
        )
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
