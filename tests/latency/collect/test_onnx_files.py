"""ONNX files of other programs: their open shapes are fixed, and their weights come along."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from nas.errors import ConfigError
from nas.latency.collect.onnx_files import fix_shapes, read_onnx, write_onnx


def _model(shapes, *, nodes=None, initializers=(), output=("a", "b")):
    """A model with these shapes of inputs, which by default copies its first input."""
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    made = helper.make_tensor_value_info("out", TensorProto.FLOAT, output)
    nodes = nodes or [helper.make_node("Relu", [next(iter(shapes))], ["out"])]
    graph = helper.make_graph(nodes, "graph", given, [made], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _fixed(model, path, shapes=None):
    """The shapes that a model is given, and those that ONNX Runtime sees in it."""
    found = fix_shapes(model, path, shapes or {})
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert found == {given.name: given.shape for given in session.get_inputs()}
    inputs = {name: np.ones(shape, np.float32) for name, shape in found.items()}
    session.run(None, inputs)
    return found


@pytest.mark.parametrize("first", ["batch", -1, 0, None])
def test_an_open_first_dimension_is_one_by_default(tmp_path, first):
    assert _fixed(_model({"x": [first, 8]}), tmp_path) == {"x": [1, 8]}
    assert _fixed(_model({"x": [first, 8]}), tmp_path, {"x": (4, 8)}) == {"x": [4, 8]}


@pytest.mark.parametrize("size", ["h", -1, 0, None])
def test_another_open_dimension_is_asked_for(tmp_path, size):
    with pytest.raises(ConfigError, match=r"input 'x' open; .* --shape x=1x3x\?$"):
        fix_shapes(_model({"x": ["n", 3, size]}), tmp_path, {})
    model = _model({"x": ["n", 3, size]}, output=("a", "b", "c"))
    assert _fixed(model, tmp_path, {"x": (1, 3, 5)}) == {"x": [1, 3, 5]}


def test_outputs_of_older_converters_are_no_obstacle(tmp_path):
    assert _fixed(_model({"x": [-1, 8]}, output=(-1, 8)), tmp_path, {"x": (2, 8)})


def _two(first, second):
    node = helper.make_node("Concat", ["x", "y"], ["out"], axis=0)
    return _model({"x": first, "y": second}, nodes=[node])


def test_dimensions_of_one_name_have_one_size(tmp_path):
    model = _two(["n", "w"], ["n", "w"])
    assert _fixed(model, tmp_path, {"y": (4, 7)}) == {"x": [4, 7], "y": [4, 7]}
    assert _fixed(_two(["n", 7], ["n", 7]), tmp_path) == {"x": [1, 7], "y": [1, 7]}
    with pytest.raises(
        ConfigError, match="dimension 'n' of .* is 4 elsewhere, here 2: give it one"
    ):
        fix_shapes(_two(["n", 7], ["n", 7]), tmp_path, {"x": (4, 7), "y": (2, 7)})


@pytest.mark.parametrize("second", ["m", -1])
def test_batches_of_two_sizes_are_never_mixed(tmp_path, second):
    with pytest.raises(ConfigError, match=r"input 'y' open; .* --shape y=\?x7$"):
        fix_shapes(_two(["n", 7], [second, 7]), tmp_path, {"x": (4, 7)})
    shapes = {"x": (4, 7), "y": (2, 7)}
    assert _fixed(_two(["n", 7], [second, 7]), tmp_path, shapes) == {"x": [4, 7], "y": [2, 7]}
    one = _fixed(_two(["n", 7], [second, 7]), tmp_path, {"x": (1, 7)})
    assert one == {"x": [1, 7], "y": [1, 7]}


def test_an_input_without_a_shape_is_asked_for(tmp_path):
    with pytest.raises(ConfigError, match="does not say how many dimensions input 'x' has"):
        fix_shapes(_model({"x": None}), tmp_path, {})
    assert _fixed(_model({"x": None}), tmp_path, {"x": (2, 3)}) == {"x": [2, 3]}


def test_constants_that_are_listed_as_inputs_need_no_shape(tmp_path):
    weight = numpy_helper.from_array(np.ones((8, 8), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["out"])
    model = _model({"x": ["n", 8], "w": [8, 8]}, nodes=[node], initializers=[weight])
    assert fix_shapes(model, tmp_path, {}) == {"x": [1, 8]}


def test_a_scalar_keeps_its_shape(tmp_path):
    assert _fixed(_model({"x": []}, output=()), tmp_path) == {"x": []}


def test_an_input_that_is_no_tensor_is_refused_as_not_supported_here(tmp_path):
    entry = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    made = helper.make_tensor_value_info("out", TensorProto.INT64, [])
    node = helper.make_node("SequenceLength", ["x"], ["out"])
    model = helper.make_model(helper.make_graph([node], "graph", [entry], [made]))
    with pytest.raises(ConfigError, match="input 'x' is not a tensor; .* by this program"):
        fix_shapes(model, tmp_path, {})


def _with_weights_beside_it(folder, location="weights.bin"):
    weight = numpy_helper.from_array(np.ones((300, 300), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["out"])
    model = _model({"x": ["n", 300]}, nodes=[node], initializers=[weight])
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(
        model, folder / "m.onnx", save_as_external_data=True, location=location, size_threshold=0
    )
    return folder / "m.onnx"


def _runs(path, folder):
    """Whether ONNX Runtime runs the model after it was read and written."""
    folder.mkdir()
    model, _ = read_onnx(path)
    fix_shapes(model, path, {})
    write_onnx(model, path, folder / "m.onnx")
    session = ort.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"x": np.ones((1, 300), np.float32)})
    return out[0, 0] == 300


def test_weights_beside_the_model_come_along(tmp_path):
    assert _runs(_with_weights_beside_it(tmp_path), tmp_path / "copy")
    nested = tmp_path / "nested"
    nested.mkdir()
    assert _runs(_with_weights_beside_it(nested, "data/weights.bin"), nested / "copy")


def test_weights_through_links_come_along(tmp_path):
    """As download caches keep them: both files are links to blobs in another folder."""
    blobs, shown = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    shown.mkdir()
    path = _with_weights_beside_it(blobs)
    for name in ("m.onnx", "weights.bin"):
        (blobs / name).rename(blobs / f"{name}.blob")
        (shown / name).symlink_to(f"../blobs/{name}.blob")
    assert _runs(shown / path.name, tmp_path / "copy")


def test_weights_that_are_missing_are_named(tmp_path):
    path = _with_weights_beside_it(tmp_path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ConfigError, match=r"its weights in .*weights\.bin cannot be used: No such"):
        _runs(path, tmp_path / "copy")


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd"])
def test_weights_outside_the_folder_of_the_model_are_refused(tmp_path, location):
    path = _with_weights_beside_it(tmp_path)
    model, _ = read_onnx(path)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    (tmp_path / "copy").mkdir()
    with pytest.raises(ConfigError, match="are not below the model's own folder"):
        write_onnx(model, path, tmp_path / "copy" / "m.onnx")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x09\x12"])
def test_what_is_no_model_is_one_line(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_onnx(path)
    assert "is no ONNX model" in str(refused.value) and len(str(refused.value).splitlines()) == 1
