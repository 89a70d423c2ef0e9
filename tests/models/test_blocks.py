"""The module of a block computes what the block says, and folds its BatchNorms exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nas.models.blocks import build_block
from nas.models.layers import EMHSA, MHCA, DropPath
from nas.space.block import Block
from tests.networks import images, randomise, relative_error
from tests.samples import BLOCKS

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_module_has_the_blocks_output_size(block: Block) -> None:
    module = build_block(block).eval()
    out = module(images(2, block.in_channels, block.height, block.width))
    if block.kind == "head":
        assert out.shape == (2, block.out_channels)
    else:
        assert out.shape == (2, block.out_channels, block.out_height, block.out_width)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["stem", "ncb"]))
@settings(max_examples=40)
def test_output_sizes_round_up_at_every_input_size(height: int, width: int, kind: str) -> None:
    blocks = {
        "stem": Block("stem", 3, 32, 4, height, width),
        "ncb": Block("ncb", 32, 64, 2, height, width, 2.0),
    }
    block = blocks[kind]
    with torch.device("meta"):
        out = build_block(block).eval()(torch.zeros(1, block.in_channels, height, width))
    assert out.shape[2:] == (block.out_height, block.out_width)


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_fusing_keeps_the_outputs_and_leaves_no_batch_norm(block: Block, seed: int) -> None:
    module = randomise(build_block(block), seed)
    x = images(2, block.in_channels, block.height, block.width, seed=seed)
    with torch.no_grad():
        expected = module(x)
        module.fuse()
        assert not any(isinstance(part, NORMS) for part in module.modules())
        assert relative_error(module(x), expected) < 1e-4
        module.fuse()
        assert relative_error(module(x), expected) < 1e-4


def test_attention_sees_averages_of_consecutive_flattened_tokens() -> None:
    attention = randomise(EMHSA(64, 2))
    tokens = images(1, 64, 30)
    swapped = tokens.clone()
    swapped[..., [0, 3]] = swapped[..., [3, 0]]  # inside one group of four: same keys and values
    moved = tokens.clone()
    moved[..., [0, 4]] = moved[..., [4, 0]]  # between two groups
    tail = tokens.clone()
    tail[..., 28:] = 0  # 30 tokens make seven groups: the last two are in none
    with torch.no_grad():
        out = attention(tokens)
        torch.testing.assert_close(attention(swapped)[..., 8:], out[..., 8:])
        torch.testing.assert_close(attention(tail)[..., :28], out[..., :28])
        assert relative_error(attention(moved)[..., 8:], out[..., 8:]) > 1e-4


def test_mhca_mixes_space_inside_heads_of_32_channels() -> None:
    mhca = MHCA(96)
    assert mhca.group_conv3x3.groups == 3
    assert mhca.group_conv3x3.weight.shape == (96, 32, 3, 3)


def test_halves_of_equal_width_need_no_projection() -> None:
    equal = build_block(Block("ntb", 64, 64, 1, 8, 8, 2.0, 0.5, 1))
    assert not any("projection.conv" in name for name in equal.state_dict() if "mhca" not in name)


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25)
    x = torch.ones(4000, 2, 3, 3)
    out = drop(x)
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (out.flatten(1).std(1) == 0).all()
    assert out.mean().item() == pytest.approx(1, abs=0.05)
    assert drop.eval()(x) is x
    assert DropPath(0.0)(x) is x


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_every_parameter_is_trained(block: Block) -> None:
    module = build_block(block).train()
    module(images(4, block.in_channels, block.height, block.width)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_stem_of_stride_2_keeps_the_stride_of_its_first_convolution() -> None:
    for stride, expected in ((4, [2, 1, 1, 2]), (2, [2, 1, 1, 1])):
        stem = build_block(Block("stem", 3, 32, stride, 32, 32))
        found = [conv.stride[0] for conv in stem.modules() if isinstance(conv, nn.Conv2d)]
        assert found == expected
