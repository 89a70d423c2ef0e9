"""Sums the blocks of an architecture fast enough for a search to score everything it thinks of.

A stage's latency depends on the stage, the channels that enter it, and the resolution. A space
has some thousand such stages, and billions of networks of them: each stage is summed once, and a
network is four look-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nas.space.architecture import STAGE_STRIDES, Architecture, Block, Stage, check_size


class Scorer:
    """Latency of architectures at one resolution and number of classes.

    Args:
        constant_ms: of every network.
        block_ms: latency of one block inside a network.
        resolution: height and width of the input in pixels.
        num_classes: outputs of the head.

    Raises:
        ArchitectureError: a size is absurd.
    """

    def __init__(
        self,
        constant_ms: float,
        block_ms: Callable[[Block], float],
        resolution: int,
        num_classes: int,
    ) -> None:
        check_size(resolution, num_classes)
        self._block_ms = block_ms
        self._constant_ms = constant_ms
        self._resolution, self._num_classes = resolution, num_classes
        size = -(-resolution // 4)
        self._sizes = []
        for stride in STAGE_STRIDES:
            self._sizes.append(size)
            size = -(-size // stride)
        self._out_size = size
        self._ends_ms: dict[tuple[int, int], float] = {}
        self._stages_ms: tuple[dict[tuple[Stage, int], float], ...] = ({}, {}, {}, {})

    def latency_ms(self, architecture: Architecture) -> float:
        """Latency in ms.

        Raises:
            TableError: a block was never measured.
            ArchitectureError: an E-MHSA reduction is too large for the resolution.
        """
        first, second, third, last = architecture.stages
        stem = architecture.stem_width
        in_stage_1, in_stage_2, in_stage_3, in_stage_4 = self._stages_ms
        try:
            return (
                self._ends_ms[stem, last.ntb_width or last.ncb_width]
                + in_stage_1[first, stem]
                + in_stage_2[second, first.ntb_width or first.ncb_width]
                + in_stage_3[third, second.ntb_width or second.ncb_width]
                + in_stage_4[last, third.ntb_width or third.ncb_width]
            )
        except KeyError:
            self._add(architecture)
            return self.latency_ms(architecture)

    def latencies_ms(self, architectures: Sequence[Architecture]) -> list[float]:
        """Latencies in ms of many; errors as `latency_ms`."""
        latency_ms = self.latency_ms
        return [latency_ms(architecture) for architecture in architectures]

    def _add(self, architecture: Architecture) -> None:
        """Sum the parts of an architecture that were not seen before."""
        width, side = architecture.stem_width, self._resolution
        ends_ms = self._constant_ms + self._block_ms(Block("stem", 3, width, 4, side, side))
        channels = width
        for index, stage in enumerate(architecture.stages):
            key = (stage, channels)
            if key not in self._stages_ms[index]:
                size, stride = self._sizes[index], STAGE_STRIDES[index]
                if stage.ntb_width and -(-size // stride) < stage.sr_ratio:
                    architecture.blocks(self._resolution, self._num_classes)  # says what is wrong
                counts = stage.block_counts(channels, size, stride)
                self._stages_ms[index][key] = sum(
                    count * self._block_ms(block) for block, count in counts
                )
            channels = stage.out_width
        side = self._out_size
        head = Block("head", channels, self._num_classes, 1, side, side)
        self._ends_ms[width, channels] = ends_ms + self._block_ms(head)
