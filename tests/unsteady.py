"""A bench on a machine that is too busy to measure well."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from types import SimpleNamespace

from nas.latency.table.table import NetworkRow
from nas.measurement.protocol import Effort, Timing
from nas.space.architecture import Architecture
from nas.space.block import Block
from nas.space.workload import Workload
from tests.tiny import made_up_ms


class UnsteadyBench:
    """Has the interface of `nas.latency.collect.table_bench.TableBench`, and made-up latencies.

    Args:
        models: blocks and networks whose latencies are not steady at first.
        times: how often they are not.

    Attributes:
        scale: factor of the next network's latency.
    """

    def __init__(self, models: Iterable[Hashable], times: int) -> None:
        self.left = dict.fromkeys(models, times)
        self.process = SimpleNamespace(reference_ms=2.0, overhead_ms=0.01)
        self.measured: list[Hashable] = []
        self.scale: Callable[[], float] = lambda: 1.0

    def blocks(self, blocks: Sequence[Block]) -> list[Timing]:
        return [self._timing(block, made_up_ms(block)) for block in blocks]

    def networks(
        self, networks: Sequence[Architecture], workload: Workload, effort: Effort
    ) -> list[NetworkRow]:
        rows = []
        for network in networks:
            total_ms = sum(made_up_ms(block) for block in network.blocks(workload))
            timing = self._timing(network, 0.95 * total_ms * self.scale())
            rows.append(NetworkRow(network.id, workload, network, timing))
        return rows

    def quiet_ms(self) -> float:
        return 2.0

    def _timing(self, model: Hashable, latency_ms: float) -> Timing:
        self.measured.append(model)
        self.left[model] = self.left.get(model, 0) - 1
        return Timing(latency_ms, 150.0 if self.left[model] >= 0 else 0.5, 1.0, 30, 2.0)
