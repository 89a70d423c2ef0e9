"""Costs counted from sizes are those of the modules themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nas.models.blocks import build_block
from nas.models.cost import block_cost, block_ops, network_cost
from nas.models.network import build_network
from nas.space.architecture import Architecture
from nas.space.architecture_files import load_architecture
from nas.space.block import Block
from nas.space.workload import Workload
from tests.samples import BLOCKS, architectures


@dataclass
class Count:
    macs: int = 0


@contextmanager
def counting(module: nn.Module) -> Iterator[Count]:
    """Counts multiply-accumulates of what a module really runs."""
    count = Count()

    def matrix(layer: nn.Module, _: Any, out: Tensor) -> None:
        assert isinstance(layer, (nn.Conv2d, nn.Linear))
        count.macs += out.numel() * layer.weight[0].numel()

    attention = F.scaled_dot_product_attention

    def products(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        count.macs += q.numel() * k.shape[-2]
        count.macs += q.shape[:-1].numel() * v.shape[-2:].numel()
        return attention(q, k, v, **options)

    hooks = [
        layer.register_forward_hook(matrix)
        for layer in module.modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", products)
        yield count
    for hook in hooks:
        hook.remove()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def check(architecture: Architecture, resolution: int, num_classes: int) -> None:
    cost = network_cost(architecture.blocks(Workload.square(resolution, num_classes)))
    with torch.device("meta"):
        network = build_network(architecture, num_classes).eval()
        with counting(network) as count:
            network(torch.zeros(1, 3, resolution, resolution))
    assert cost.params == parameters(network)
    assert cost.macs == count.macs


@pytest.mark.parametrize(
    ("name", "params_m", "gmacs"),
    [
        ("nextvit-small", 31.763, 5.79),
        ("nextvit-base", 44.819, 8.27),
        ("nextvit-large", 57.874, 10.75),
    ],
)
def test_presets_cost_what_was_published(name: str, params_m: float, gmacs: float) -> None:
    architecture = load_architecture(name)
    cost = network_cost(architecture.blocks())
    assert cost.params / 1e6 == pytest.approx(params_m, abs=6e-4)
    assert cost.macs / 1e9 == pytest.approx(gmacs, rel=0.005)
    check(architecture, 224, 1000)


@given(architectures(), st.integers(225, 300), st.integers(1, 100))
@settings(max_examples=30)
@pytest.mark.slow
def test_any_network_costs_what_its_modules_do(
    architecture: Architecture, resolution: int, num_classes: int
) -> None:
    check(architecture, resolution, num_classes)


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_block_costs_what_its_module_does(block: Block) -> None:
    module = build_block(block).eval()
    with counting(module) as count:
        module(torch.zeros(3, block.in_channels, block.height, block.width))
    cost = block_cost(block)
    assert 3 * cost.macs == count.macs
    assert cost.params == parameters(module)
    module.fuse()
    assert cost.weights == parameters(module)


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_block_is_the_sum_of_its_operators(block: Block) -> None:
    ops, cost = block_ops(block), block_cost(block)
    for name in ("macs", "weights", "activations", "params"):
        assert getattr(cost, name) == sum(getattr(op, name) for op in ops)
        assert all(getattr(op, name) >= 0 for op in ops)


def test_activations_are_the_values_each_operator_reads_and_writes() -> None:
    stem = Block("stem", 3, 64, 4, 8, 8)
    assert [op.activations for op in block_ops(stem)] == [
        3 * 64 + 64 * 16, 64 * 16 + 32 * 16, 32 * 16 + 64 * 16, 64 * 16 + 64 * 4,
    ]  # fmt: skip
    conv = Block("ncb", 64, 64, 1, 4, 4, 2.0)
    assert [op.activations for op in block_ops(conv)] == [
        2 * 64 * 16,  # grouped 3x3
        3 * 64 * 16,  # projection, and the residual it is added to
        (64 + 128) * 16,
        (128 + 64) * 16 + 64 * 16,
    ]
