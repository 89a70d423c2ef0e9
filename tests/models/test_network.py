"""The presets are the published networks: same tensors, same outputs, same sizes refused."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from nas.errors import ArchitectureError
from nas.models.network import Network, build_network
from nas.space.architecture_files import load_architecture
from nas.space.block import Block
from nas.space.workload import Workload
from tests.models import reference
from tests.networks import images, randomise, relative_error
from tests.samples import TINY

PRESETS = list(reference.DEPTHS)


@cache
def published(name: str) -> tuple[reference.Tensors, Network]:
    """A checkpoint of random weights under the authors' names, and our network filled by it."""
    tensors = reference.checkpoint(reference.DEPTHS[name])
    with torch.device("meta"):
        network = build_network(load_architecture(name))
    network.to_empty(device="cpu")
    names = list(network.state_dict())
    network.load_state_dict(dict(zip(names, tensors.values(), strict=True)))
    return tensors, network.eval()


@pytest.fixture(scope="module", autouse=True)
def _free_memory() -> Iterator[None]:
    yield
    published.cache_clear()


@pytest.mark.parametrize("name", PRESETS)
def test_tensors_have_the_published_number_order_and_shapes(name: str) -> None:
    with torch.device("meta"):
        state = build_network(load_architecture(name)).state_dict()
    expected = reference.shapes(reference.DEPTHS[name])
    assert [tuple(tensor.shape) for tensor in state.values()] == list(expected.values())
    for ours, theirs in zip(state, expected, strict=True):
        assert ours.rpartition(".")[2] == theirs.rpartition(".")[2]


@pytest.mark.parametrize("name", PRESETS)
def test_outputs_are_those_of_the_published_network(name: str) -> None:
    tensors, network = published(name)
    x = images(1, 3, 224, 224)
    with torch.no_grad():
        logits, features = network(x), network.features(x)
    expected, stages = reference.forward(tensors, reference.DEPTHS[name], x)
    assert relative_error(logits, expected) < 1e-4
    assert [tuple(f.shape[1:]) for f in features] == [
        (96, 56, 56), (256, 28, 28), (512, 14, 14), (1024, 7, 7),
    ]  # fmt: skip
    for feature, stage in zip(features, stages, strict=True):
        assert relative_error(feature, stage) < 1e-4


@pytest.mark.parametrize(
    "size", [(25, 25), (32, 32), (197, 197), (250, 250), (333, 333), (224, 161), (31, 97)]
)
def test_sizes_that_stages_do_not_divide_work_as_published(size: tuple[int, int]) -> None:
    tensors, network = published("nextvit-small")
    x = images(1, 3, *size)
    expected, stages = reference.forward(tensors, reference.DEPTHS["nextvit-small"], x)
    with torch.no_grad():
        assert relative_error(network(x), expected) < 1e-4
        features = network.features(x)
    for feature, stage, stride in zip(features, stages, (4, 8, 16, 32), strict=True):
        assert feature.shape == stage.shape
        assert feature.shape[2:] == tuple(-(-side // stride) for side in size)


@pytest.mark.parametrize("resolution", range(1, 40))
def test_sizes_are_refused_exactly_where_the_published_network_fails(resolution: int) -> None:
    depths = reference.DEPTHS["nextvit-small"]
    tensors, network = published("nextvit-small")
    x = images(1, 3, resolution, resolution)
    try:
        reference.forward(tensors, depths, x)
    except RuntimeError:
        with pytest.raises(ArchitectureError, match="needs at least"):
            network.architecture.blocks(Workload.square(resolution))
        return
    blocks = network.architecture.blocks(Workload.square(resolution))
    assert _sizes(network, x) == [(b.height, b.width) for b in blocks]


def _sizes(network: Network, x: Tensor) -> list[tuple[int, int]]:
    """Input sizes that the modules really see, in their order."""
    seen: list[tuple[int, int]] = []

    def record(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append((args[0].shape[2], args[0].shape[3]))

    modules = [network.stem, *network.blocks, network.head]
    hooks = [module.register_forward_pre_hook(record) for module in modules]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return seen


def test_a_two_dimensional_token_pooling_would_give_other_outputs() -> None:
    tensors, network = published("nextvit-small")
    x = images(1, 3, 224, 224)
    other, _ = reference.forward(tensors, reference.DEPTHS["nextvit-small"], x, pool_2d=True)
    with torch.no_grad():
        assert relative_error(network(x), other) > 1e-2


def test_fusing_the_published_network_keeps_its_outputs() -> None:
    tensors, network = published("nextvit-base")
    x = images(1, 3, 224, 224, seed=1)
    expected, _ = reference.forward(tensors, reference.DEPTHS["nextvit-base"], x)
    with torch.no_grad():
        assert relative_error(network.fuse()(x), expected) < 1e-4
    published.cache_clear()


@pytest.mark.parametrize("seed", range(4))
def test_fusing_a_network_keeps_outputs_and_features(seed: int) -> None:
    network = randomise(build_network(TINY, num_classes=10), seed)
    assert isinstance(network, Network)
    x = images(2, 3, 75, 75, seed=seed)
    with torch.no_grad():
        expected = [network(x), *network.features(x)]
        for _ in range(2):
            assert network.fuse() is network
            assert not network.training
            found = [network(x), *network.features(x)]
            for one, other in zip(found, expected, strict=True):
                assert relative_error(one, other) < 1e-4
    assert not any(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in network.modules())


def test_features_are_the_outputs_of_the_four_stages() -> None:
    network = randomise(build_network(TINY))
    assert isinstance(network, Network)
    features = network.features(images(1, 3, 64, 64))
    assert [f.shape[1] for f in features] == [32, 96, 64, 128]
    assert [f.shape[2] for f in features] == [16, 8, 4, 2]
    torch.testing.assert_close(network.head(features[-1]), network(images(1, 3, 64, 64)))


def test_initial_weights_are_normal_with_std_0_02() -> None:
    torch.manual_seed(0)
    network = build_network(TINY)
    weights = [m.weight for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    values = torch.cat([weight.detach().flatten() for weight in weights])
    assert values.std().item() == pytest.approx(0.02, rel=0.01)
    assert values.mean().item() == pytest.approx(0, abs=1e-3)
    assert not network.head.proj_head.bias.any()


def test_stochastic_depth_grows_from_the_first_to_the_last_block() -> None:
    network = build_network(TINY, drop_path_rate=0.2)
    rates = [block.drop_path.rate for block in network.blocks if hasattr(block, "drop_path")]
    assert rates[0] == 0
    assert rates == sorted(rates)
    last = network.blocks[-1]
    assert last.mlp_drop_path.rate == pytest.approx(0.2)
    assert last.mhsa_drop_path.rate == pytest.approx(0.15)
    assert last.mhca_drop_path.rate == pytest.approx(0.05)


def test_a_network_is_its_blocks_modules_in_a_row() -> None:
    network = build_network(TINY, num_classes=5)
    blocks: list[Block] = TINY.blocks(Workload.square(64, 5))
    assert len(network.blocks) == TINY.depth == len(blocks) - 2
    assert [type(module).__name__.lower() for module in network.blocks] == [
        block.kind for block in blocks[1:-1]
    ]
    assert network(images(2, 3, 64, 64)).shape == (2, 5)
