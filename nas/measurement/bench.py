"""The bench: measures model files with one runtime on this device.

It loads model files, so it needs no PyTorch unless the runtime does. Device kits carry this module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from nas.errors import RuntimeUnavailableError, UserError
from nas.measurement.protocol import Effort, Reference, Session, Timing, measure
from nas.measurement.runtimes import runtime_here
from nas.precision import Precision

BLOCKS_AT_ONCE, NETWORKS_AT_ONCE = 24, 12
"""Number of models that are loaded at once and measured in turns. With more models, the turns of
one model are further apart, so that a slow spell of some seconds disturbs fewer of them."""

TRIES = 3
"""How often a model of a table is measured, at most, until its latency is steady."""

OVERHEAD_EFFORT = Effort(turn_s=0.02, min_rounds=5, max_rounds=15, ci_pct=5.0)


T = TypeVar("T")


def groups(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Deal items in turn into groups of at most ``size``.

    If the items are in order of their size, each group then has small and large ones.
    """
    count = math.ceil(len(items) / size)
    return [items[first::count] for first in range(count)]


class Bench:
    """Measures model files of one runtime and precision by the protocol.

    Args:
        target: name of the runtime.
        precision: precision of all model files.
        reference: model file of the reference block.
        empty: model file that does almost nothing; its latency is the overhead of a call.
        reference_ms: latency of the reference block to which timings are scaled; None measures it
            now, for a new table.

    Attributes:
        overhead_ms: overhead of a call: the latency of the empty model.

    Raises:
        RuntimeUnavailableError: the runtime is missing here, or cannot run a file.
    """

    def __init__(
        self,
        target: str,
        precision: Precision,
        reference: Path,
        empty: Path,
        reference_ms: float | None = None,
    ) -> None:
        self._runtime, self._precision = runtime_here(target), precision
        self._reference = Reference(self._load(reference), reference_ms)
        (overhead,) = self.measure([empty], OVERHEAD_EFFORT)
        self.overhead_ms = overhead.latency_ms

    @property
    def reference_ms(self) -> float:
        """Latency of the reference block to which timings are scaled, in ms."""
        return self._reference.latency_ms

    def quiet_ms(self) -> float:
        """Latency of the reference block on the quiet machine, in ms; see `Reference.quiet_ms`."""
        return self._reference.quiet_ms

    def measure(self, models: Sequence[Path], effort: Effort) -> list[Timing]:
        """Load models and time them in turns.

        Returns:
            One timing for each model, in order, with the overhead of a call.

        Raises:
            RuntimeUnavailableError: the runtime cannot run a model; names the file.
        """
        return measure([self._load(path) for path in models], self._reference, effort)

    def _load(self, path: Path) -> Session:
        with self._naming(path):
            session = self._runtime.load(path, self._precision)

        def run(duration_s: float) -> list[float]:
            with self._naming(path):
                return session(duration_s)

        return run

    @contextmanager
    def _naming(self, path: Path) -> Iterator[None]:
        """Turn any error of the runtime into a UserError that names the file."""
        try:
            yield
        except UserError as error:
            raise type(error)(f"{path.name}: {error}") from None
        except Exception as error:  # each runtime has its own exceptions
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RuntimeUnavailableError(
                f"{self._runtime.name} {self._runtime.version()} cannot run {path.name} in "
                f"{self._precision}: {said}"
            ) from None
