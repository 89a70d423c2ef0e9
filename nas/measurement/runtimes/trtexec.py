"""TensorRT through its command ``trtexec``, for devices without the Python package.

An engine is built once and saved. Every turn loads it and runs it a fixed number of times, because
starting the program takes most of the time. ``--exportTimes`` writes a list with one object for
each run; its ``computeMs`` is the time on the GPU without transfers (format:
samples/common/sampleReporting.cpp of NVIDIA/TensorRT).
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from nas.errors import RuntimeUnavailableError
from nas.measurement.protocol import Session

_USUAL_PLACES = ("/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
_WARM_UP_MS = 50
_RUNS_A_TURN = 30
_BUILD_LIMIT_S, _RUN_LIMIT_S = 1800, 300


def find() -> str | None:
    """Path of ``trtexec``: from the variable TRTEXEC, from PATH, or where packages install it."""
    given = os.environ.get("TRTEXEC") or shutil.which("trtexec")
    return given or next((place for place in _USUAL_PLACES if Path(place).exists()), None)


@lru_cache(maxsize=1)
def version() -> str:
    """TensorRT's version as trtexec prints it, for example ``10.13.2``."""
    found = re.search(r"\[TensorRT v(\d+)\]", _run(["--help"], _RUN_LIMIT_S, check=False))
    if not found:
        return "unknown"
    number = int(found[1])  # 8501 is 8.5.1, 101302 is 10.13.2
    if number >= 100_000:
        return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
    return f"{number // 1000}.{number // 100 % 10}.{number % 100}"


def load(path: Path, cache: Path | None) -> Session:
    """Build an engine with trtexec; returns a session that runs it.

    Args:
        path: ONNX file, already in the wanted precision.
        cache: TensorRT's timing cache, kept between builds; None for none.

    Raises:
        RuntimeUnavailableError: trtexec failed; quotes its last error.
    """
    # In the model's folder, which is removed even if this process is killed.
    folder = tempfile.TemporaryDirectory(prefix="trtexec-", dir=path.parent)
    engine, times = Path(folder.name) / "engine.plan", Path(folder.name) / "times.json"
    build = [f"--onnx={path}", "--stronglyTyped", f"--saveEngine={engine}", "--skipInference"]
    if cache is not None:
        build.append(f"--timingCacheFile={cache}")
    _run(build, _BUILD_LIMIT_S)

    def run(duration_s: float, keep: object = folder) -> list[float]:
        times.unlink(missing_ok=True)
        _run(
            [
                *(f"--loadEngine={engine}", "--noDataTransfers", "--useSpinWait"),
                *(f"--warmUp={_WARM_UP_MS}", "--duration=0", f"--iterations={_RUNS_A_TURN}"),
                f"--exportTimes={times}",
            ],
            _RUN_LIMIT_S,
        )
        return read_times(times)

    return run


def read_times(path: Path) -> list[float]:
    """GPU milliseconds of every run, read from a file of ``--exportTimes``.

    Raises:
        RuntimeUnavailableError: the file cannot be read, or a time in it is not valid.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        times_ms = [float(entry["computeMs"]) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RuntimeUnavailableError(f"trtexec wrote no times that can be read: {error}") from None
    if not times_ms or not all(math.isfinite(value) and value > 0 for value in times_ms):
        raise RuntimeUnavailableError("trtexec wrote no times, or some that are not above zero")
    return times_ms


def _run(arguments: list[str], limit_s: float, check: bool = True) -> str:
    program = find()
    if program is None:
        raise RuntimeUnavailableError("trtexec is not installed, or not in PATH")
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=False, timeout=limit_s
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeUnavailableError(f"{program} did not run to its end: {error}") from None
    output = done.stdout + done.stderr
    if check and done.returncode:
        errors = [line for line in output.splitlines() if "[E]" in line] or output.splitlines()
        said = errors[0].strip() if errors else f"exit code {done.returncode}"
        raise RuntimeUnavailableError(f"trtexec failed: {said}")
    return output
