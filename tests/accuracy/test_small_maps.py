"""Modules for small maps compute the same as the original modules, at every size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nas.accuracy.small_maps import (
    PointwiseConv2d,
    PointwiseMLP,
    SmallMapEMHSA,
    SmallMapGroupConv2d,
    specialise,
)
from nas.models.network import Network, build_network
from tests.networks import randomise
from tests.samples import TINY


def random_network() -> Network:
    """A network in float64 and training mode, whose random weights leave no path unused."""
    network = build_network(TINY, 10)
    randomise(network)
    return network.double().train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def gradients(outputs: Tensor, network: Network) -> tuple[Tensor, ...]:
    return torch.autograd.grad(
        outputs.square().sum(), list(network.parameters()), materialize_grads=True
    )


@pytest.mark.parametrize("side", [32, 48, 64, 96])
def test_same_outputs_gradients_and_folding(side: int) -> None:
    network = random_network()
    names = list(network.state_dict())
    x_B3HW = torch.randn(4, 3, side, side, dtype=torch.float64)
    expected = network(x_B3HW)
    expected_gradients = gradients(expected, network)
    specialise(network)
    assert list(network.state_dict()) == names
    actual = network(x_B3HW)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(gradients(actual, network), expected_gradients)
    with torch.no_grad():
        unfolded = network.eval()(x_B3HW)
        torch.testing.assert_close(network.fuse()(x_B3HW), unfolded)


def test_every_kind_is_replaced() -> None:
    kinds = {type(module) for module in specialise(random_network()).modules()}
    assert {PointwiseConv2d, PointwiseMLP, SmallMapEMHSA, SmallMapGroupConv2d} <= kinds
