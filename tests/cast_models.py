"""ONNX models whose inputs have any element type."""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto, helper, save

ELEMENT_TYPES = (
    *("FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16", "BOOL", "STRING"),
    *("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
    *("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"),
)


def cast_model(path: Path, kind: str) -> Path:
    """Write a model that converts its input to float32; returns the path."""
    given = helper.make_tensor_value_info("x", getattr(TensorProto, kind), [2, 3])
    made = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2, 3])
    node = helper.make_node("Cast", ["x"], ["out"], to=TensorProto.FLOAT)
    graph = helper.make_graph([node], "cast", [given], [made])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    return path
