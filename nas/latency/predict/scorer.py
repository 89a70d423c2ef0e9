"""Sums the blocks of an architecture, fast enough to score every candidate that a sampler makes.

The sum of a stage depends on the stage, the channels that enter it, the stem's stride and the
workload. A space has some thousand such stages, which make billions of networks. So each stage is
summed once, and a network takes one look-up for each stage and one for its stem and head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nas.space.architecture import STEM_STRIDES, Architecture, Stage
from nas.space.block import Block
from nas.space.expansion import Part, head_part, stage_sizes, stem_part
from nas.space.workload import Workload

_StageSums = dict[tuple[Stage, int], float]
"""Sum over the blocks of a stage, by the stage and the channels that enter it."""


class Scorer:
    """Computes the latency, or another sum over blocks, of architectures at one workload.

    Args:
        constant_ms: latency of a network beyond the sum of its blocks.
        block_ms: returns the latency in ms of one block inside a network.
        workload: workload of the networks.
    """

    def __init__(
        self, constant_ms: float, block_ms: Callable[[Block], float], workload: Workload
    ) -> None:
        self._block_ms = block_ms
        self._constant_ms = constant_ms
        self._workload = workload
        self._ends_ms: dict[tuple[int, int, int], float] = {}
        # Keyed by the stem's stride, on which the size of every later map depends.
        self._sizes = {stride: stage_sizes(workload, stride) for stride in STEM_STRIDES}
        self._stages_ms: dict[int, tuple[_StageSums, ...]] = {
            stride: ({}, {}, {}, {}) for stride in STEM_STRIDES
        }

    def latency_ms(self, architecture: Architecture) -> float:
        """Latency of an architecture in ms.

        Raises:
            TableError: the table has no row for a block.
            ArchitectureError: an E-MHSA reduction is too large for the resolution.
        """
        first, second, third, last = architecture.stages
        stem, stride = architecture.stem_width, architecture.stem_stride
        in_stage_1, in_stage_2, in_stage_3, in_stage_4 = self._stages_ms[stride]
        try:
            return (
                self._ends_ms[stem, stride, last.ntb_width or last.ncb_width]
                + in_stage_1[first, stem]
                + in_stage_2[second, first.ntb_width or first.ncb_width]
                + in_stage_3[third, second.ntb_width or second.ncb_width]
                + in_stage_4[last, third.ntb_width or third.ncb_width]
            )
        except KeyError:
            self._add(architecture)
            return self.latency_ms(architecture)

    def latencies_ms(self, architectures: Sequence[Architecture]) -> list[float]:
        """Latencies in ms of several architectures; errors as `latency_ms`."""
        latency_ms = self.latency_ms
        return [latency_ms(architecture) for architecture in architectures]

    def _add(self, architecture: Architecture) -> None:
        """Sum and store the parts of an architecture that were not summed before."""
        width, stride = architecture.stem_width, architecture.stem_stride
        sizes = self._sizes[stride]
        ends = (width, stride, architecture.stages[-1].out_width)
        if ends not in self._ends_ms:
            ends_ms = self._sum(stem_part(width, stride, self._workload))
            ends_ms += self._sum(head_part(ends[-1], sizes[-1], self._workload))
            self._ends_ms[ends] = self._constant_ms + ends_ms
        channels = width
        for index, stage in enumerate(architecture.stages):
            known, key = self._stages_ms[stride][index], (stage, channels)
            if key not in known:
                stage.check_tokens(index + 1, sizes[index + 1], self._workload)
                known[key] = self._sum(stage.part(index + 1, channels, sizes[index]))
            channels = stage.out_width

    def _sum(self, part: Part) -> float:
        block_ms, total_ms = self._block_ms, 0.0
        for group in part.groups:
            for block, count in group.runs:
                total_ms += count * group.repeats * block_ms(block)
        return total_ms
