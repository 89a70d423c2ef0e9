"""The published Next-ViT once more, written apart from the project's modules.

Functions over a dictionary of tensors under the authors' names, after the paper
(arXiv 2207.05501) and the layout of the public checkpoints. Attention is spelled out, BatchNorm
is its formula, and nothing here is imported from `nas`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DEPTHS = {
    "nextvit-small": (3, 4, 10, 3),
    "nextvit-base": (3, 4, 20, 3),
    "nextvit-large": (3, 4, 30, 3),
}
CONV_WIDTHS = (96, 192, 384, 768)
TRANSFORMER_WIDTHS = (0, 256, 512, 1024)
REDUCTIONS = (8, 4, 2, 1)
HEAD = 32
_BRANCH_ENDS = ("mhca.projection.weight", "conv2.weight", "proj.weight")

Tensors = dict[str, Tensor]
Layer = tuple[str, str, int, int, int, int]
"""Name, kind (conv or transformer), channels in, channels out, stride, reduction."""


def layers(depths: tuple[int, ...]) -> list[Layer]:
    """The blocks of the network under the names they have in a checkpoint."""
    found: list[Layer] = []
    channels = 64
    for stage, depth in enumerate(depths):
        period = 5 if stage == 2 else depth
        for position in range(depth):
            last_of_group = position % period == period - 1 and stage > 0
            width = (TRANSFORMER_WIDTHS if last_of_group else CONV_WIDTHS)[stage]
            stride = 2 if position == 0 and stage > 0 else 1
            kind = "transformer" if last_of_group else "conv"
            name = f"features.{len(found)}"
            found.append((name, kind, channels, width, stride, REDUCTIONS[stage]))
            channels = width
    return found


def _norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def _conv_shapes(name: str, c_in: int, c_out: int, size: int = 1) -> dict[str, tuple[int, ...]]:
    return {f"{name}.conv.weight": (c_out, c_in, size, size)} | _norm_shapes(f"{name}.norm", c_out)


def _mhca_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return (
        {f"{name}.group_conv3x3.weight": (channels, HEAD, 3, 3)}
        | _norm_shapes(f"{name}.norm", channels)
        | {f"{name}.projection.weight": (channels, channels, 1, 1)}
    )


def _mlp_shapes(name: str, channels: int, hidden: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.conv1.weight": (hidden, channels, 1, 1),
        f"{name}.conv1.bias": (hidden,),
        f"{name}.conv2.weight": (channels, hidden, 1, 1),
        f"{name}.conv2.bias": (channels,),
    }


def _layer_shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    name, kind, c_in, c_out, stride, reduction = layer
    inner = c_out if kind == "conv" else c_out * 3 // 4
    shapes: dict[str, tuple[int, ...]] = {}
    if stride == 2 or c_in != inner:
        shapes |= _conv_shapes(f"{name}.patch_embed", c_in, inner)
    if kind == "conv":
        shapes |= _mhca_shapes(f"{name}.mhca", c_out) | _norm_shapes(f"{name}.norm", c_out)
        return shapes | _mlp_shapes(f"{name}.mlp", c_out, 3 * c_out)
    shapes |= _norm_shapes(f"{name}.norm1", inner)
    for linear in ("q", "k", "v", "proj"):
        shapes[f"{name}.e_mhsa.{linear}.weight"] = (inner, inner)
        shapes[f"{name}.e_mhsa.{linear}.bias"] = (inner,)
    if reduction > 1:
        shapes |= _norm_shapes(f"{name}.e_mhsa.norm", inner)
    shapes |= _conv_shapes(f"{name}.projection", inner, c_out - inner)
    shapes |= _mhca_shapes(f"{name}.mhca", c_out - inner)
    shapes |= _norm_shapes(f"{name}.norm2", c_out)
    return shapes | _mlp_shapes(f"{name}.mlp", c_out, 2 * c_out)


def shapes(depths: tuple[int, ...], num_classes: int = 1000) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a published checkpoint, in its order."""
    found: dict[str, tuple[int, ...]] = {}
    for index, (c_in, c_out) in enumerate([(3, 64), (64, 32), (32, 64), (64, 64)]):
        found |= _conv_shapes(f"stem.{index}", c_in, c_out, 3)
    for layer in layers(depths):
        found |= _layer_shapes(layer)
    found |= _norm_shapes("norm", 1024)
    return found | {"proj_head.0.weight": (num_classes, 1024), "proj_head.0.bias": (num_classes,)}


def checkpoint(depths: tuple[int, ...], seed: int = 0) -> Tensors:
    """A checkpoint of random weights and random BatchNorm statistics.

    The last layer of each residual branch is small, as in a trained network: otherwise values
    grow from block to block until rounding errors decide what attention looks at.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors: Tensors = {}
    for name, shape in shapes(depths).items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(seed + 1)
        elif len(shape) > 1:
            fan_in = torch.Size(shape[1:]).numel()
            scale = 0.1 if name.endswith(_BRANCH_ENDS) else 1.2
            tensors[name] = torch.randn(shape, generator=generator) * scale * fan_in**-0.5
        elif name.endswith((".running_var", "norm.weight", "norm1.weight", "norm2.weight")):
            tensors[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            tensors[name] = torch.randn(shape, generator=generator) * 0.05
    return tensors


def _norm(t: Tensors, name: str, x: Tensor) -> Tensor:
    view = (1, -1, *[1] * (x.ndim - 2))
    mean, variance = t[f"{name}.running_mean"].view(view), t[f"{name}.running_var"].view(view)
    scaled = (x - mean) / torch.sqrt(variance + 1e-5)
    return scaled * t[f"{name}.weight"].view(view) + t[f"{name}.bias"].view(view)


def _embed(t: Tensors, name: str, x: Tensor, stride: int) -> Tensor:
    if stride == 2:
        x = F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
    if f"{name}.conv.weight" not in t:
        return x
    return _norm(t, f"{name}.norm", F.conv2d(x, t[f"{name}.conv.weight"]))


def _mhca(t: Tensors, name: str, x: Tensor) -> Tensor:
    groups = x.shape[1] // HEAD
    y = F.conv2d(x, t[f"{name}.group_conv3x3.weight"], padding=1, groups=groups)
    return F.conv2d(F.relu(_norm(t, f"{name}.norm", y)), t[f"{name}.projection.weight"])


def _mlp(t: Tensors, name: str, x: Tensor) -> Tensor:
    y = F.relu(F.conv2d(x, t[f"{name}.conv1.weight"], t[f"{name}.conv1.bias"]))
    return F.conv2d(y, t[f"{name}.conv2.weight"], t[f"{name}.conv2.bias"])


def _e_mhsa(t: Tensors, name: str, x: Tensor, reduction: int, pool_2d: bool) -> Tensor:
    batch, channels, height, width = x.shape

    def project(linear: str, tokens: Tensor) -> Tensor:
        y = torch.einsum("bcn,oc->bon", tokens, t[f"{name}.{linear}.weight"])
        return y + t[f"{name}.{linear}.bias"].view(1, -1, 1)

    tokens = x.reshape(batch, channels, height * width)
    reduced = tokens
    if reduction > 1:
        if pool_2d:
            reduced = F.avg_pool2d(x, reduction).flatten(2)
        else:
            reduced = F.avg_pool1d(tokens, reduction**2)
        reduced = _norm(t, f"{name}.norm", reduced)
    q, k, v = project("q", tokens), project("k", reduced), project("v", reduced)
    outputs = []
    for head in range(channels // HEAD):
        part = slice(head * HEAD, (head + 1) * HEAD)
        scores = torch.einsum("bdn,bdm->bnm", q[:, part], k[:, part]) / HEAD**0.5
        outputs.append(torch.einsum("bnm,bdm->bdn", scores.softmax(-1), v[:, part]))
    return project("proj", torch.cat(outputs, 1)).reshape(batch, channels, height, width)


def _layer(t: Tensors, layer: Layer, x: Tensor, pool_2d: bool) -> Tensor:
    name, kind, _, _, stride, reduction = layer
    x = _embed(t, f"{name}.patch_embed", x, stride)
    if kind == "conv":
        x = x + _mhca(t, f"{name}.mhca", x)
        return x + _mlp(t, f"{name}.mlp", _norm(t, f"{name}.norm", x))
    x = x + _e_mhsa(t, f"{name}.e_mhsa", _norm(t, f"{name}.norm1", x), reduction, pool_2d)
    local = _embed(t, f"{name}.projection", x, 1)
    local = local + _mhca(t, f"{name}.mhca", local)
    x = torch.cat([x, local], 1)
    return x + _mlp(t, f"{name}.mlp", _norm(t, f"{name}.norm2", x))


@torch.no_grad()
def forward(
    t: Tensors, depths: tuple[int, ...], x: Tensor, pool_2d: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Class scores and the outputs of the four stages.

    Args:
        t: tensors of a checkpoint.
        depths: blocks of each stage.
        x: images [B, 3, H, W].
        pool_2d: reduce the tokens by squares of the image: *not* what was published.
    """
    for index, stride in enumerate((2, 1, 1, 2)):
        y = F.conv2d(x, t[f"stem.{index}.conv.weight"], stride=stride, padding=1)
        x = F.relu(_norm(t, f"stem.{index}.norm", y))
    ends = [sum(depths[: stage + 1]) for stage in range(4)]
    outputs = []
    for number, layer in enumerate(layers(depths), start=1):
        x = _layer(t, layer, x, pool_2d)
        if number in ends:
            outputs.append(x)
    pooled = _norm(t, "norm", x).mean((2, 3))
    return F.linear(pooled, t["proj_head.0.weight"], t["proj_head.0.bias"]), outputs
