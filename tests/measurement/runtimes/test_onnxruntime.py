"""ONNX Runtime takes inputs of every element type that it knows."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper, save

from nas.errors import RuntimeUnavailableError
from nas.measurement.runtimes import RUNTIMES
from tests.cast_models import ELEMENT_TYPES, cast_model


@pytest.mark.parametrize("kind", ELEMENT_TYPES)
def test_every_element_type_is_timed(tmp_path, kind):
    times_ms = RUNTIMES["onnxruntime"].load(cast_model(tmp_path / "m.onnx", kind), "fp32")(0.0)
    assert times_ms and min(times_ms) > 0


def test_a_type_without_example_values_is_called_ours(tmp_path):
    given = helper.make_tensor_value_info("x", TensorProto.UINT4, [2, 3])
    made = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2, 3])
    node = helper.make_node("DequantizeLinear", ["x", "scale"], ["out"])
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [0.5])
    graph = helper.make_graph([node], "quantized", [given], [made], [scale])
    path = tmp_path / "m.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    with pytest.raises(RuntimeUnavailableError, match="this program has no example values"):
        RUNTIMES["onnxruntime"].load(path, "fp32")
