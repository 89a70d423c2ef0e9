"""Published checkpoints load by position, under any naming; what is none is refused in one line."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from nas.errors import CheckpointError
from nas.models.checkpoint import load_published
from nas.models.network import Network, build_network
from nas.space.architecture import Architecture
from nas.space.architecture_files import load_architecture
from tests.models import reference
from tests.networks import images, randomise, relative_error
from tests.samples import TINY

Tensors = dict[str, Tensor]
DEPTHS = reference.DEPTHS["nextvit-small"]


def timm_names(tensors: Tensors, depths: tuple[int, ...] = DEPTHS) -> Tensors:
    """The authors' names as timm has them."""
    stages = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith("features."):
            _, index, rest = name.split(".", 2)
            stage, block = stages[int(index)]
            rest = rest.replace("mlp.conv1", "mlp.fc1").replace("mlp.conv2", "mlp.fc2")
            name = f"stages.{stage}.blocks.{block}.{rest}"
        renamed[name.replace("proj_head.0", "head.fc")] = tensor
    return renamed


def uncounted(tensors: Tensors) -> Tensors:
    return {n: tensor for n, tensor in tensors.items() if not n.endswith("num_batches_tracked")}


def same(tensors: Tensors) -> Tensors:
    return tensors


@pytest.fixture(scope="module")
def authors() -> Tensors:
    """Nextvit-small with random weights under the authors' names."""
    return reference.checkpoint(DEPTHS)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("names", [same, timm_names])
@pytest.mark.parametrize("counters", [same, uncounted])
def test_published_files_fill_the_network(
    tmp_path: Path,
    authors: Tensors,
    suffix: str,
    names: Callable[[Tensors], Tensors],
    counters: Callable[[Tensors], Tensors],
) -> None:
    path = tmp_path / f"nextvit{suffix}"
    tensors = counters(names(authors))
    if suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    network = load_published(path)
    assert network.architecture == load_architecture("nextvit-small")
    assert not network.training
    state = network.state_dict()
    counted = counters is same
    for own, expected in zip(state, authors.values(), strict=True):
        tracked = own.endswith("num_batches_tracked")
        assert torch.equal(state[own], expected if counted or not tracked else torch.tensor(0))


@pytest.mark.parametrize("name", ["nextvit-base", "nextvit-large"])
@pytest.mark.slow
def test_the_preset_is_found_by_its_tensors(tmp_path: Path, name: str) -> None:
    depths = reference.DEPTHS[name]
    tensors = reference.checkpoint(depths)
    path = tmp_path / "model.safetensors"
    save_file(timm_names(tensors, depths), path)
    network = load_published(path)
    assert network.architecture == load_architecture(name)
    x = images(1, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(network(x), reference.forward(tensors, depths, x)[0]) < 1e-4


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_tensors_may_be_nested_beside_training_state(
    tmp_path: Path, authors: Tensors, key: str
) -> None:
    path = tmp_path / "checkpoint_best.pth"
    options = argparse.Namespace(lr=1e-3, model="nextvit_small")
    torch.save({key: authors, "optimizer": {"state": {}}, "epoch": 299, "args": options}, path)
    network = load_published(path)
    assert torch.equal(network.head.proj_head.weight, authors["proj_head.0.weight"])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_own_checkpoints_load_for_any_architecture(tmp_path: Path, suffix: str) -> None:
    network = randomise(build_network(TINY, num_classes=7))
    path = tmp_path / f"tiny{suffix}"
    if suffix == ".pth":
        torch.save(network.state_dict(), path)
    else:
        save_file(network.state_dict(), path)
    loaded = load_published(path, TINY, num_classes=7)
    x = images(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), network(x), rtol=0, atol=0)


def test_half_precision_is_read_as_fp32(tmp_path: Path) -> None:
    network = randomise(build_network(TINY))
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    path = tmp_path / "half.safetensors"
    save_file(halves, path)
    loaded = load_published(path, TINY)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.head.proj_head.weight, halves["head.proj_head.weight"].float())


def test_a_loaded_network_can_be_trained_and_fused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.pth"
    torch.save(randomise(build_network(TINY)).state_dict(), path)
    network = load_published(path, TINY)
    assert all(parameter.requires_grad for parameter in network.parameters())
    network.train()(images(2, 3, 64, 64)).sum().backward()
    assert isinstance(network.fuse(), Network)


class _RunsCode:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


def refused(path: Path, architecture: Architecture | None = None, num_classes: int = 1000) -> str:
    """The one line that says why a file is not loaded."""
    with pytest.raises(CheckpointError) as caught:
        load_published(path, architecture, num_classes)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 400
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("writer", [torch.save, lambda v, p: p.write_bytes(pickle.dumps(v))])
def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path, writer: Any) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "ran"
    writer({"model": _RunsCode(trace)}, path)
    message = refused(path)
    if writer is torch.save:
        assert message == "refused: it holds pickled code (posix.system), not only tensors"
    assert not trace.exists()


def test_a_pickled_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.pth"
    torch.save(build_network(TINY), path)
    assert "pickled code (nas.models.network.Network)" in refused(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pth", b"", "not a checkpoint of torch.save"),
        ("a.pth", b"<html>404</html>", "not a checkpoint of torch.save"),
        ("a.pth", b"PK\x03\x04 cut off", "not a checkpoint of torch.save"),
        ("a.safetensors", b"", "not readable as safetensors"),
        ("a.safetensors", b"<html>404</html>", "not readable as safetensors"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert message in refused(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "holds no named tensors, but a list"),
        ({}, "holds no named tensors"),
        (torch.zeros(3), "holds no named tensors, but a Tensor"),
        ({"epoch": 3}, "epoch is a int, not a tensor"),
    ],
)
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    path = tmp_path / "a.pth"
    torch.save(value, path)
    assert message in refused(path)


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
    assert "not a checkpoint" in refused(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "missing.pth") == "no such file"


def test_a_wrong_number_of_tensors_is_refused(tmp_path: Path) -> None:
    state = build_network(TINY).state_dict()
    state.popitem()
    path = tmp_path / "short.pth"
    torch.save(state, path)
    total = len(state)
    assert refused(path, TINY) == (
        f"has {total} tensors, the architecture {TINY.id} takes {total + 1}"
    )
    message = refused(path)
    assert f"has {total} tensors, the presets take nextvit-small " in message
    assert "give the architecture" in message


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_first_wrong_shape_is_named_on_both_sides(tmp_path: Path, suffix: str) -> None:
    state = dict(build_network(TINY, num_classes=10).state_dict())
    path = tmp_path / f"other{suffix}"
    if suffix == ".pth":
        torch.save({f"net.{name}": tensor for name, tensor in state.items()}, path)
    else:
        save_file(state, path)
    prefix = "net." if suffix == ".pth" else ""
    assert refused(path, TINY, num_classes=12) == (
        f"tensor {prefix}head.proj_head.weight has shape [10, 128], "
        "the architecture's head.proj_head.weight takes [12, 128]"
    )


def test_an_unknown_name_in_safetensors_is_refused(tmp_path: Path) -> None:
    state = dict(build_network(TINY).state_dict())
    state["classifier.weight"] = state.pop("head.proj_head.weight")
    path = tmp_path / "renamed.safetensors"
    save_file(state, path)
    assert refused(path, TINY) == "tensor classifier.weight is none of the architecture's"
