"""Exported ONNX computes what torch does, in ONNX Runtime."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import nas.models.model_files.onnx
from nas.errors import ArchitectureError, RunError, RuntimeUnavailableError
from nas.models.blocks import build_block
from nas.models.model_files.onnx import export_network, export_onnx
from nas.models.network import build_network
from nas.space.architecture import Architecture
from nas.space.architecture_files import load_architecture
from nas.space.block import Block
from nas.space.space_files import load_space
from nas.space.workload import Workload
from tests.networks import images, randomise, relative_error
from tests.samples import BLOCKS, TINY


def run_onnx(model: bytes, x: Tensor) -> Tensor:
    """Output of an ONNX Runtime session."""
    session = onnxruntime.InferenceSession(model)
    (entry,) = session.get_inputs()
    return torch.from_numpy(session.run(None, {entry.name: x.numpy()})[0])


def fused(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with random weights and statistics, folded."""
    randomise(module, seed).fuse()
    return module


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_blocks_onnx_equals_torch(block: Block, batch: int) -> None:
    module = fused(build_block(block))
    x = images(batch, block.in_channels, block.height, block.width)
    with torch.no_grad():
        assert relative_error(run_onnx(export_onnx(module, tuple(x.shape)), x), module(x)) < 1e-3


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_half_precision_is_weights_and_values_in_half(block: Block) -> None:
    module = fused(build_block(block))
    x = images(1, block.in_channels, block.height, block.width)
    data = export_onnx(module, tuple(x.shape), precision="fp16")
    out = run_onnx(data, x.half())
    with torch.no_grad():
        assert out.dtype == torch.float16
        assert relative_error(out.float(), module(x)) < 1e-2
    weights = onnx.load_model_from_string(data).graph.initializer
    kinds = {tensor.data_type for tensor in weights if len(tensor.dims) > 1}
    assert kinds == {onnx.TensorProto.FLOAT16}
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


@pytest.mark.parametrize("seed", range(3))
def test_a_random_networks_onnx_equals_torch(seed: int) -> None:
    architecture = load_space("nextvit").sample(random.Random(seed), size_bias=-4.0)
    network = fused(build_network(architecture, num_classes=10), seed)
    x = images(2, 3, 75, 75, seed=seed)
    with torch.no_grad():
        assert relative_error(run_onnx(export_onnx(network, (2, 3, 75, 75)), x), network(x)) < 1e-3


@pytest.mark.slow
def test_nextvit_smalls_onnx_equals_torch() -> None:
    network = fused(build_network(load_architecture("nextvit-small")))
    x = images(1, 3, 224, 224)
    data = export_onnx(network, (1, 3, 224, 224))
    onnx.checker.check_model(data, full_check=True)
    with torch.no_grad():
        assert relative_error(run_onnx(data, x), network(x)) < 1e-3


def signature(data: bytes) -> tuple[tuple[str, list[int]], tuple[str, list[int]]]:
    """Names and shapes of the input and the output."""
    graph = onnx.load_model_from_string(data).graph
    (entry,), (result,) = graph.input, graph.output
    shapes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in (entry, result)]
    return (entry.name, shapes[0]), (result.name, shapes[1])


def test_inputs_and_outputs_are_named_and_static() -> None:
    network = build_network(TINY, num_classes=10).fuse()
    assert signature(export_onnx(network, (2, 3, 64, 64))) == (
        ("images", [2, 3, 64, 64]),
        ("logits", [2, 10]),
    )
    block = BLOCKS["ncb stride 2"]
    module = fused(build_block(block))
    assert signature(export_onnx(module, (1, 32, 15, 15))) == (
        ("input", [1, 32, 15, 15]),
        ("output", [1, 96, 8, 8]),
    )


@pytest.mark.parametrize("kind", ["ncb", "ntb"])
def test_a_folded_blocks_onnx_has_no_batch_norm(kind: str) -> None:
    block = BLOCKS[kind]
    data = export_onnx(fused(build_block(block)), (1, block.in_channels, 14, 14))
    ops = {node.op_type for node in onnx.load_model_from_string(data).graph.node}
    assert "BatchNormalization" not in ops
    assert "Conv" in ops


@pytest.mark.slow
def test_the_newer_exporter_takes_over_where_torch_lost_the_older(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = fused(build_network(TINY, num_classes=10))
    x = images(1, 3, 64, 64)
    older = export_onnx(network, (1, 3, 64, 64))
    monkeypatch.setattr(nas.models.model_files.onnx, "_has_torchscript_exporter", lambda: False)
    newer = export_onnx(network, (1, 3, 64, 64))
    assert signature(newer) == signature(older)
    assert newer != older
    with torch.no_grad():
        assert relative_error(run_onnx(newer, x), network(x)) < 1e-3


def test_a_missing_onnxscript_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.models.model_files.onnx, "_has_torchscript_exporter", lambda: False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailableError, match="pip install onnxscript"):
        export_onnx(fused(build_block(BLOCKS["head"])), (1, 128, 7, 7))


def test_the_older_exporter_is_recognised_by_what_torch_offers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert nas.models.model_files.onnx._has_torchscript_exporter()
    monkeypatch.delattr(torch.onnx, "utils")
    assert not nas.models.model_files.onnx._has_torchscript_exporter()


def test_exporting_warns_of_nothing_and_leaves_the_module_alone() -> None:
    module = fused(build_block(BLOCKS["ntb"]))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_onnx(module, (1, 96, 14, 14))
    assert not module.training
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, path = fused(build_block(BLOCKS["head"])), tmp_path / "head.onnx"
    data = export_onnx(module, (1, 128, 7, 7), path)
    assert path.read_bytes() == data
    write = Path.write_bytes

    def full_disk(self: Path, content: bytes) -> int:
        write(self, content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(RunError, match=r"cannot write .*head.onnx: No space left on device"):
        export_onnx(module, (1, 128, 7, 7), path)
    assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*missing"):
        export_onnx(fused(build_block(BLOCKS["head"])), (1, 128, 7, 7), tmp_path / "missing" / "a")


def test_an_exported_network_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "best.onnx"
    state = torch.random.get_rng_state()
    export_network(TINY, path, Workload.square(64, 10, batch_size=2), seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    model = onnx.load(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["architecture_id"] == TINY.id
    assert Architecture.from_json(json.loads(metadata["architecture"])) == TINY
    assert metadata["resolution"] == "64"
    assert metadata["batch_size"] == "2"
    assert metadata["precision"] == "fp32"
    assert metadata["weights"] == "untrained, seed 5"
    assert signature(path.read_bytes())[0] == ("images", [2, 3, 64, 64])
    torch.manual_seed(5)
    network = build_network(TINY, num_classes=10).fuse()
    x = images(2, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(run_onnx(path.read_bytes(), x), network(x)) < 1e-3


def test_the_same_seed_writes_the_same_file(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        export_network(TINY, tmp_path / name, Workload.square(64, 10), seed)
    contents = [(tmp_path / name).read_bytes() for name in "abc"]
    assert contents[0] == contents[1] != contents[2]


def test_half_precision_networks_run(tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    export_network(TINY, path, Workload.square(64, 10), precision="fp16")
    out = run_onnx(path.read_bytes(), images(1, 3, 64, 64).half())
    assert out.dtype == torch.float16
    assert np.isfinite(out.numpy()).all()


def test_a_resolution_too_low_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match="use a higher resolution"):
        export_network(load_architecture("nextvit-small"), tmp_path / "a.onnx", Workload.square(16))
    assert not list(tmp_path.iterdir())


def test_importing_nas_does_not_import_torch() -> None:
    code = (
        "import sys, nas; nas.load_space('nextvit').blocks(); import nas.models.cost; "
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
