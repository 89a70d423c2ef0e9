"""Kits run as on a device: in another Python environment and process, and killed halfway."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from nas.latency.collect.kit_import import import_results
from nas.latency.collect.tables import calibration_networks
from nas.latency.predict.predictor import LatencyPredictor
from nas.measurement.kit.files import read_results
from nas.measurement.kit.source import open_kit
from tests.kits import tiny_kit
from tests.tiny import AT_64, narrow_space

DOUBLES = Path(__file__).resolve().parents[2] / "doubles"


def started(command, folder, **environment):
    """Start a kit in a folder."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_in_a_bare_environment_killed_and_started_again(tmp_path):
    """The environment has onnxruntime, numpy and their dependencies, and not this project."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    wanted = [f"{name}=={metadata.version(name)}" for name in ("onnxruntime", "numpy")]
    install = [python, "-m", "pip", "install", "--quiet", *wanted]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install onnxruntime: {done.stderr[-200:]}")
    for name in ("torch", "pydantic", "onnx", "pandas"):
        absent = subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False)
        assert absent.returncode, f"{name} is there"
    space = narrow_space(tmp_path)
    built = tiny_kit(tmp_path, "onnxruntime", space=space)
    device = tmp_path / "device"
    device.mkdir()
    shutil.copy(built.path, device / "kit.zip")

    command, results = [str(python), "kit.zip"], device / "results.json"
    process = started(command, device)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not results.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = dict(read_results(results).rows)
    assert 0 < len(kept) < built.blocks + built.networks

    for _ in range(6):  # on a busy machine some models are left out, and measured by the next run
        process = started(command, device)
        out, errors = process.communicate(timeout=300)
        if "are left out, as the machine was too busy" not in errors:
            break
    assert process.returncode == 0, errors
    assert "results.json is complete" in out
    complete = read_results(results)
    assert {name: complete.rows[name] for name in kept} == kept

    table = import_results(results, tmp_path / "tables")
    assert table.meta.runtime_version == metadata.version("onnxruntime")
    assert set(table.blocks) == set(space.blocks(AT_64))
    networks = calibration_networks(space, 8)
    predicted = LatencyPredictor.fit(table).predict(networks, AT_64)
    assert (predicted.latency_ms > 0).all()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")
def test_by_trtexec_where_there_is_no_tensorrt_package(tmp_path):
    """The driver and trtexec are test doubles; that trtexec derives latencies from file sizes."""
    built = tiny_kit(tmp_path, "tensorrt", networks=5, space=narrow_space(tmp_path))
    library = tmp_path / "libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, DOUBLES / "libcuda.c"], check=True)
    environment = {
        "TRTEXEC": str(DOUBLES / "trtexec"),
        "LD_LIBRARY_PATH": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    process = started([sys.executable, str(built.path)], tmp_path, **environment)
    out, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert "tensorrt 10.13.2 on Test GPU 100" in out

    table = import_results(tmp_path / "results.json", tmp_path / "tables")
    assert table.name == "tensorrt/test-gpu-100.fp16.b1"
    with open_kit(built.path) as source:
        models = source.manifest
    sizes = {model.name: model.size_bytes for model in models.models}
    empty_ms = 0.01 + sizes["empty"] / 20e6
    for block, timing in table.blocks.items():
        made_up = 0.01 + sizes[f"block-{block.id}"] / 20e6
        expected = max(made_up - empty_ms, 0.1 * made_up)
        assert timing.latency_ms == pytest.approx(expected, rel=0.02, abs=2e-4)
    for row in table.networks:
        made_up = 0.01 + sizes[f"network-{row.name}"] / 20e6
        assert row.timing.latency_ms == pytest.approx(made_up, rel=0.02)
