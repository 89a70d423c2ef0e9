"""A bench in a child process, with real ONNX Runtime sessions."""

from __future__ import annotations

import os
import signal
import time

import pytest

from nas.errors import RuntimeUnavailableError
from nas.measurement.bench_process import BenchProcess
from nas.measurement.protocol import Effort
from nas.measurement.runtimes import RUNTIMES
from nas.models.model_files.writer import ModelWriter
from tests.samples import BLOCKS

QUICK = Effort(turn_s=0.01, min_rounds=2, max_rounds=2, ci_pct=5.0)


@pytest.fixture
def files(tmp_path):
    writer = ModelWriter(RUNTIMES["onnxruntime"], "fp32", 1)
    block = writer.block(BLOCKS["ncb"], tmp_path / "block.onnx")
    return writer.reference(tmp_path), writer.empty(tmp_path), block


def test_measures_and_ends(files):
    reference, empty, block = files
    with BenchProcess("onnxruntime", "fp32", reference, empty) as bench:
        assert 0 < bench.overhead_ms < bench.reference_ms
        (timing,) = bench.measure([block], QUICK)
        assert timing.reference_ms == bench.reference_ms
        assert timing.latency_ms > bench.overhead_ms
        assert bench.quiet_ms() > 0
        (process,) = bench._pool._processes.values()
        assert process.is_alive()
    deadline = time.monotonic() + 10  # a thread of the pool may be the one that notices
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not process.is_alive()


def test_a_given_reference_is_what_timings_are_expressed_at(files):
    reference, empty, block = files
    with BenchProcess("onnxruntime", "fp32", reference, empty, 100.0) as bench:
        (timing,) = bench.measure([block], QUICK)
    assert timing.reference_ms == 100.0


def test_a_model_the_runtime_cannot_read_is_named(files, tmp_path):
    reference, empty, _ = files
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with (
        BenchProcess("onnxruntime", "fp32", reference, empty) as bench,
        pytest.raises(RuntimeUnavailableError, match=r"onnxruntime .* cannot run broken.onnx"),
    ):
        bench.measure([broken], QUICK)


def test_a_target_that_is_missing_here_is_refused(files):
    reference, empty, _ = files
    missing = next(name for name, runtime in RUNTIMES.items() if runtime.unavailable())
    with pytest.raises(RuntimeUnavailableError, match="cannot be measured here"):
        BenchProcess(missing, "fp16", reference, empty)


def test_a_process_that_dies_is_an_error_not_a_hang(files):
    reference, empty, block = files
    with BenchProcess("onnxruntime", "fp32", reference, empty) as bench:
        (process,) = bench._pool._processes.values()
        os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.2)
        with pytest.raises(RuntimeUnavailableError, match="died"):
            bench.measure([block], QUICK)
