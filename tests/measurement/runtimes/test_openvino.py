"""OpenVINO takes inputs of every element type that its CPU plugin knows."""

from __future__ import annotations

import pytest

from nas.measurement.runtimes import RUNTIMES
from tests.cast_models import ELEMENT_TYPES, cast_model

UNKNOWN = ("STRING", "FLOAT8E4M3FNUZ", "FLOAT8E5M2FNUZ")


@pytest.mark.skipif(RUNTIMES["openvino"].unavailable() is not None, reason="no OpenVINO")
@pytest.mark.parametrize("kind", [kind for kind in ELEMENT_TYPES if kind not in UNKNOWN])
def test_every_element_type_is_timed(tmp_path, kind):
    times_ms = RUNTIMES["openvino"].load(cast_model(tmp_path / "m.onnx", kind), "fp32")(0.0)
    assert times_ms and min(times_ms) > 0
