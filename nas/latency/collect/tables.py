"""Measures a latency table on this machine: every block of a space, and whole networks.

Rows are written after every group of models, so an interrupted run loses at most one group. Running
it again measures the missing rows.
"""

from __future__ import annotations

import datetime
import random
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.errors import TableError, TableWarning
from nas.latency.collect.table_bench import TableBench, open_bench
from nas.latency.table.catalog import TableKey, changes, new_table_folder, own_key, table_path
from nas.latency.table.cells import tidy
from nas.latency.table.files import append_blocks, append_networks, read_table, write_meta
from nas.latency.table.table import MIN_NETWORKS, LatencyTable, NetworkRow, TableMeta
from nas.measurement.bench import BLOCKS_AT_ONCE, NETWORKS_AT_ONCE, TRIES, groups
from nas.measurement.protocol import (
    BLOCK_EFFORT,
    DECIDING_EFFORT,
    NETWORK_EFFORT,
    NOT_STEADY,
    REFERENCE_SHARE,
    WAIT_SHARE,
    Effort,
    Timing,
)
from nas.measurement.runtimes import RUNTIMES, runtime_here
from nas.measurement.runtimes.base import MIN_RUNS
from nas.space.architecture import Architecture
from nas.space.block import Block
from nas.space.search_space import SearchSpace
from nas.space.workload import IMAGENET, Workload
from nas.system.lock import locked

CALIBRATION_NETWORKS = 24
"""Number of whole networks measured for the predictor's correction."""

WRITING_S = (0.3, 3.0)
"""Seconds to write and load the ONNX file of one block, and of one network. They were measured on
two cores of an AMD EPYC with torch 2.13; they were 0.5 and 6.1 s while another process kept one
core busy (2026-11-27)."""

Progress = Callable[[str, int, int], None]
"""Called with the kind (``blocks`` or ``networks``), the number done and the total number."""


@dataclass(frozen=True)
class Missing:
    """Blocks and networks that a table lacks for a space and a workload."""

    blocks: list[Block]
    networks: list[Architecture]

    def __bool__(self) -> bool:
        return bool(self.blocks or self.networks)

    def expected_s(self, network_ms: float) -> tuple[float, float]:
        """Estimate the least and the most seconds that the measurement takes on a quiet machine.

        This includes timing each model in several turns, and writing and loading it. The latter
        is known for ONNX files of the Next-ViT space alone (`WRITING_S`).

        Args:
            network_ms: typical latency of one of the networks.
        """
        block_s, network_s = WRITING_S
        least = len(self.blocks) * block_s + len(self.networks) * network_s
        most = least
        efforts = ((self.blocks, BLOCK_EFFORT, 0.0), (self.networks, NETWORK_EFFORT, network_ms))
        for models, effort, latency_ms in efforts:
            runs = 2 if latency_ms >= 1e3 * effort.turn_s else MIN_RUNS + 1  # one is the warm-up
            turn_s = max(effort.turn_s, runs * latency_ms / 1e3)
            round_s = turn_s + REFERENCE_SHARE * effort.turn_s
            least += len(models) * effort.min_rounds * round_s
            most += len(models) * effort.max_rounds * round_s
        return least, most * (1 + WAIT_SHARE)


def missing_for(table: LatencyTable, space: SearchSpace, workload: Workload) -> Missing:
    """The blocks and networks that `collect_table` would measure and add to a table."""
    present = {row.architecture for row in table.networks_at(workload)}
    wanted = calibration_networks(space, CALIBRATION_NETWORKS)
    return Missing(
        table.missing(space.blocks(workload)),
        [architecture for architecture in wanted if architecture not in present],
    )


def calibration_networks(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    """Sample distinct networks of a space, from small to large ones.

    The preference changes from small to large choices while they are sampled, so that the
    predictor's correction is fitted for tight budgets as well as for loose ones.

    Returns:
        ``count`` networks, or fewer if the space is tiny.
    """
    rng = random.Random(seed)
    networks: dict[Architecture, None] = {}
    attempts = 0
    while len(networks) < count and attempts < 50 * count:
        size_bias = 3.0 * (2 * len(networks) / max(1, count - 1) - 1)
        networks[space.sample(rng, size_bias)] = None
        attempts += 1
    return list(networks)


def collect_table(
    space: SearchSpace,
    target: str,
    *,
    precision: str | None = None,
    workload: Workload = IMAGENET,
    tables_dir: Path | None = None,
    progress: Progress = lambda *_: None,
) -> LatencyTable:
    """Measure the rows that this machine's table of a target lacks for a space.

    Args:
        space: its blocks, and some of its networks, are measured.
        target: name of the runtime.
        precision: None for the target's default.
        workload: size of the networks' input and output, and batch size.
        tables_dir: folder of the tables; None for the usual folders.
        progress: called after every group of models.

    Returns:
        The whole table, with old and new rows.

    Raises:
        RuntimeUnavailableError: the target cannot be measured on this machine; says why.
        TableError: an existing table is corrupted, or was measured with another runtime version
            or thread count; another process is measuring it; its folder cannot be written; the
            space has too few networks; or the machine was too busy to measure all blocks.
    """
    key = measurable_key(target, precision, workload.batch_size)
    table_networks(space)  # refuses a space of too few networks before anything is measured
    known = table_path(target, key.folder, tables_dir)
    path = new_table_folder(tables_dir) / target / key.folder
    try:
        path.mkdir(parents=True, exist_ok=True)
        with locked(path, TableError, "measuring it", "name another folder with --tables-dir"):
            if known not in (None, path):
                _copy_table(known, path)
            return _measure_missing(path, key, space, workload, progress)
    except OSError as error:
        if not str(error.filename or path).startswith(str(path)):
            raise  # of temporary files, for example
        raise TableError(
            f"{path}: cannot be written: {error.strerror or error}; name another folder with "
            f"--tables-dir"
        ) from None


def _copy_table(source: Path, path: Path) -> None:
    """Copy a read-only table's files to a new folder, if new rows are comparable with its rows."""
    table = read_table(source)
    if table.meta.kind == "measured" and not changes(table.meta):
        for name in (
            "blocks.csv",
            "networks.csv",
            "meta.json",
        ):  # a table exists with its meta
            shutil.copyfile(source / name, path / name)


def _measure_missing(
    path: Path,
    key: TableKey,
    space: SearchSpace,
    workload: Workload,
    progress: Progress,
) -> LatencyTable:
    """Measure and write the rows that the table in ``path`` lacks; returns the whole table."""
    meta = _comparable_meta(path, key)
    tidy(path)
    if meta is None or missing_for(read_table(path), space, workload).blocks:
        with open_bench(key, meta.reference_ms if meta else None) as bench:
            if meta is None:
                meta = new_meta(key, bench)
                write_meta(path, meta)
            for _ in range(TRIES):
                missing = missing_for(read_table(path), space, workload)
                _measure_blocks(path, bench, missing.blocks, progress)
            meta = _update_meta(path, meta, bench)
    # Networks are measured in a new process, as they are whenever they are compared with a table:
    # in a process that has measured hundreds of blocks they are a little slower.
    networks = missing_for(read_table(path), space, workload).networks
    if networks:
        with open_bench(key, meta.reference_ms) as bench:
            network_rows(
                *(bench, networks, workload, progress),
                on_rows=lambda rows: append_networks(path, [r for r in rows if r.timing.steady]),
            )
            _update_meta(path, meta, bench)
    table = read_table(path)
    _say_what_is_missing(table, missing_for(table, space, workload), workload)
    return table


def _say_what_is_missing(table: LatencyTable, missing: Missing, workload: Workload) -> None:
    """Say which measurements were not steady, and so did not enter the table.

    The table is complete enough to be used if only some of its networks are missing.

    Raises:
        TableError: it cannot be used.
    """
    if not missing:
        return
    text = (
        f"{table.path}: {len(missing.blocks)} blocks and {len(missing.networks)} networks are left "
        f"out, as {NOT_STEADY}; the others are kept: to measure these, run the command again when "
        f"the machine does less"
    )
    if missing.blocks or len(table.networks_at(workload)) < MIN_NETWORKS:
        raise TableError(text)
    warnings.warn(text, TableWarning, stacklevel=2)


def _update_meta(path: Path, meta: TableMeta, bench: TableBench) -> TableMeta:
    """Set the table's date, and lower its reference latency if it was begun in a slow spell.

    Returns:
        The new metadata, which is written already.
    """
    quiet_ms = min(meta.reference_ms, bench.quiet_ms())
    meta = meta.model_copy(update={"updated": _today(), "reference_ms": quiet_ms})
    write_meta(path, meta)
    return meta


def _measure_blocks(
    path: Path, bench: TableBench, missing: Sequence[Block], progress: Progress
) -> None:
    done = 0
    for blocks in groups(missing, BLOCKS_AT_ONCE):
        rows = zip(blocks, bench.blocks(blocks), strict=True)
        append_blocks(path, [(block, timing) for block, timing in rows if timing.steady])
        done += len(blocks)
        progress("blocks", done, len(missing))


def network_rows(
    bench: TableBench,
    networks: Sequence[Architecture],
    workload: Workload,
    progress: Progress = lambda *_: None,
    on_rows: Callable[[list[NetworkRow]], None] = lambda _: None,
    effort: Effort = NETWORK_EFFORT,
) -> list[NetworkRow]:
    """Measure whole networks in groups.

    Args:
        bench: measures the networks.
        networks: networks to measure.
        workload: workload of the networks.
        progress: called after every group.
        on_rows: called with the rows of each group as soon as it is measured.
        effort: number and length of turns.

    Returns:
        A row for each network, in order. A network that occurs twice is measured once.
    """
    found: dict[Architecture, NetworkRow] = {}
    different = list(dict.fromkeys(networks))
    for group in groups(different, NETWORKS_AT_ONCE):
        rows = bench.networks(group, workload, effort)
        on_rows(rows)
        found.update(zip(group, rows, strict=True))
        progress("networks", len(found), len(different))
    return [found[network] for network in networks]


def table_networks(space: SearchSpace) -> list[Architecture]:
    """The networks of a space that are measured whole for a table, to calibrate the predictor.

    Raises:
        TableError: the space has too few networks to calibrate a predictor.
    """
    networks = calibration_networks(space, CALIBRATION_NETWORKS)
    if len(networks) < MIN_NETWORKS:
        raise TableError(
            f"space {space.name!r} has only {len(networks)} networks, the latency predictor is "
            f"calibrated with at least {MIN_NETWORKS}: add choices to it"
        )
    return networks


def measure_networks(
    networks: Sequence[Architecture],
    table: LatencyTable,
    workload: Workload,
    progress: Callable[[int, int], None] = lambda *_: None,
    effort: Effort = DECIDING_EFFORT,
) -> list[Timing]:
    """Measure whole networks so that their latencies are comparable with a table.

    Args:
        networks: networks to measure.
        table: table of this machine; timings are scaled to its reference latency.
        workload: workload of the networks.
        progress: called with the number done and the total number.
        effort: number and length of turns.

    Returns:
        One timing for each network, in order, with the overhead of a call.

    Raises:
        RuntimeUnavailableError: the runtime is missing here, or cannot run a network.
    """
    meta = table.meta
    key = TableKey(meta.target, meta.device, meta.precision, meta.batch_size)
    with open_bench(key, meta.reference_ms) as bench:
        rows = network_rows(
            *(bench, networks, workload),
            lambda _, done, count: progress(done, count),
            effort=effort,
        )
    return [row.timing for row in rows]


def measurable_key(target: str, precision: str | None, batch_size: int | None) -> TableKey:
    """The key of this machine's table of a target, with all fields set.

    Args:
        target: name of the runtime.
        precision: None for the target's default.
        batch_size: None for 1.

    Raises:
        RuntimeUnavailableError: this machine cannot measure the target; says why.
        TableError: the runtime does not support the precision.
    """
    runtime_here(target)
    key = own_key(target, precision, batch_size)  # type: ignore[arg-type]
    assert key is not None
    return key


def _comparable_meta(path: Path, key: TableKey) -> TableMeta | None:
    """Read the metadata of a table to which rows are to be added; None for a new table.

    Raises:
        TableError: new rows would not be comparable with those in the folder.
    """
    if not (path / "meta.json").exists():
        if list(path.glob("*.csv")):
            raise TableError(
                f"{path}: has rows but no meta.json; delete the folder to measure it anew"
            )
        return None
    meta = read_table(path).meta
    if meta.kind != "measured":
        raise TableError(
            f"{path}: was {meta.kind}, not measured; delete the folder to measure it whole"
        )
    changed = changes(meta)
    if changed:
        raise TableError(
            f"{path}: was measured with {changed}; new rows would not be comparable: delete the "
            f"folder to measure it anew"
        )
    return meta


def new_meta(key: TableKey, bench: TableBench) -> TableMeta:
    """Metadata of a new table whose rows ``bench`` is about to measure."""
    runtime = RUNTIMES[key.target]
    device = runtime.device()
    assert key.device and key.precision and key.batch_size
    return TableMeta(
        kind="measured",
        target=key.target,
        device=key.device,
        device_description=device.description,
        precision=key.precision,
        batch_size=key.batch_size,
        runtime_version=runtime.version(),
        threads=device.threads,
        reference_ms=bench.process.reference_ms,
        overhead_ms=bench.process.overhead_ms,
        created=_today(),
        updated=_today(),
    )


def _today() -> str:
    return datetime.date.today().isoformat()
