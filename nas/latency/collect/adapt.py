"""Makes a table for a new device from a few measured networks and other devices' tables."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.errors import TableError, TableWarning
from nas.latency.collect.table_bench import open_bench
from nas.latency.collect.tables import Progress, measurable_key, network_rows, new_meta
from nas.latency.predict.predictor import MAX_FACTOR, LatencyPredictor
from nas.latency.predict.transfer import MIN_SAMPLES, Transfer, choose_samples, fit_transfer
from nas.latency.table.catalog import list_tables, new_table_folder, table_folders, table_path
from nas.latency.table.files import read_table, write_table
from nas.latency.table.table import LatencyTable, NetworkRow, TableMeta
from nas.measurement.protocol import NOT_STEADY, Timing
from nas.space.architecture import Architecture
from nas.space.block import Block
from nas.space.search_space import SearchSpace
from nas.space.workload import IMAGENET, Workload

POOL = 400
"""Number of random networks of the space from which the ones to measure are chosen."""

MAX_SAMPLES = 100
"""Largest number of networks to measure. A whole table does not need as many."""

LOWEST_MS = 1e-4
"""Least latency of a block in an adapted table, in ms. Without this limit the mix of sources could
be lower, or negative."""


@dataclass(frozen=True)
class Adapted:
    """A table made from few measurements.

    Attributes:
        table: this machine's table.
        sources: coefficient of each source table in the mix, by the table's name.
    """

    table: LatencyTable
    sources: dict[str, float]


def adapt_table(
    space: SearchSpace,
    target: str,
    samples: int = 10,
    *,
    precision: str | None = None,
    workload: Workload = IMAGENET,
    tables_dir: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Adapted:
    """Measure a few networks of a space on this machine, and make its table from them.

    Args:
        space: the new table has a row for each block of this space.
        target: name of the runtime.
        samples: number of networks to measure; the most informative ones are chosen.
        precision: None for the target's default.
        workload: size of the networks' input and output, and batch size.
        tables_dir: folder of the source tables, where the new one is written too; None for the
            usual folders.
        progress: called after every group of measurements.

    Raises:
        RuntimeUnavailableError: the target cannot be measured on this machine; says why.
        TableError: the table exists already, no source table covers the blocks, or there are
            too few samples.
    """
    _check_samples(samples)
    key = measurable_key(target, precision, workload.batch_size)
    path = table_path(target, key.folder, tables_dir)
    if path is not None:
        raise TableError(f"{path}: is there already; delete the folder to adapt it anew")
    blocks = space.blocks(workload)
    sources = _sources(tables_dir, blocks, workload)
    pool = _pool(space)
    source_ms = np.column_stack([source.predict(pool, workload).latency_ms for source in sources])
    chosen = choose_samples(source_ms, samples)
    with open_bench(key) as bench:
        networks = [pool[index] for index in chosen]
        rows = network_rows(bench, networks, workload, progress)
        meta = new_meta(key, bench)
    steady = _steady(rows)
    rows, samples_ms = [rows[index] for index in steady], source_ms[chosen][steady]
    transfer = _fit(samples_ms, rows)
    mixed = {block: _row(block, sources, transfer) for block in blocks}
    constant_ms = _constant_ms(mixed, rows, transfer.model.predict(samples_ms))
    meta = _adapted_meta(meta, sources, transfer, constant_ms)
    table = write_table(new_table_folder(tables_dir), meta, mixed, rows)
    names = [source.table.name for source in sources]
    return Adapted(table, dict(zip(names, map(float, transfer.model.coefficients), strict=True)))


def _check_samples(samples: int) -> None:
    if not MIN_SAMPLES <= samples <= MAX_SAMPLES:
        raise TableError(
            f"--samples {samples}: {MIN_SAMPLES} to {MAX_SAMPLES} networks can be measured; with "
            f"more, measure the whole table with tables measure"
        )


def _steady(rows: Sequence[NetworkRow]) -> list[int]:
    """Indices of the networks that could be measured well; says how many are left out.

    Raises:
        TableError: too few are left.
    """
    steady = [index for index, row in enumerate(rows) if row.timing.steady]
    text = f"{len(rows) - len(steady)} of {len(rows)} networks are left out, as {NOT_STEADY}"
    if len(steady) < MIN_SAMPLES:
        raise TableError(f"{text}; no table was made: try again when the machine does less")
    if len(steady) < len(rows):
        warnings.warn(text, TableWarning, stacklevel=3)
    return steady


def _fit(samples_ms: npt.NDArray[np.float64], rows: Sequence[NetworkRow]) -> Transfer:
    """Fit the mix of sources to measured networks.

    Args:
        samples_ms: latencies of the networks that the sources predict, [len(rows), sources].
        rows: the measured networks.

    Raises:
        TableError: the sources do not explain the measured latencies.
    """
    transfer = fit_transfer(samples_ms, [row.timing.latency_ms for row in rows])
    if transfer.error.factor() > MAX_FACTOR:
        mean = 100 * float(np.mean(np.abs(transfer.relative_errors)))
        raise TableError(
            f"the tables of other devices do not explain the measured networks (mean error "
            f"{mean:.3g}%); no table was made: measure the whole table, with tables measure"
        )
    return transfer


def _adapted_meta(
    meta: TableMeta,
    sources: Sequence[LatencyPredictor],
    transfer: Transfer,
    constant_ms: float,
) -> TableMeta:
    """Copy ``meta`` with the kind, sources, errors and constant of the adapted table."""
    return meta.model_copy(
        update={
            "kind": "adapted",
            "source": ", ".join(source.table.name for source in sources),
            "relative_errors": transfer.relative_errors,
            "constant_ms": constant_ms,
        }
    )


def _constant_ms(
    mixed: Mapping[Block, Timing],
    rows: Sequence[NetworkRow],
    mixed_ms: npt.NDArray[np.float64],
) -> float:
    """Mean time of a network beyond the sum of its blocks, in ms.

    It also compensates for blocks whose latency was raised to `LOWEST_MS`.

    Args:
        mixed: the table's blocks.
        rows: the measured networks.
        mixed_ms: latencies of the rows that the mix of sources predicts, [len(rows)].
    """
    sums_ms = [sum(mixed[block].latency_ms for block in row.blocks()) for row in rows]
    return float(np.mean(mixed_ms - sums_ms))


def _row(block: Block, sources: Sequence[LatencyPredictor], transfer: Transfer) -> Timing:
    """Row of a block: its latency inside a network on the new device, mixed from the sources.

    ``ci_pct`` holds the half width of the 90% prediction interval, in percent.
    """
    sources_ms = [source.predict_block(block) for source in sources]
    own_ms = float(transfer.model.coefficients @ sources_ms)
    return Timing(max(own_ms, LOWEST_MS), 100 * (transfer.error.factor() - 1), 0.0, 0)


def _sources(
    tables_dir: Path | None, blocks: Sequence[Block], workload: Workload
) -> list[LatencyPredictor]:
    """Predictors of all measured and published tables that can predict these blocks.

    Raises:
        TableError: there is no such table.
    """
    found = []
    for path in list_tables(tables_dir):
        table = read_table(path)
        kind = table.meta.kind
        if kind == "adapted" or (kind == "measured" and table.missing(blocks)):
            continue
        try:
            found.append(LatencyPredictor.fit(table, workload))
        except TableError:  # too few networks
            continue
    if not found:
        where = " and ".join(str(folder) for folder in table_folders(tables_dir))
        raise TableError(
            f"{where}: has no table that knows the blocks of the space; a new device's is mixed "
            f"from those of others: measure it whole, with tables measure"
        )
    return found


def _pool(space: SearchSpace) -> list[Architecture]:
    rng = random.Random(0)
    return list({space.sample(rng, rng.uniform(-3.0, 3.0)): None for _ in range(POOL)})
