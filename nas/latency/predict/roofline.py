"""A roofline model of a device, fitted to published latencies of whole networks.

The time of an operator is ``max(2 MACs / peak, bytes / bandwidth) + overhead``; the latency of a
network is the sum over its operators. The three parameters are fitted in log space, so that every
published network counts by its relative error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import least_squares

from nas.models.cost import block_ops
from nas.precision import BYTES, Precision
from nas.space.block import Block

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Roofline:
    """Fitted parameters of one device at one precision and batch size.

    Attributes:
        peak_gflop_per_ms: arithmetic throughput.
        gbyte_per_ms: memory bandwidth.
        overhead_ms: fixed time of one operator.
        precision, batch_size: precision and batch size of the fitted latencies.
    """

    peak_gflop_per_ms: float
    gbyte_per_ms: float
    overhead_ms: float
    precision: Precision
    batch_size: int

    def block_ms(self, block: Block) -> float:
        """Estimated latency in ms of one block inside a network."""
        ops = _op_sizes([block], self.precision, self.batch_size)
        parameters = (self.peak_gflop_per_ms, self.gbyte_per_ms, self.overhead_ms)
        return float(_op_times(ops, *parameters).sum())


def fit_roofline(
    networks: Sequence[Sequence[Block]],
    latency_ms: Sequence[float],
    precision: Precision,
    batch_size: int,
) -> Roofline:
    """Fit the three parameters to measured networks.

    Args:
        networks: the blocks of each network.
        latency_ms: their measured latencies, in the same order.
        precision, batch_size: precision and batch size of the measurements.
    """
    sizes = [_op_sizes(blocks, precision, batch_size) for blocks in networks]
    target = np.log(np.asarray(latency_ms))
    # Start where arithmetic, traffic and overhead each explain a third of the middle network.
    middle = int(np.argsort(target)[len(target) // 2])
    third_ms = float(np.exp(target[middle])) / 3
    gflop, gbyte = sizes[middle].sum(axis=0)
    start = np.log([gflop / third_ms, gbyte / third_ms, third_ms / len(sizes[middle])])

    all_sizes = np.concatenate(sizes)
    begins = np.cumsum([0, *map(len, sizes[:-1])])

    def residuals(log_parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        peak, bandwidth, overhead = np.exp(log_parameters)
        times = np.add.reduceat(_op_times(all_sizes, peak, bandwidth, overhead), begins)
        return np.asarray(np.log(times) - target)

    best = None
    for shift in (0.0, 0.5, -0.5):  # max() has kinks, so one start may stop short
        fit = least_squares(residuals, start + np.array([shift, -shift, 0.0]), x_scale="jac")
        if best is None or fit.cost < best.cost:
            best = fit
    assert best is not None
    peak, bandwidth, overhead = (float(value) for value in np.exp(best.x))
    return Roofline(peak, bandwidth, overhead, precision, batch_size)


def _op_sizes(
    blocks: Sequence[Block], precision: Precision, batch_size: int
) -> NDArray[np.float64]:
    """Gflop and Gbyte of every operator of some blocks: [operators, 2]."""
    width = BYTES[precision]
    return np.array(
        [
            (
                2e-9 * op.macs * batch_size,
                1e-9 * width * (op.weights + op.activations * batch_size),
            )
            for block in blocks
            for op in block_ops(block)
        ]
    )


def _op_times(
    sizes: NDArray[np.float64], peak: float, bandwidth: float, overhead: float
) -> NDArray[np.float64]:
    return np.asarray(np.maximum(sizes[:, 0] / peak, sizes[:, 1] / bandwidth) + overhead)
