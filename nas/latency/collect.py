"""Measures a latency table on this machine: every block of a space, and whole networks.

Rows reach the disk in small groups as they are measured, so an interrupted run loses a few
seconds; running it again measures what is still missing.
"""

from __future__ import annotations

import datetime
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nas.architecture import Architecture, Block
from nas.errors import RuntimeUnavailableError, TableError
from nas.latency.catalogue import TableKey, own_key
from nas.latency.measure import REFERENCE_BLOCK, Reference, Timing, measure, measure_reference
from nas.latency.runtimes import RUNTIMES, Call, Runtime
from nas.latency.table import (
    MIN_NETWORKS,
    TABLES_DIR,
    LatencyTable,
    NetworkRow,
    TableMeta,
    append_blocks,
    append_networks,
    read_table,
    write_meta,
)
from nas.lock import locked
from nas.space import SearchSpace

CALIBRATION_NETWORKS = 24
"""Whole networks measured for the predictor's correction."""

BLOCKS_AT_ONCE = 8
NETWORKS_AT_ONCE = 3
NETWORK_ROUND_S = 0.2
VERIFY_ROUNDS = 5

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""Called with what is measured (``blocks`` or ``networks``), how many are done, and of how many."""


@dataclass(frozen=True)
class Missing:
    """What a table still needs for a space at one resolution."""

    blocks: list[Block]
    networks: list[Architecture]

    def __bool__(self) -> bool:
        return bool(self.blocks or self.networks)


def missing_for(
    table: LatencyTable, space: SearchSpace, resolution: int, num_classes: int = 1000
) -> Missing:
    """What `collect_table` would still measure into a table."""
    present = {row.architecture for row in table.networks if row.resolution == resolution}
    wanted = calibration_networks(space, CALIBRATION_NETWORKS)
    return Missing(
        table.missing(space.blocks(resolution, num_classes)),
        [architecture for architecture in wanted if architecture not in present],
    )


def calibration_networks(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    """Networks spread evenly from the smallest to the largest of a space.

    Each is a random sample tilted towards small or large choices by its place in the row, so
    that the correction is fitted where a tight budget searches as well as where a loose one does.
    """
    rng = random.Random(seed)
    networks: dict[Architecture, None] = {}
    attempts = 0
    while len(networks) < count and attempts < 50 * count:
        tilt = 3.0 * (2 * len(networks) / max(1, count - 1) - 1)
        networks[space.sample(rng, tilt)] = None
        attempts += 1
    return list(networks)


def collect_table(
    space: SearchSpace,
    target: str,
    *,
    precision: str | None = None,
    batch_size: int | None = None,
    resolution: int = 224,
    num_classes: int = 1000,
    tables_dir: Path = TABLES_DIR,
    progress: Progress = lambda *_: None,
) -> LatencyTable:
    """Measure what this machine's table of a target lacks for a space.

    Args:
        space: whose blocks to measure.
        target: runtime.
        precision, batch_size: None for the target's usual precision and batch 1.
        resolution: height and width of the input in pixels.
        num_classes: outputs of the head.
        tables_dir: where tables are kept.
        progress: told after every group.

    Raises:
        RuntimeUnavailableError: the target cannot be measured on this machine; says why.
        TableError: an existing table is corrupted, or was measured by another runtime version
            or thread count; another process is measuring it; the space has too few networks.
    """
    key = _measurable_key(target, precision, batch_size)
    _require_enough_networks(space)
    path = tables_dir / target / key.folder
    try:
        path.mkdir(parents=True, exist_ok=True)
        with locked(path, TableError, "measuring it"):
            return _complete(path, key, space, resolution, num_classes, progress)
    except OSError as error:
        raise TableError(f"{path}: cannot be written: {error.strerror or error}") from None


def _complete(
    path: Path,
    key: TableKey,
    space: SearchSpace,
    resolution: int,
    num_classes: int,
    progress: Progress,
) -> LatencyTable:
    """Measure what a table's folder lacks."""
    runtime = RUNTIMES[key.target]()
    for name in ("blocks.csv", "networks.csv"):
        _drop_partial_line(path / name)
    reference_call = compile_block(runtime, REFERENCE_BLOCK, key)
    meta = _open_meta(path, key, runtime, reference_call)
    assert meta.reference_ms is not None
    reference = Reference(reference_call, meta.reference_ms)
    todo = missing_for(read_table(path), space, resolution, num_classes)
    done = 0
    for blocks in _groups(todo.blocks, BLOCKS_AT_ONCE):
        calls = [compile_block(runtime, block, key) for block in blocks]
        append_blocks(path, zip(blocks, measure(calls, reference), strict=True))
        done += len(blocks)
        progress("blocks", done, len(todo.blocks))
    done = 0
    for networks in _groups(todo.networks, NETWORKS_AT_ONCE):
        calls = [compile_network(runtime, n, key, resolution, num_classes) for n in networks]
        timings = measure(calls, reference, round_s=NETWORK_ROUND_S)
        rows = [
            NetworkRow(network.id, resolution, num_classes, network, timing)
            for network, timing in zip(networks, timings, strict=True)
        ]
        append_networks(path, rows)
        done += len(networks)
        progress("networks", done, len(todo.networks))
    if todo:
        write_meta(path, meta.model_copy(update={"updated": _today()}))
    return read_table(path)


def _require_enough_networks(space: SearchSpace) -> None:
    count = len(calibration_networks(space, MIN_NETWORKS))
    if count < MIN_NETWORKS:
        raise TableError(
            f"space {space.name!r} has only {count} networks, the latency predictor is "
            f"calibrated with at least {MIN_NETWORKS}: add choices to it"
        )


def measure_networks(
    networks: Sequence[Architecture],
    table: LatencyTable,
    resolution: int,
    num_classes: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Timing]:
    """Measure networks whole on the device of a table, by its protocol.

    Args:
        networks: what to measure.
        table: of this machine; its reference block takes the drift since it was made out.
        resolution, num_classes: of the networks.
        progress: told how many are done, and of how many.
    """
    meta = table.meta
    assert meta.reference_ms is not None
    key = TableKey(meta.target, meta.device, meta.precision, meta.batch_size)
    runtime = RUNTIMES[meta.target]()
    reference = Reference(compile_block(runtime, REFERENCE_BLOCK, key), meta.reference_ms)
    timings: list[Timing] = []
    for group in _groups(networks, NETWORKS_AT_ONCE):
        calls = [compile_network(runtime, n, key, resolution, num_classes) for n in group]
        timings += measure(calls, reference, rounds=VERIFY_ROUNDS, round_s=NETWORK_ROUND_S)
        progress(len(timings), len(networks))
    return timings


def compile_network(
    runtime: Runtime,
    architecture: Architecture,
    key: TableKey,
    resolution: int,
    num_classes: int = 1000,
) -> Call:
    """A whole network ready to be timed, fused, with fresh weights."""
    from nas.models.network import build_network

    assert key.precision and key.batch_size
    network = build_network(architecture, num_classes).fuse()
    return runtime.compile(network, (key.batch_size, 3, resolution, resolution), key.precision)


def compile_block(runtime: Runtime, block: Block, key: TableKey) -> Call:
    from nas.models.blocks import build_fused_block

    assert key.precision and key.batch_size
    shape = (key.batch_size, block.in_channels, block.height, block.width)
    return runtime.compile(build_fused_block(block), shape, key.precision)


def _measurable_key(target: str, precision: str | None, batch_size: int | None) -> TableKey:
    if target not in RUNTIMES:
        known = ", ".join(sorted(RUNTIMES))
        raise RuntimeUnavailableError(
            f"target {target!r} cannot be measured by this version; it can measure: {known}"
        )
    reason = RUNTIMES[target]().unavailable()
    if reason:
        raise RuntimeUnavailableError(f"target {target!r} cannot be measured here: {reason}")
    key = own_key(target, precision, batch_size)  # type: ignore[arg-type]
    assert key is not None
    return key


def _open_meta(path: Path, key: TableKey, runtime: Runtime, reference: Call) -> TableMeta:
    """The table's meta; a new one on first use, refused if the rows would not be comparable."""
    device = runtime.device()
    if (path / "meta.json").exists():
        meta = read_table(path).meta
        for what, old, new in (
            ("runtime version", meta.runtime_version, runtime.version()),
            ("threads", meta.threads, device.threads),
        ):
            if old != new:
                raise TableError(
                    f"{path}: was measured with {what} {old}, now it is {new}; the rows would not "
                    f"be comparable: delete the folder to measure it anew"
                )
        return meta
    if list(path.glob("*.csv")):
        raise TableError(f"{path}: has rows but no meta.json; delete the folder to measure it anew")
    assert key.device and key.precision and key.batch_size
    meta = TableMeta(
        kind="measured",
        target=key.target,
        device=key.device,
        device_description=device.description,
        precision=key.precision,
        batch_size=key.batch_size,
        runtime_version=runtime.version(),
        threads=device.threads,
        reference_ms=measure_reference(reference).latency_ms,
        created=_today(),
        updated=_today(),
    )
    write_meta(path, meta)
    return meta


def _drop_partial_line(path: Path) -> None:
    """Remove a last line that a killed run did not finish."""
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    count = math.ceil(len(items) / size)
    return (items[index * size : (index + 1) * size] for index in range(count))


def _today() -> str:
    return datetime.date.today().isoformat()
