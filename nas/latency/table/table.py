"""A latency table: what was measured on one device, and where it was measured.

A table is a folder ``latency_tables/<target>/<device>.<precision>.b<batch>/``:

- ``meta.json``: device, runtime, precision, batch, threads, dates (`TableMeta`);
- ``blocks.csv``: one row for every `Block`, measured alone;
- ``networks.csv``: one row for every whole network.

A table of published figures has networks only. Nothing in a table is ever executed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from nas.measurement.protocol import Timing
from nas.precision import Precision
from nas.space.architecture import Architecture
from nas.space.block import Block
from nas.space.workload import MAX_BATCH, Workload

MIN_NETWORKS = 5
"""Least number of whole networks in a table for which a latency predictor is fitted."""

MAX_REFERENCE_RATIO = 20.0
"""Largest ratio of two latencies of the reference block that one device can have."""


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one printable line")
    return text


Line = Annotated[str, Field(max_length=5000), AfterValidator(_one_line)]

Date = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]


TABLE_FORMAT: Final = 2
"""Format of a table's files."""


class TableMeta(BaseModel):
    """Provenance of a table.

    Attributes:
        kind: ``measured`` on the device; ``published`` by somebody else; or ``adapted``: the
            latencies of blocks are weighted sums of those in other devices' tables, with weights
            fitted to a few networks measured on this device.
        target: name of the runtime.
        device: name of the device, usable as a folder name.
        device_description: name of the device as the hardware or the publication gives it.
        precision, batch_size: precision and batch size of every row.
        runtime_version: version of the runtime that measured; empty for published figures.
        threads: CPU threads used; 0 where threads have no meaning.
        reference_ms: latency of the reference block while the machine was quiet. Latencies are
            scaled to it when a table is read.
        overhead_ms: overhead of a call, which is subtracted from the latencies of blocks.
        created, updated: ISO dates.
        source: where published figures come from, or the tables that an adapted one was mixed
            from; empty for measured tables.
        constant_ms: for an adapted table, the latency of a network beyond the sum of its blocks.
        relative_errors: for an adapted table, the leave-one-out errors (predicted / measured - 1)
            of its networks; empty for other tables.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = TABLE_FORMAT
    kind: Literal["measured", "published", "adapted"]
    target: Line
    device: Line
    device_description: Line
    precision: Precision
    batch_size: int = Field(ge=1, le=MAX_BATCH)
    runtime_version: Line = ""
    threads: int = Field(default=0, ge=0)
    reference_ms: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    overhead_ms: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    created: Date
    updated: Date
    source: Line = ""
    constant_ms: float = Field(default=0.0, allow_inf_nan=False)
    relative_errors: tuple[Annotated[float, Field(gt=-1, allow_inf_nan=False)], ...] = ()

    @property
    def folder(self) -> str:
        """Name of the table's folder inside the folder of its target."""
        return f"{self.device}.{self.precision}.b{self.batch_size}"


@dataclass(frozen=True)
class NetworkRow:
    """A whole network measured at one workload."""

    name: str
    workload: Workload
    architecture: Architecture
    timing: Timing

    def blocks(self) -> list[Block]:
        """The network's blocks at the measured workload."""
        return self.architecture.blocks(self.workload)


@dataclass(frozen=True)
class LatencyTable:
    """A table that was read; the predictor is fitted to it.

    Attributes:
        path: its folder.
        meta: its provenance.
        blocks: latency of each block, measured alone. In an adapted table the latencies are
            estimates for a block inside a network.
        networks: whole networks with their measured or published latencies.
        interpolated: half the 90% interval in ms of each block in ``blocks`` that was not measured
            but interpolated; empty for a table just read.
    """

    path: Path
    meta: TableMeta
    blocks: Mapping[Block, Timing]
    networks: tuple[NetworkRow, ...]
    interpolated: Mapping[Block, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the table: ``<target>/<device>.<precision>.b<batch>``."""
        return f"{self.meta.target}/{self.meta.folder}"

    @property
    def latency_kind(self) -> Literal["predicted", "estimated"]:
        """Word for a latency derived from this table.

        It is ``predicted`` if all rows were measured on the device, else ``estimated``.
        """
        return "estimated" if self.meta.kind != "measured" or self.interpolated else "predicted"

    def networks_at(self, workload: Workload) -> tuple[NetworkRow, ...]:
        """Return the rows of networks that were measured at a workload's image size.

        The number of classes is not compared, because it hardly changes the latency.
        """
        size = workload.height, workload.width
        return tuple(r for r in self.networks if (r.workload.height, r.workload.width) == size)

    def missing(self, blocks: Iterable[Block]) -> list[Block]:
        """Which of these blocks the table has no row for."""
        return [block for block in blocks if block not in self.blocks]

    def provenance(self) -> str:
        """Phrase for messages that says where the latencies come from."""
        meta = self.meta
        batch = f"{meta.precision}, batch {meta.batch_size}"
        if meta.kind == "published":
            return (
                f"estimated from {len(self.networks)} published latencies of "
                f"{meta.device_description} ({batch}; {meta.source})"
            )
        threads = f", {meta.threads} threads" if meta.threads else ""
        if meta.kind == "adapted":
            return (
                f"estimated from {len(self.networks)} networks measured on "
                f"{meta.device_description} with {meta.target} {meta.runtime_version} ({batch}"
                f"{threads}; {meta.updated}) and the tables of other devices: {meta.source}"
            )
        measured = len(self.blocks) - len(self.interpolated)
        sentence = (
            f"from {measured} blocks and {len(self.networks)} networks measured on "
            f"{meta.device_description} with {meta.target} {meta.runtime_version} "
            f"({batch}{threads}; {meta.updated})"
        )
        if self.interpolated:
            sentence += f", {len(self.interpolated)} further blocks interpolated, not measured"
        return sentence


def at_quiet_speed(timing: Timing, meta: TableMeta) -> Timing:
    """Scale a row to the reference latency of the table, measured on the quiet machine.

    Rows without a reference, such as published figures, are returned unchanged.

    Raises:
        ValueError: the reference latencies of row and table are too far apart to be comparable.
    """
    if not timing.reference_ms or not meta.reference_ms:
        return timing
    if not 1 / MAX_REFERENCE_RATIO < timing.reference_ms / meta.reference_ms < MAX_REFERENCE_RATIO:
        raise ValueError(
            f"reference_ms {timing.reference_ms:g} is too far from that of meta.json, "
            f"{meta.reference_ms:g}, to compare"
        )
    return timing.at_reference(meta.reference_ms)
