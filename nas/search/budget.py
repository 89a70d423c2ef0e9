"""Latency is known before anything is trained: what fits a budget, and what is fastest."""

from __future__ import annotations

import random
from dataclasses import dataclass

from nas.architecture import Architecture
from nas.errors import ConfigError
from nas.latency.predictor import LatencyPredictor
from nas.search.result import Latency
from nas.space import SearchSpace


@dataclass(frozen=True)
class Budget:
    """A latency limit on one device.

    Attributes:
        space: where candidates come from.
        predictor: of the device.
        budget_ms: highest predicted latency that may be trained.
        resolution, num_classes: of the network to deploy.
    """

    space: SearchSpace
    predictor: LatencyPredictor
    budget_ms: float
    resolution: int
    num_classes: int

    def latency(self, architecture: Architecture) -> Latency:
        """Predicted latency with its interval."""
        found = self.predictor.predict([architecture], self.resolution, self.num_classes)
        return Latency(float(found.latency_ms[0]), float(found.low_ms[0]), float(found.high_ms[0]))

    def breakdown(self, architecture: Architecture) -> tuple[float, ...]:
        """Where the predicted milliseconds go, Block by Block; the device's constant is not in."""
        blocks = architecture.blocks(self.resolution, self.num_classes)
        return tuple(block_ms for _, block_ms in self.predictor.breakdown(blocks))

    def fits(self, architecture: Architecture) -> bool:
        """Whether the predicted latency is within the budget."""
        return self.latency(architecture).latency_ms <= self.budget_ms

    def fastest(self) -> Architecture:
        """The fastest architecture of the space: the end of steepest descents.

        Latency is a sum over blocks, so changing one parameter at a time leads to the same
        end from nearly everywhere; several starts guard against the exceptions.
        """
        rng = random.Random(0)
        starts = [self.space.build_from({}), *(self.space.sample(rng, -3.0) for _ in range(3))]
        ends = [self._descend(start) for start in starts]
        return min(ends, key=self._latency_ms)

    def require_feasible(self) -> Architecture:
        """The fastest architecture.

        Raises:
            ConfigError: even that breaks the budget; says how fast it is.
        """
        fastest = self.fastest()
        fastest_ms = self._latency_ms(fastest)
        if fastest_ms > self.budget_ms:
            table = self.predictor.table
            raise ConfigError(
                f"--budget {self.budget_ms:g}ms is below the fastest network of space "
                f"{self.space.name!r}, {table.latency_kind} to take {fastest_ms:.2f} ms on "
                f"{table.name} at {self.resolution} pixels: raise the budget, lower "
                f"--resolution, or use a space with smaller networks"
            )
        return fastest

    def initial(self, count: int, rng: random.Random) -> list[Architecture]:
        """Up to ``count`` different architectures that use as much of the budget as they can.

        Random samples, tilted towards the sizes that fit; the best of several for each.
        """
        found: dict[Architecture, None] = {}
        fastest = self.fastest()
        for _ in range(count):
            samples = [self.space.sample(rng, rng.uniform(-4.0, 4.0)) for _ in range(200)]
            fitting = [s for s in samples if s not in found and self.fits(s)]
            if fitting:
                aim_ms = self.budget_ms * rng.uniform(0.5, 1.0)
                found[min(fitting, key=lambda a: abs(self._latency_ms(a) - aim_ms))] = None
            else:
                found[self.wander(fastest, rng)] = None
        return list(found)

    def wander(self, start: Architecture, rng: random.Random, steps: int = 8) -> Architecture:
        """Where some random changes lead that each stay within the budget."""
        current = start
        for _ in range(steps):
            neighbour = self.space.mutate(current, rng)
            if self.fits(neighbour):
                current = neighbour
        return current

    def _latency_ms(self, architecture: Architecture) -> float:
        return self.latency(architecture).latency_ms

    def _descend(self, architecture: Architecture) -> Architecture:
        current_ms = self._latency_ms(architecture)
        while True:
            options = list(self.space.neighbours(architecture))
            best = min(options, key=self._latency_ms, default=architecture)
            if self._latency_ms(best) >= current_ms:
                return architecture
            architecture, current_ms = best, self._latency_ms(best)
