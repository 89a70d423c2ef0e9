"""ONNX Runtime takes inputs of every element type that it knows."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

from nas.errors import RuntimeUnavailableError
from nas.measurement.runtimes import RUNTIMES
from tests.cast_models import ELEMENT_TYPES, cast_model


@pytest.fixture(scope="module")
def process() -> Iterator[Executor]:
    """A process to load models in, since its sessions all share one thread pool from then on."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def times_of(path: Path) -> list[float]:
    return RUNTIMES["onnxruntime"].load(path, "fp32")(0.0)


@pytest.mark.parametrize("kind", ELEMENT_TYPES)
def test_every_element_type_is_timed(process, tmp_path, kind):
    times_ms = process.submit(times_of, cast_model(tmp_path / "m.onnx", kind)).result()
    assert times_ms and min(times_ms) > 0


def test_a_type_without_example_values_is_called_ours(process, tmp_path):
    given = helper.make_tensor_value_info("x", TensorProto.UINT4, [2, 3])
    made = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2, 3])
    node = helper.make_node("DequantizeLinear", ["x", "scale"], ["out"])
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [0.5])
    graph = helper.make_graph([node], "quantized", [given], [made], [scale])
    path = tmp_path / "m.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    with pytest.raises(RuntimeUnavailableError, match="this program has no example values"):
        process.submit(times_of, path).result()
