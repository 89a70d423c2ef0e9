"""Core ML on this Mac or on a connected iPhone."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nas.errors import RuntimeUnavailableError
from nas.measurement.device import Device, slugify, this_cpu
from nas.measurement.protocol import Session
from nas.measurement.runtimes.base import Runtime, timed_by_clock
from nas.measurement.runtimes.inputs import example_input
from nas.precision import Precision

if TYPE_CHECKING:
    import asyncio

TEAM_VARIABLE = "NAS_IOS_TEAM"
"""Environment variable with the Apple development team that signs the measuring app."""

_RUNS_A_TURN = 10


class CoreML(Runtime):
    """Core ML on all compute units (CPU, GPU and Neural Engine) of this Mac."""

    name = "coreml"
    precisions = ("fp16", "fp32")
    suffix: ClassVar[str] = ".mlpackage"

    def unavailable(self) -> str | None:
        if util.find_spec("coremltools") is None:
            return "the package coremltools is not installed: pip install coremltools"
        if platform.system() != "Darwin":
            return "Core ML runs on macOS only"
        return None

    def version(self) -> str:
        return f"{metadata.version('coremltools')} on macOS {platform.mac_ver()[0]}"

    def device(self) -> Device:
        return this_cpu()

    def load(self, path: Path, precision: Precision) -> Session:
        import coremltools as ct

        model = ct.models.MLModel(str(path))
        inputs = {
            given.name: example_input(given.type.multiArrayType.shape, "float32")
            for given in model.get_spec().description.input
        }

        def call() -> None:
            model.predict(inputs)

        return timed_by_clock(call)


class CoreMLOnIPhone(CoreML):
    """Core ML on an iPhone connected to this Mac, through coremltools' model runner app."""

    name = "coreml-iphone"
    in_kits: ClassVar[bool] = False

    def unavailable(self) -> str | None:
        reason = super().unavailable()
        if reason:
            return reason
        if not os.environ.get(TEAM_VARIABLE):
            return f"set {TEAM_VARIABLE} to your Apple development team, which signs an app"
        try:
            _iphone()
        except Exception as error:  # Xcode's tools raise many kinds of errors
            return f"no iPhone can be used: {error}"
        return None

    def version(self) -> str:
        return f"{metadata.version('coremltools')} on iOS {_iphone().os_version}"

    def device(self) -> Device:
        name = _iphone().name
        return Device(slugify(name), name, 0)

    def load(self, path: Path, precision: Precision) -> Session:
        import coremltools as ct
        from coremltools.models.ml_program.experimental.perf_utils import MLModelBenchmarker

        loop, device = _prepared_iphone()
        model = ct.models.MLModel(str(path), skip_model_load=True)
        benchmarker = MLModelBenchmarker(model=model, device=device)

        def run(duration_s: float) -> list[float]:
            measured = benchmarker.benchmark_predict(iterations=_RUNS_A_TURN, warmup=True)
            return list(loop.run_until_complete(measured).samples)

        return run


@lru_cache(maxsize=1)
def _iphone() -> Any:
    """The first connected iPhone, as coremltools' object for a device.

    Raises:
        RuntimeUnavailableError: no iPhone is connected.
    """
    from coremltools.models.ml_program.experimental.remote_device import Device as AppleDevice
    from coremltools.models.ml_program.experimental.remote_device import DeviceType

    phones = AppleDevice.get_connected_devices(DeviceType.IPHONE)
    if not phones:
        raise RuntimeUnavailableError("none is connected")
    return phones[0]


@lru_cache(maxsize=1)
def _prepared_iphone() -> tuple[asyncio.AbstractEventLoop, Any]:
    """The event loop that runs all calls, and the iPhone with the measuring app running."""
    import asyncio

    from coremltools.models.ml_program.experimental.remote_device import AppSigningCredentials

    loop = asyncio.new_event_loop()
    credentials = AppSigningCredentials(development_team=os.environ[TEAM_VARIABLE])
    prepared = _iphone().prepare_for_model_debugging(credentials=credentials)
    return loop, loop.run_until_complete(prepared)
