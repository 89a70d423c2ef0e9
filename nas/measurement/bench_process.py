"""A bench in a child process.

Unless it is the runtime, PyTorch is not loaded there, so its threads and memory do not disturb the
measurement. Thread pools, caches and crashes of a runtime do not affect the caller.

Device kits carry this file, so it needs only Python's standard library.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType
from typing import Any

from nas.errors import RuntimeUnavailableError
from nas.measurement.bench import Bench
from nas.measurement.protocol import Effort, Timing
from nas.precision import Precision
from nas.system.processes import begin_child, end_processes, interrupts_blocked, one_process_pool

_bench: Bench | None = None
"""The bench of this process, if it is a child of a `BenchProcess`; else None."""


class BenchProcess:
    """A `Bench` in a child process, used as a context manager. Its arguments are those of `Bench`.

    Attributes:
        overhead_ms, reference_ms: as in `Bench`.

    Raises:
        RuntimeUnavailableError: as `Bench`; or the child process died.
    """

    def __init__(
        self,
        target: str,
        precision: Precision,
        reference: Path,
        empty: Path,
        reference_ms: float | None = None,
    ) -> None:
        self._target = target
        self._pool = one_process_pool(RuntimeUnavailableError, begin_child)
        try:
            self.reference_ms, self.overhead_ms = self._call(
                _open, target, precision, reference, empty, reference_ms
            )
        except BaseException:
            self.close()
            raise

    def measure(self, models: Sequence[Path], effort: Effort) -> list[Timing]:
        """As `Bench.measure`."""
        timings: list[Timing] = self._call(_measure, list(models), effort)
        return timings

    def quiet_ms(self) -> float:
        """As `Bench.quiet_ms`."""
        value: float = self._call(_quiet_ms)
        return value

    def close(self) -> None:
        """End the process, even during a measurement."""
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        end_processes(processes)

    def __enter__(self) -> BenchProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            with (
                interrupts_blocked()
            ):  # the first call starts the process, which inherits the block
                future = self._pool.submit(function, *arguments)
            return future.result()
        except BrokenProcessPool:
            raise RuntimeUnavailableError(
                f"the process that measured {self._target} died: the runtime crashed, or the "
                f"machine ran out of memory"
            ) from None


def _open(
    target: str, precision: Precision, reference: Path, empty: Path, reference_ms: float | None
) -> tuple[float, float]:
    global _bench
    _bench = Bench(target, precision, reference, empty, reference_ms)
    return _bench.reference_ms, _bench.overhead_ms


def _measure(models: list[Path], effort: Effort) -> list[Timing]:
    assert _bench is not None
    return _bench.measure(models, effort)


def _quiet_ms() -> float:
    assert _bench is not None
    return _bench.quiet_ms()
