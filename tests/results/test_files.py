"""The files of a run that was for several devices."""

from __future__ import annotations

import json
from dataclasses import replace

import onnxruntime
import pytest

from nas.config import SearchConfig
from nas.results.files import write_best
from tests.report.endings import CASES


@pytest.mark.slow
def test_a_device_of_another_batch_size_gets_its_own_model(tmp_path):
    here = CASES["two-devices"]()
    (there,) = here.elsewhere
    config = SearchConfig(target="coreml", budget_ms=there.config.budget_ms, batch_size=2)
    result = replace(here, elsewhere=(replace(there, config=config),))
    write_best(result, tmp_path)
    batches = {}
    for path in tmp_path.glob("*.onnx"):
        (given,) = onnxruntime.InferenceSession(path).get_inputs()
        batches[path.name] = given.shape[0]
    assert batches == {"best.onnx": 1, "best.fp32.b2.onnx": 2}
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["elsewhere"][0]["budget_ms"] == config.budget_ms
    write_best(replace(result, recommended=None), tmp_path)
    assert not list(tmp_path.iterdir())
