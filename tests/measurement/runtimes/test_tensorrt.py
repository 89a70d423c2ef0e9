"""TensorRT without an NVIDIA GPU: test doubles of driver and trtexec, and the real bindings."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nas.errors import RuntimeUnavailableError
from nas.measurement.runtimes import tensorrt, trtexec

ROOT = Path(__file__).resolve().parents[3]
DOUBLES = ROOT / "tests" / "doubles"
BINDINGS = ("10.13.2.6", "11.4.0.106")


@pytest.fixture
def trtexec_double(monkeypatch):
    monkeypatch.setenv("TRTEXEC", str(DOUBLES / "trtexec"))
    trtexec.version.cache_clear()
    yield
    trtexec.version.cache_clear()


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"Conv" + bytes(2_000_000))
    return path


def test_trtexec_builds_once_and_times_the_gpu(trtexec_double, model, tmp_path):
    session = trtexec.load(model, tmp_path / "timing.cache")
    times_ms = session(0.1)
    assert len(times_ms) == 30
    assert sum(times_ms) / 30 == pytest.approx(0.11, rel=0.01)
    assert (tmp_path / "timing.cache").exists()
    assert trtexec.version() == "10.13.2"


def test_what_trtexec_complains_about_is_quoted(trtexec_double, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    with pytest.raises(RuntimeUnavailableError, match="Failed to parse ONNX model"):
        trtexec.load(broken, tmp_path / "timing.cache")


def test_an_old_trtexec_is_named_with_its_version_and_a_remedy(monkeypatch, model, tmp_path):
    old = tmp_path / "trtexec"
    double = (DOUBLES / "trtexec").read_text()
    old.write_text(double.replace("TensorRT v101302", "TensorRT v8502"))
    old.chmod(0o755)
    monkeypatch.setenv("TRTEXEC", str(old))
    trtexec.version.cache_clear()
    with pytest.raises(RuntimeUnavailableError) as refused:
        tensorrt.TensorRT().load(model, "fp16")
    assert f"{old} is of TensorRT 8.5.2; 10 or newer is needed" in str(refused.value)
    assert "TRTEXEC" in str(refused.value)
    trtexec.version.cache_clear()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "[{}]", '[{"computeMs": "x"}]', '[{"computeMs": -1}]', "[1]"]
)
def test_times_that_make_no_sense_are_refused(content, tmp_path):
    path = tmp_path / "times.json"
    path.write_text(content)
    with pytest.raises(RuntimeUnavailableError, match="trtexec wrote no times"):
        trtexec.read_times(path)


def test_neither_package_nor_trtexec(monkeypatch):
    monkeypatch.delenv("TRTEXEC", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(trtexec, "_USUAL_PLACES", ())
    assert "pip install tensorrt" in str(tensorrt.TensorRT().unavailable())


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")
def test_driver_calls_name_the_gpu_and_time_by_events(tmp_path):
    """The ctypes calls run against a test double of libcuda.so.1, in a process that finds it."""
    library = tmp_path / "libcuda.so.1"
    source = DOUBLES / "libcuda.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    script = """
import time
from nas.measurement.runtimes.cuda_driver import CudaDriver, cuda_device
print(cuda_device()[0].name)
driver = CudaDriver()
driver.free(driver.allocate(1000))
stream, start, end = driver.stream(), driver.event(), driver.event()
driver.record(start, stream)
time.sleep(0.02)
driver.record(end, stream)
print(15 < driver.elapsed_ms(start, end) < 200)
"""
    environment = {"LD_LIBRARY_PATH": str(tmp_path), "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["test-gpu-100", "True"], done.stderr


def test_timing_caches_of_versions_and_devices_differ(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    paths = {
        tensorrt.timing_cache_path(version, device)
        for version in ("10.13.2", "11.4.0")
        for device in ("nvidia-t4", "orin")
    }
    assert len(paths) == 4
    assert all(path.is_relative_to(tmp_path) for path in paths)


def test_a_cache_that_cannot_be_written_is_left_out(trtexec_double, model, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache = tensorrt.timing_cache_path("10.13.2", "orin")
    assert cache is None
    assert len(trtexec.load(model, cache)(0.1)) == 30


def used_names() -> set[str]:
    """Every attribute of TensorRT's objects that the runtime uses."""
    tree = ast.parse(Path(tensorrt.__file__).read_text(encoding="utf-8"))
    names = set()
    ours = {"driver", "path", "cache", "weakref", "partial", "os", "sys"}
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name in ("_engine_session", "_build"):
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute):
                    root = node
                    while isinstance(root, ast.Attribute):
                        root = root.value
                    if not (isinstance(root, ast.Name) and root.id in ours):
                        names.add(node.attr)
    return names - {"append", "parent", "strerror"}  # of lists, paths and errors


def test_every_name_is_collected():
    names = used_names()
    assert {"STRONGLY_TYPED", "execute_async_v3", "create_timing_cache", "OnnxParser"} <= names
    assert len(names) > 20


@pytest.mark.slow
@pytest.mark.parametrize("version", BINDINGS)
def test_every_name_is_in_the_real_bindings(version, tmp_path):
    """The wheel's binary names its methods; libnvinfer is not needed to read them."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    wanted = f"tensorrt-cu13-bindings=={version}"
    done = subprocess.run(
        [*command, "--dest", str(tmp_path), wanted], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"{wanted} cannot be downloaded here: {done.stderr[-200:]}")
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        content = b"".join(
            archive.read(name) for name in archive.namelist() if name.endswith((".so", ".py"))
        )
    missing = {name for name in used_names() if name.encode() not in content}
    assert not missing
