"""The limits of a search. Latency is predicted, so nothing over a limit is ever trained."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import ConfigError
from nas.latency.predict.intervals import CONFIDENCE
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.predict.scorer import Scorer
from nas.models.cost import block_cost
from nas.precision import BYTES
from nas.results.values import Latency
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.space.workload import Workload

if TYPE_CHECKING:
    from numpy.typing import NDArray


MIN_FALL = 0.04
"""Larger networks fit if the upper end of a latency interval falls by at least this share."""

NEAR_LIMIT = 0.8
"""Such a fall matters only for networks whose latency ratio is at least this."""


@dataclass(frozen=True)
class DeviceBudget:
    """A latency limit on one device.

    Attributes:
        predictor: predictor of the device.
        budget_ms: highest latency that may be trained.
        asked: the budget as the user wrote it; empty for ``budget_ms``.
    """

    predictor: LatencyPredictor
    budget_ms: float
    asked: str = ""


@dataclass(frozen=True)
class Budget:
    """Every limit of a search.

    Attributes:
        space: where candidates come from.
        devices: latency limits, one per device.
        workload: workload of the network to deploy; each device has its own batch size.
        confidence: a latency is within its limit if the upper end of its interval of this
            confidence is.
        max_params, max_macs: limits of size, None for none; MACs are for one image.
        max_size_bytes: largest size of the weights, BatchNorms folded, on the device whose
            precision takes most bytes.
    """

    space: SearchSpace
    devices: tuple[DeviceBudget, ...]
    workload: Workload
    confidence: float = CONFIDENCE
    max_params: float | None = None
    max_macs: float | None = None
    max_size_bytes: float | None = None
    _sizes: list[tuple[float, Scorer]] = field(
        init=False, default_factory=list, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.max_params is not None:
            params = Scorer(0.0, lambda block: float(block_cost(block).params), self.workload)
            self._sizes.append((self.max_params, params))
        if self.max_macs is not None:
            macs = Scorer(0.0, lambda block: float(block_cost(block).macs), self.workload)
            self._sizes.append((self.max_macs, macs))
        if self.max_size_bytes is not None:
            width = max(BYTES[device.predictor.table.meta.precision] for device in self.devices)
            size = Scorer(
                0.0, lambda block: float(width * block_cost(block).weights), self.workload
            )
            self._sizes.append((self.max_size_bytes, size))

    def latencies(self, architecture: Architecture) -> tuple[Latency, ...]:
        """Predicted latency with its interval on each device."""
        found = []
        for device in self.devices:
            one = device.predictor.predict([architecture], self.workload, self.confidence)
            numbers = (float(one.latency_ms[0]), float(one.low_ms[0]), float(one.high_ms[0]))
            found.append(Latency(*numbers))
        return tuple(found)

    def breakdown(self, architecture: Architecture, device: int = 0) -> tuple[float, ...]:
        """Predicted milliseconds of each Block, in order; the device's constant is left out."""
        blocks = architecture.blocks(self.workload)
        predictor = self.devices[device].predictor
        return tuple(block_ms for _, block_ms in predictor.breakdown(blocks))

    def latency_ratio(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """Upper ends of predicted latencies over their budgets: [n, devices].

        Where a limit of size is broken, at least the size over that limit.
        """
        ratios = self.ratios(architectures)
        latency, sizes = np.split(ratios, [len(self.devices)], axis=1)
        broken = np.where(sizes > 1.0, sizes, 0.0).max(axis=1, initial=0.0)
        ratio: NDArray[np.float64] = np.maximum(latency, broken[:, None])
        return ratio

    def ratios(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """Ratios of latencies, parameters, MACs and bytes to the given limits: [n, limits]."""
        columns = []
        for device in self.devices:
            found = device.predictor.predict(architectures, self.workload, self.confidence)
            columns.append(found.high_ms / device.budget_ms)
        for limit, size in self._sizes:
            columns.append(np.array(size.latencies_ms(architectures)) / limit)
        return np.stack(columns, axis=1)

    def fits(self, architecture: Architecture) -> bool:
        """Whether every limit is kept."""
        return bool(np.all(self.ratios([architecture]) <= 1.0))

    def allows_more_than(self, before: Budget, architecture: Architecture) -> bool:
        """Whether clearly larger networks fit than ``before``, so that a search should continue.

        Args:
            before: the same limits with other predictors.
            architecture: the network whose latencies are compared.
        """
        now, then = (float(budget.latency_ratio([architecture]).max()) for budget in (self, before))
        return then > NEAR_LIMIT and now < (1 - MIN_FALL) * then

    def fastest(self) -> Architecture:
        """The architecture whose largest ratio is smallest, found by steepest descent.

        Every limit is on a sum over blocks, so that changing one parameter at a time leads to the
        same end from nearly everywhere. Several starts guard against the exceptions.
        """
        return self._least(slice(None))

    def require_feasible(self) -> Architecture:
        """The fastest architecture.

        Raises:
            ConfigError: even that breaks a limit; says how fast or how small it is.
        """
        fastest = self.fastest()
        if self.fits(fastest):
            return fastest
        for index, device in enumerate(self.devices):
            best = self._least(slice(index, index + 1))
            latency = self.latencies(best)[index]
            if latency.high_ms > device.budget_ms:
                table, asked = device.predictor.table, device.asked or f"{device.budget_ms:g}ms"
                raise ConfigError(
                    f"--budget {asked} is below the fastest network of space "
                    f"{self.space.name!r}, {table.latency_kind} to take {latency.latency_ms:.2f} "
                    f"ms on {table.name} at {self.workload.resolution} pixels, and with "
                    f"{100 * self.confidence:g}% confidence at most {latency.high_ms:.2f} ms: "
                    f"raise the budget, lower --resolution, or use a space with smaller networks"
                )
        for name, limit, index in self._size_limits():
            best = self._least(slice(index, index + 1))
            smallest = float(self.ratios([best])[0, index]) * limit
            if smallest > limit:
                unit = "B" if name == "--max-size" else ""
                raise ConfigError(
                    f"{name} {_amount(limit)}{unit} is below the smallest network of space "
                    f"{self.space.name!r}, which has {_amount(smallest)}{unit}: raise it, or use a "
                    f"space with smaller networks"
                )
        raise ConfigError(
            f"no network of space {self.space.name!r} keeps all limits at once: the nearest one "
            f"found is {100 * (self.ratios([fastest]).max() - 1):.0f}% over one of them: raise a "
            f"limit, or use a space with smaller networks"
        )

    def _size_limits(self) -> list[tuple[str, float, int]]:
        """Each size limit that was given: its option, its value and its column in `ratios`."""
        limits = (
            ("--max-params", self.max_params),
            ("--max-macs", self.max_macs),
            ("--max-size", self.max_size_bytes),
        )
        given = [(name, limit) for name, limit in limits if limit is not None]
        first = len(self.devices)
        return [(name, limit, first + index) for index, (name, limit) in enumerate(given)]

    def _least(self, limits: slice) -> Architecture:
        rng = random.Random(0)
        starts = [self.space.build_from({}), *(self.space.sample(rng, -3.0) for _ in range(3))]
        ends = [self._descend(start, limits) for start in starts]
        return min(ends, key=lambda a: self._ratio(a, limits))

    def _descend(self, architecture: Architecture, limits: slice) -> Architecture:
        ratio = self._ratio(architecture, limits)
        while True:
            options = list(self.space.neighbours(architecture))
            if not options:
                return architecture
            ratios = self.ratios(options)[:, limits].max(axis=1)
            best = int(np.argmin(ratios))
            if ratios[best] >= ratio:
                return architecture
            architecture, ratio = options[best], float(ratios[best])

    def _ratio(self, architecture: Architecture, limits: slice) -> float:
        return float(self.ratios([architecture])[0, limits].max())


def _amount(count: float) -> str:
    """Text of a count: in millions where it is at least one million."""
    return f"{count / 1e6:.6g}M" if count >= 1e6 else f"{count:.0f}"
