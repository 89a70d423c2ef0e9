"""The interface every runtime implements; measuring itself is `nas.measurement.protocol`.

It needs Python's standard library and the runtime's own package, and runs on the device, where
there may be no PyTorch: device kits carry this folder. What writes the model files that a runtime
loads is `nas.models.model_files`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from nas.measurement.device import Device
from nas.measurement.protocol import Session
from nas.precision import Precision

MIN_RUNS, MAX_RUNS = 2, 200
"""Timed runs of one turn."""


class Runtime(ABC):
    """One inference runtime on one kind of device.

    Optional packages are imported inside the methods, so that a runtime that is not installed
    can still say what it is missing.

    Attributes:
        name: the target it stands for.
        precisions: what it runs, the usual one first.
        suffix: of its model files.
        in_kits: whether its model files can be measured where there is no PyTorch.
    """

    name: str
    precisions: tuple[Precision, ...]
    suffix: ClassVar[str] = ".onnx"
    in_kits: ClassVar[bool] = True

    @abstractmethod
    def unavailable(self) -> str | None:
        """What is missing to measure here and how to get it, or None if nothing is."""

    @abstractmethod
    def version(self) -> str:
        """Version of the installed runtime."""

    @abstractmethod
    def device(self) -> Device:
        """The device that `load` loads for."""

    @abstractmethod
    def load(self, path: Path, precision: Precision) -> Session:
        """Make a model file ready to be timed.

        Args:
            path: a file (for Core ML: a package) with the suffix of this runtime.
            precision: it was made in.

        Raises:
            RuntimeUnavailableError: the runtime cannot run it here.
        """


def timed_by_clock(call: Callable[[], None]) -> Session:
    """A session of a call that returns when the device is done."""

    def run(duration_s: float) -> list[float]:
        begin = time.perf_counter()
        call()
        stop = time.perf_counter()
        # The first run warms up. Where it alone outlasts the turn it is counted: the caches it
        # found cold are a small part of so long a run.
        times_ms = [(stop - begin) * 1e3] if stop - begin >= duration_s else []
        while len(times_ms) < MAX_RUNS:
            start = time.perf_counter()
            call()
            stop = time.perf_counter()
            times_ms.append((stop - start) * 1e3)
            if stop - begin > duration_s and len(times_ms) >= MIN_RUNS:
                break
        return times_ms

    return run


def timed_by_device(run_once_ms: Callable[[], float]) -> Session:
    """A session of a call that returns the milliseconds its run took by the device's own clock."""

    def run(duration_s: float) -> list[float]:
        run_once_ms()  # warms up
        times_ms: list[float] = []
        while len(times_ms) < MAX_RUNS:
            times_ms.append(run_once_ms())
            if sum(times_ms) > 1e3 * duration_s and len(times_ms) >= MIN_RUNS:
                break
        return times_ms

    return run
