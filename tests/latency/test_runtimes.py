"""Every runtime: what it says where it cannot run, and that it runs where it can."""

from __future__ import annotations

import importlib.util

import pytest

from nas.architecture import Block
from nas.latency.runtimes import RUNTIMES
from nas.models.blocks import build_fused_block

BLOCK = Block("ntb", 64, 96, 1, 14, 14, mlp_ratio=2.0, mix_ratio=0.5, sr_ratio=2)


@pytest.mark.parametrize("name", RUNTIMES)
def test_runs_or_says_what_is_missing(name):
    runtime = RUNTIMES[name]()
    assert runtime.name == name
    reason = runtime.unavailable()
    if reason is not None:
        assert len(reason.splitlines()) == 1
        assert "install" in reason or "macOS" in reason or "GPU" in reason
        return
    assert runtime.version()
    assert runtime.device().name
    for precision in runtime.precisions:
        call = runtime.compile(build_fused_block(BLOCK), (2, 64, 14, 14), precision)
        call()
        call()


@pytest.mark.skipif(
    importlib.util.find_spec("coremltools") is None, reason="coremltools is not installed"
)
def test_core_ml_converts_on_any_machine():
    from nas.latency.runtimes.coreml import convert

    model = convert(build_fused_block(BLOCK), (1, 64, 14, 14), "fp16")
    (given,) = model.get_spec().description.input
    assert list(given.type.multiArrayType.shape) == [1, 64, 14, 14]
