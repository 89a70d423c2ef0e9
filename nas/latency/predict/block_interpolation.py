"""Estimates latencies of blocks that a table has no row for, from the blocks that it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from nas.errors import TableError
from nas.latency.predict.interpolation import MIN_FAMILY, Interpolator, Shapes
from nas.models.cost import block_cost, block_ops
from nas.space.block import Block
from nas.space.block_kinds import kind_of, kinds
from nas.system import folders

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Measured(Protocol):
    """A table's row, of which only the latency is needed; see `nas.measurement.protocol.Timing`."""

    @property
    def latency_ms(self) -> float: ...


class BlockEstimate(NamedTuple):
    """An estimated latency in ms with its 90% interval."""

    latency_ms: float
    low_ms: float
    high_ms: float


def block_features(blocks: Sequence[Block], extra: Sequence[str] = ()) -> NDArray[np.float64]:
    """Features of blocks for the trees of `Interpolator`: [n, 15 + len(extra)].

    Sizes are natural logarithms.

    Args:
        blocks: the n blocks.
        extra: names of fields that only some kinds have. Each is a feature, 0 if a block's kind
            lacks the field.
    """
    sizes, others = [], []
    for block in blocks:
        cost, c_in, c_out = block_cost(block), block.in_channels, block.out_channels
        work = (cost.macs, cost.weights, cost.activations, cost.macs / cost.activations)
        pixels = (block.height * block.width, block.out_height * block.out_width)
        sizes.append((*work, c_in, c_out, c_in / c_out, *pixels, block.stride, block.sr_ratio or 1))
        ratios = (block.mlp_ratio, block.mix_ratio)
        own = kind_of(block.kind).field_names
        further = (block[name] if name in own else 0.0 for name in extra)
        others.append((*ratios, len(block_ops(block)), _family(block), *further))
    logs = np.log(np.array(sizes, dtype=np.float64).reshape(-1, 11))
    return np.hstack([logs, np.array(others, dtype=np.float64).reshape(-1, 4 + len(extra))])


def _family(block: Block) -> int:
    """Number of a block's family: the position of its kind in the order of registration."""
    return [kind.name for kind in kinds()].index(block.kind)


def _extra_names(blocks: Iterable[Block]) -> list[str]:
    """Names of the fields that only some kinds of these blocks have."""
    found = {kind_of(name) for name in {block.kind for block in blocks}}
    return sorted({field.name for kind in found for field in kind.extra_fields})


def block_shapes(blocks: Sequence[Block], batch_size: int = 1, extra: Sequence[str] = ()) -> Shapes:
    """Convert blocks to the input of `Interpolator`; ``extra`` as in `block_features`.

    ``gbyte`` is in billions of values instead of bytes: all rows of a table have the same number
    of bytes per value, so the fitted bandwidth includes it.
    """
    widest = max((len(block_ops(block)) for block in blocks), default=0)
    work = np.zeros((len(blocks), widest, 2))
    for row, block in enumerate(blocks):
        for column, op in enumerate(block_ops(block)):
            values = op.weights + op.activations * batch_size
            work[row, column] = 2e-9 * op.macs * batch_size, 1e-9 * values
    family = np.array([_family(block) for block in blocks], dtype=np.int64)
    return Shapes(
        block_features(blocks, extra), work[..., 0], work[..., 1], family, np.arange(len(blocks))
    )


def fit_blocks(
    table_rows: Mapping[Block, Measured], batch_size: int = 1, extra: Sequence[str] = ()
) -> Interpolator:
    """Fit an interpolator to the blocks of a latency table.

    Args:
        table_rows: the measured blocks, see `nas.latency.table.table.LatencyTable.blocks`.
        batch_size: batch size of the measurements.
        extra: as in `block_features`; must be the same for the shapes to estimate.

    Raises:
        TableError: the table has too few blocks.
    """
    # The order of the file's lines is chance; the fit must not depend on it.
    blocks = sorted(table_rows)
    measured_ms = np.array([table_rows[block].latency_ms for block in blocks], dtype=np.float64)
    return Interpolator.fit(block_shapes(blocks, batch_size, extra), measured_ms)


def interpolate_blocks(
    table_rows: Mapping[Block, Measured], missing: Sequence[Block], batch_size: int = 1
) -> list[BlockEstimate]:
    """Estimate the latencies of blocks that a table has no row for.

    Args:
        table_rows: the measured blocks of one table.
        missing: the blocks to estimate; the table must have `MIN_FAMILY` blocks of each kind.
        batch_size: batch size of the measurements.

    Returns:
        One estimate for each block of ``missing``, in order.

    Raises:
        TableError: the table has too few blocks, in total or of a kind; says how many.
    """
    if not missing:
        return []
    for kind in sorted({block.kind for block in missing}):
        count = sum(block.kind == kind for block in table_rows)
        if count < MIN_FAMILY:
            raise TableError(
                f"the table has {count} measured block(s) of kind {kind}, an estimate needs at "
                f"least {MIN_FAMILY}: measure the space's blocks, see "
                f"{folders.command()} tables measure --help"
            )
    extra = _extra_names([*table_rows, *missing])
    shapes = block_shapes(missing, batch_size, extra)
    estimates = fit_blocks(table_rows, batch_size, extra).predict(shapes)
    columns = (estimates.latency_ms, estimates.low_ms, estimates.high_ms)
    return [BlockEstimate(*map(float, row)) for row in zip(*columns, strict=True)]
