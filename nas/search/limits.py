"""The limits of a search. Latency is predicted, so no network over a limit is ever trained."""

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
"""Share by which the latency ratio of a network must fall for larger networks to fit, see
`Budget.allows_more_than`."""

NEAR_LIMIT = 0.8
"""Such a fall counts only for a network whose latency ratio was above this."""


@dataclass(frozen=True)
class DeviceBudget:
    """A latency limit on one device.

    Attributes:
        predictor: latency predictor of the device.
        budget_ms: highest latency that is allowed.
        asked: the budget as the user wrote it, for messages; if empty, they name ``budget_ms``.
    """

    predictor: LatencyPredictor
    budget_ms: float
    asked: str = ""


@dataclass(frozen=True)
class Budget:
    """Every limit of a search.

    Attributes:
        space: search space of the candidates.
        devices: latency limits, one per device.
        workload: image size and outputs of the network to deploy, at batch size 1. The batch size
            of each device is in its table.
        confidence: confidence of the latency intervals. A latency is within its budget if the
            upper end of its interval is.
        max_params: largest number of parameters; None for no limit.
        max_macs: largest number of MACs for one image; None for no limit.
        max_size_bytes: largest size of the weights after BatchNorms are folded; None for no limit.
            With several devices, the precision that takes most bytes counts.
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
        """Return the predicted latency on each device, with its interval."""
        found = []
        for device in self.devices:
            one = device.predictor.predict([architecture], self.workload, self.confidence)
            numbers = (float(one.latency_ms[0]), float(one.low_ms[0]), float(one.high_ms[0]))
            found.append(Latency(*numbers))
        return tuple(found)

    def breakdown(self, architecture: Architecture, device: int = 0) -> tuple[float, ...]:
        """Return the predicted milliseconds of each `Block` of an architecture, in order.

        The predictor's constant, which is the time beyond the blocks, is left out.

        Args:
            architecture: the network.
            device: index of the device.
        """
        blocks = architecture.blocks(self.workload)
        predictor = self.devices[device].predictor
        return tuple(block_ms for _, block_ms in predictor.breakdown(blocks))

    def latency_ratio(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """Return the latency ratios of architectures: [n, devices].

        A latency ratio is the upper end of the predicted interval, divided by the budget. If
        parameters, MACs or bytes are over their limits, the largest of their ratios to the limits
        replaces every latency ratio that is lower.
        """
        ratios = self.ratios(architectures)
        latency, sizes = np.split(ratios, [len(self.devices)], axis=1)
        broken = np.where(sizes > 1.0, sizes, 0.0).max(axis=1, initial=0.0)
        ratio: NDArray[np.float64] = np.maximum(latency, broken[:, None])
        return ratio

    def ratios(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """Return what architectures use of each limit, as value / limit: [n, limits].

        The first columns are the latencies of the devices (upper ends of the intervals). Then come
        parameters, MACs and bytes, as far as they are limited.
        """
        columns = []
        for device in self.devices:
            found = device.predictor.predict(architectures, self.workload, self.confidence)
            columns.append(found.high_ms / device.budget_ms)
        for limit, size in self._sizes:
            columns.append(np.array(size.latencies_ms(architectures)) / limit)
        return np.stack(columns, axis=1)

    def fits(self, architecture: Architecture) -> bool:
        """Return whether an architecture keeps every limit."""
        return bool(np.all(self.ratios([architecture]) <= 1.0))

    def allows_more_than(self, before: Budget, architecture: Architecture) -> bool:
        """Return whether clearly larger networks fit now than did ``before``.

        If so, a search should continue.

        Args:
            before: the same limits with the earlier predictors.
            architecture: the network whose latencies are compared.
        """
        now, then = (float(budget.latency_ratio([architecture]).max()) for budget in (self, before))
        return then > NEAR_LIMIT and now < (1 - MIN_FALL) * then

    def fastest(self) -> Architecture:
        """Find the architecture whose highest value in `ratios` is lowest, by steepest descent.

        Every limited quantity is a sum over blocks. So a descent that changes one parameter at a
        time ends at the same architecture from nearly every start; several starts are tried.
        """
        return self._least(slice(None))

    def require_feasible(self) -> Architecture:
        """Return the result of `fastest`, after checking that it keeps every limit.

        Raises:
            ConfigError: it breaks a limit; the message says how fast or small a network can be.
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
        """Return option, value and column in `ratios` of each limit of size that was given."""
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
    """Write a count as text, in millions (``25M``) from one million on."""
    return f"{count / 1e6:.6g}M" if count >= 1e6 else f"{count:.0f}"
