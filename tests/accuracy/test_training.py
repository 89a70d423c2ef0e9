"""Proxy training is reproducible, averages weights, and stops when it diverges."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from nas.accuracy.data.dataset import ProxyData, load_data
from nas.accuracy.training import (
    BatchSource,
    ProxyTraining,
    build_optimizer,
    evaluate,
    initialise,
    schedule,
    train_proxy,
)
from nas.config import ProxyConfig
from nas.errors import ArchitectureError, DataError
from nas.models.modules import NCB
from nas.models.network import build_network
from nas.space.architecture import Architecture
from tests.samples import TINY

SHORT = ProxyConfig(train_images=640, batch_size=32)


@pytest.fixture(scope="module")
def data() -> ProxyData:
    full = load_data(ProxyConfig())
    return replace(full, val_images=full.val_images[:500], val_labels=full.val_labels[:500])


def test_same_seed_same_result_and_other_seed_another(data: ProxyData) -> None:
    first, second = (ProxyTraining(TINY, data, SHORT, seed=3) for _ in range(2))
    other = ProxyTraining(TINY, data, SHORT, seed=4)
    for training in (first, second, other):
        training.run()
    assert first.result().accuracy == second.result().accuracy
    assert first.train_loss == second.train_loss != other.train_loss
    for name, tensor in first.average.state_dict().items():
        assert torch.equal(tensor, second.average.state_dict()[name]), name


def test_leaves_the_callers_random_state_alone(data: ProxyData) -> None:
    before = torch.random.get_rng_state()
    train_proxy(TINY, data, SHORT.model_copy(update={"train_images": 64}), seed=0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_learns_and_generalises(data: ProxyData) -> None:
    config = ProxyConfig(train_images=9_600, batch_size=32, learning_rate=1e-3)
    result = train_proxy(TINY, data, config, seed=0)
    assert not result.diverged
    assert result.steps == 300
    assert result.train_loss < 2.0
    assert result.accuracy > 0.3  # chance is 0.1
    assert result.images_per_s == pytest.approx(9_600 / result.train_s)


def test_stopping_at_a_step_and_going_on_changes_nothing(data: ProxyData) -> None:
    through, paused = (ProxyTraining(TINY, data, SHORT, seed=0) for _ in range(2))
    through.run()
    paused.run(until_step=7)
    assert paused.step == 7
    paused.run()
    assert paused.step == through.step == 20
    for kind in ("network", "average"):
        expected, found = getattr(through, kind), getattr(paused, kind)
        for name, tensor in expected.state_dict().items():
            assert torch.equal(tensor, found.state_dict()[name]), f"{kind}: {name}"


def test_the_moving_average_is_what_is_evaluated(data: ProxyData) -> None:
    training = ProxyTraining(TINY, data, SHORT, seed=0)
    training.run()
    moved = [
        (mean - weight).abs().max().item()
        for mean, weight in zip(
            training.average.parameters(), training.network.parameters(), strict=True
        )
    ]
    assert max(moved) > 1e-4
    with torch.no_grad():  # an average that always answers 7 must show in the result
        head = training.average.head.proj_head
        assert isinstance(head, nn.Linear)
        head.weight.zero_()
        head.bias.copy_(torch.eye(10)[7])
    sevens = (data.val_labels == 7).float().mean().item()
    assert training.result().accuracy == pytest.approx(sevens)


def test_average_follows_the_weights_and_batchnorm_statistics(data: ProxyData) -> None:
    config = SHORT.model_copy(update={"ema_decay": 0.0})
    training = ProxyTraining(TINY, data, config, seed=0)
    training.run()
    current = training.network.state_dict()
    for name, tensor in training.average.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, current[name], msg=name)


def test_divergence_stops_early_and_is_reported(data: ProxyData) -> None:
    config = ProxyConfig(train_images=3_200, batch_size=32, learning_rate=1e4)
    result = train_proxy(TINY, data, config, seed=0)
    assert result.diverged
    assert result.accuracy == 0.0
    assert result.steps < 100
    assert not result.train_loss <= 2 * math.log(10)


def test_refuses_fewer_images_than_a_batch(data: ProxyData) -> None:
    few = replace(data, train_images=data.train_images[:31], train_labels=data.train_labels[:31])
    with pytest.raises(DataError, match="31 training images do not fill a batch of 32"):
        ProxyTraining(TINY, few, SHORT, seed=0)


def test_refuses_an_architecture_too_coarse_for_the_images(data: ProxyData) -> None:
    stages = (TINY.stages[0], replace(TINY.stages[1], sr_ratio=8), *TINY.stages[2:])
    with pytest.raises(ArchitectureError, match="stage 2"):
        train_proxy(Architecture(32, stages), data, SHORT, seed=0)


def test_evaluate_counts_and_leaves_the_network_alone(data: ProxyData) -> None:
    network = build_network(TINY, 10).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    accuracy = evaluate(network, data.test_images[:700], data.test_labels[:700])
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    x = (data.test_images[:700].float() - 127.5) / 64.0
    with torch.no_grad():
        plain = (network.eval()(x).argmax(1) == data.test_labels[:700]).float().mean().item()
    assert accuracy == pytest.approx(plain, abs=2 / 700)


def test_batches_show_every_image_once_per_pass() -> None:
    images = torch.arange(48, dtype=torch.uint8)[:, None, None, None].expand(48, 3, 8, 8)
    config = ProxyConfig(batch_size=16, shift=0.25, jitter=0.0)
    source = BatchSource(images, torch.arange(48), config, torch.Generator().manual_seed(0))
    for _ in range(2):
        seen = []
        for _ in range(3):
            x, labels = source.next()
            assert x.shape == (16, 3, 8, 8)
            assert x.is_contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(x[:, 0, 0, 0] * 64.0 + 127.5, labels.float())
            seen += labels.tolist()
        assert sorted(seen) == list(range(48))


def test_shift_moves_whole_pixels_and_repeats_the_border() -> None:
    image = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8).expand(2, 3, 8, 8)
    config = ProxyConfig(batch_size=2, shift=0.25, jitter=0.0)
    source = BatchSource(
        image.contiguous(), torch.zeros(2, dtype=torch.int64), config, torch.Generator()
    )
    moves = set()
    for _ in range(60):
        for x in (source.next()[0] * 64.0 + 127.5).round():
            rows = (x[0, :, 0] // 8).tolist()
            assert rows == [min(max(row + rows[4] - 4, 0), 7) for row in range(8)]
            moves.add(rows[4] - 4)
    assert moves == {-2, -1, 0, 1, 2}


def test_schedule_warms_up_and_ends_at_zero() -> None:
    rates = [schedule(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 9
    assert rates[-1] == pytest.approx(0.0)
    assert rates[9:] == sorted(rates[9:], reverse=True)


def test_optimizer_decays_matrices_only() -> None:
    network = build_network(TINY, 10)
    config = ProxyConfig(learning_rate=0.01, weight_decay=0.3)
    groups = build_optimizer(network, config).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    for group in groups:
        assert group["lr"] == 0.01
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.3 if parameter.ndim > 1 else 0.0)
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            assert group["scale"] == pytest.approx(1.0 if fan_in <= 128 else 128 / fan_in)
    assert min(group["scale"] for group in groups) < 0.5


def test_wide_layers_take_smaller_steps(data: ProxyData) -> None:
    training = ProxyTraining(TINY, data, SHORT, seed=0)
    before = {name: tensor.clone() for name, tensor in training.network.named_parameters()}
    training.run(1)
    narrow, wide = "stem.0.conv.weight", "blocks.6.mlp.conv2.weight"
    steps = {
        name: (training.network.get_parameter(name) - before[name]).abs().median().item()
        for name in (narrow, wide)
    }
    fan_in = before[wide][0].numel()
    assert fan_in > 128
    assert steps[wide] / steps[narrow] == pytest.approx(128 / fan_in, rel=0.1)


def test_blocks_begin_as_their_patch_embedding() -> None:
    network = build_network(TINY, 10)
    initialise(network)
    network.eval()
    for block in network.blocks:
        if isinstance(block, NCB):
            x_BCHW = torch.randn(2, block.mhca.projection.out_channels, 4, 4)
            block.patch_embed = nn.Identity()
            assert torch.equal(block(x_BCHW), x_BCHW)
    variances = [
        module.weight.var().item() * module.weight[0].numel()
        for module in network.stem.modules()
        if isinstance(module, nn.Conv2d)
    ]
    assert variances == pytest.approx([2.0] * 4, rel=0.35)
