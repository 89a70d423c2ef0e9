"""The interface that every runtime implements.

`nas.measurement.protocol` measures with a runtime, and `nas.models.model_files` writes the model
files that it loads. Device kits carry this folder, so its modules need only Python's standard
library and the runtime's own package.
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
"""Least and largest number of timed runs in one turn of a model that is shorter than the turn."""


class Runtime(ABC):
    """One inference runtime on one kind of device.

    Optional packages are imported inside the methods, so that a runtime that is not installed
    can still say what is missing.

    Attributes:
        name: name of the target.
        precisions: supported precisions, the default first.
        suffix: suffix of the model files that it loads.
        in_kits: whether device kits can be made for it; its model files must then load without
            PyTorch.
    """

    name: str
    precisions: tuple[Precision, ...]
    suffix: ClassVar[str] = ".onnx"
    in_kits: ClassVar[bool] = True

    @abstractmethod
    def unavailable(self) -> str | None:
        """What is missing for measuring on this machine, and how to get it; None if nothing is."""

    @abstractmethod
    def version(self) -> str:
        """Version of the installed runtime."""

    @abstractmethod
    def device(self) -> Device:
        """The device on which loaded models run."""

    @abstractmethod
    def load(self, path: Path, precision: Precision) -> Session:
        """Load a model file so that it can be timed.

        Args:
            path: a file (for Core ML: a package) with the suffix of this runtime.
            precision: precision of the file.

        Raises:
            RuntimeUnavailableError: the runtime cannot run the file on this machine.
        """


def timed_by_clock(call: Callable[[], None]) -> Session:
    """Make a session that times a model with the clock of the host.

    Args:
        call: runs the model once; returns when the device is done.
    """

    def run(duration_s: float) -> list[float]:
        begin = time.perf_counter()
        call()  # warm-up: the turn of another model has emptied the caches
        # A model that takes longer than the turn is timed once: its turns are many.
        least = 1 if time.perf_counter() - begin >= duration_s else MIN_RUNS
        times_ms: list[float] = []
        while len(times_ms) < MAX_RUNS:
            start = time.perf_counter()
            call()
            stop = time.perf_counter()
            times_ms.append((stop - start) * 1e3)
            if stop - begin > duration_s and len(times_ms) >= least:
                break
        return times_ms

    return run


def timed_by_device(run_once_ms: Callable[[], float]) -> Session:
    """Make a session from a function that runs a model once.

    Args:
        run_once_ms: runs the model; returns the milliseconds that the device's clock measured.
    """

    def run(duration_s: float) -> list[float]:
        run_once_ms()  # warm-up
        times_ms: list[float] = []
        while len(times_ms) < MAX_RUNS:
            times_ms.append(run_once_ms())
            if sum(times_ms) > 1e3 * duration_s and len(times_ms) >= MIN_RUNS:
                break
        return times_ms

    return run
