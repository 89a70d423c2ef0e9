"""The model files that are measured: the deployed graph, and weights that compress."""

from __future__ import annotations

import zipfile

import onnx
import pytest

from nas.errors import RuntimeUnavailableError
from nas.measurement.runtimes import RUNTIMES
from nas.models.model_files.writer import ModelWriter
from nas.models.network import build_network
from nas.space.workload import Workload
from tests.samples import BLOCKS, TINY


@pytest.fixture
def writer():
    return ModelWriter(RUNTIMES["onnxruntime"], "fp32", 2)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_has_its_own_input_size_and_no_batch_norm(name, writer, tmp_path):
    block = BLOCKS[name]
    model = onnx.load(writer.block(block, writer.path(tmp_path, "block")))
    onnx.checker.check_model(model)
    (given,) = model.graph.input
    shape = [entry.dim_value for entry in given.type.tensor_type.shape.dim]
    assert shape == [2, block.in_channels, block.height, block.width]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_a_network_file_holds_all_weights_and_compresses(writer, tmp_path):
    path = writer.network(TINY, Workload.square(64, 10), tmp_path / "network.onnx")
    parameters = sum(p.numel() for p in build_network(TINY, 10).parameters())
    assert path.stat().st_size > 0.9 * 4 * parameters
    with zipfile.ZipFile(tmp_path / "kit.zip", "w", zipfile.ZIP_DEFLATED) as kit:
        kit.write(path)
    assert (tmp_path / "kit.zip").stat().st_size < 0.1 * path.stat().st_size


def test_writing_leaves_the_global_generator_alone(writer, tmp_path):
    import torch

    before = torch.get_rng_state()
    writer.block(BLOCKS["ncb"], tmp_path / "block.onnx")
    assert torch.equal(before, torch.get_rng_state())


def test_a_model_that_cannot_be_written_names_its_place_and_tmpdir(writer, tmp_path):
    path = tmp_path / "gone" / "block.onnx"
    with pytest.raises(RuntimeUnavailableError) as caught:
        writer.block(BLOCKS["ncb"], path)
    assert str(caught.value).startswith(f"{path}: cannot be written: No such file or directory; ")
    assert str(caught.value).endswith("name another folder for temporary files with TMPDIR")
