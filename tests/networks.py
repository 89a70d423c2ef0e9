"""Weights and comparisons for tests of modules."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.no_grad()
def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every tensor a random value, BatchNorm statistics far from 0 and 1 included."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = torch.empty_like(tensor).normal_(generator=generator)
        if tensor.ndim > 1:
            tensor.copy_(0.6 * noise * tensor[0].numel() ** -0.5)
        elif name.endswith("running_var") or ("norm" in name and name.endswith("weight")):
            tensor.copy_(noise.abs() + 0.3)
        else:
            tensor.copy_(noise * 0.3)
    return module.eval()


def images(*shape: int, seed: int = 0) -> Tensor:
    """Random input of a shape [B, C, H, W]: large patches, since networks average noise away."""
    generator = torch.Generator().manual_seed(seed)
    fine = torch.randn(shape, generator=generator)
    if len(shape) < 4:
        return fine
    coarse = torch.randn((*shape[:2], 4, 4), generator=generator)
    return 0.3 * fine + 2 * F.interpolate(coarse, shape[2:])


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected value."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())
