"""Every runtime: it runs where it is available, and says what is missing where it is not."""

from __future__ import annotations

import importlib.util

import pytest

from nas.measurement.bench_process import BenchProcess
from nas.measurement.protocol import Effort
from nas.measurement.runtimes import RUNTIMES
from nas.models.model_files.writer import ModelWriter
from nas.space.block import Block

BLOCK = Block("ntb", 64, 96, 1, 14, 14, mlp_ratio=2.0, mix_ratio=0.5, sr_ratio=2)
QUICK = Effort(turn_s=0.01, min_rounds=2, max_rounds=2, ci_pct=5.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNTIMES)
def test_runs_or_says_what_is_missing(name, tmp_path):
    runtime = RUNTIMES[name]
    assert runtime.name == name
    reason = runtime.unavailable()
    if reason is not None:
        assert len(reason.splitlines()) == 1
        assert any(word in reason for word in ("install", "macOS", "GPU", "g++"))
        return
    assert runtime.version()
    assert runtime.device().name
    for precision in runtime.precisions:
        writer = ModelWriter(runtime, precision, 2)
        block = writer.block(BLOCK, writer.path(tmp_path, "block"))
        reference, empty = writer.reference(tmp_path), writer.empty(tmp_path)
        with BenchProcess(name, precision, reference, empty) as bench:
            (timing,) = bench.measure([block], QUICK)
        assert timing.latency_ms > bench.overhead_ms > 0
        assert timing.runs >= 4
        assert timing.spread_pct < 1000  # without the one-time work of a first run


@pytest.mark.skipif(
    importlib.util.find_spec("coremltools") is None, reason="coremltools is not installed"
)
def test_core_ml_converts_on_any_machine(tmp_path):
    import coremltools

    writer = ModelWriter(RUNTIMES["coreml"], "fp16", 1)
    path = writer.block(BLOCK, writer.path(tmp_path, "block"))
    spec = coremltools.models.MLModel(str(path), skip_model_load=True).get_spec()
    (given,) = spec.description.input
    assert list(given.type.multiArrayType.shape) == [1, 64, 14, 14]
