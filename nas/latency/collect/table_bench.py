"""A bench that measures `Block`s and `Architecture`s: it writes their model files first."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nas.latency.table.catalog import TableKey
from nas.latency.table.table import NetworkRow
from nas.measurement.bench_process import BenchProcess
from nas.measurement.protocol import BLOCK_EFFORT, Effort, Timing
from nas.measurement.runtimes import RUNTIMES
from nas.models.model_files.writer import ModelWriter
from nas.space.architecture import Architecture
from nas.space.block import Block
from nas.space.workload import Workload


@dataclass(frozen=True)
class TableBench:
    """Measures blocks and networks for a table; made by `open_bench`.

    Attributes:
        process: the child process that measures.
        writer: writes the model files.
        folder: temporary folder of the model files.
    """

    process: BenchProcess
    writer: ModelWriter
    folder: Path

    def blocks(self, blocks: Sequence[Block]) -> list[Timing]:
        """Measure isolated blocks; the timings are without the overhead of a call."""
        files = [
            self.writer.block(block, self.writer.path(self.folder, f"block-{block.id}"))
            for block in blocks
        ]
        timings = self._measure_and_delete(files, BLOCK_EFFORT)
        return [timing.without(self.process.overhead_ms) for timing in timings]

    def networks(
        self,
        networks: Sequence[Architecture],
        workload: Workload,
        effort: Effort,
    ) -> list[NetworkRow]:
        """Measure whole networks; the timings include the overhead of a call."""
        files = [
            self.writer.network(
                network,
                workload,
                self.writer.path(self.folder, f"network-{network.id}"),
            )
            for network in networks
        ]
        return [
            NetworkRow(network.id, workload, network, timing)
            for network, timing in zip(
                networks, self._measure_and_delete(files, effort), strict=True
            )
        ]

    def quiet_ms(self) -> float:
        """Latency of the reference block while the machine was quiet, in ms."""
        return self.process.quiet_ms()

    def _measure_and_delete(self, files: Sequence[Path], effort: Effort) -> list[Timing]:
        timings = self.process.measure(files, effort)
        for file in files:
            if file.is_dir():  # a Core ML package
                shutil.rmtree(file)
            else:
                file.unlink()
        return timings


@contextmanager
def open_bench(key: TableKey, reference_ms: float | None = None) -> Iterator[TableBench]:
    """Open a bench for a table's target, precision and batch size.

    Args:
        key: key of the table; its precision and batch size must be set.
        reference_ms: reference latency in the table's metadata; None for a new table.

    Raises:
        RuntimeUnavailableError: the runtime is missing here, or cannot run the reference.
    """
    assert key.precision and key.batch_size
    writer = ModelWriter(RUNTIMES[key.target], key.precision, key.batch_size)
    with tempfile.TemporaryDirectory(prefix="nas-bench-") as name:
        folder = Path(name)
        with BenchProcess(
            key.target,
            key.precision,
            writer.reference(folder),
            writer.empty(folder),
            reference_ms,
        ) as process:
            yield TableBench(process, writer, folder)
