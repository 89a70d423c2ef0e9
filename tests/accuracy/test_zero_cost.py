"""Zero-cost scores: each equals an independent computation; reproducible; finite."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.accuracy.data.dataset import ProxyData
from nas.accuracy.zero_cost import (
    ZERO_COST,
    Batch,
    dss,
    grad_norm,
    initial_network,
    naswot,
    seeded_batches,
    snip,
    synflow,
    zero_cost_scores,
    zico,
)
from nas.errors import ArchitectureError, ConfigError, DataError
from nas.models.layers import EMHSA
from nas.models.network import Network
from nas.space.architecture import Architecture
from tests.samples import TINY


@pytest.fixture(scope="module")
def data() -> ProxyData:
    """Random images: scores of an untrained network only need images that differ."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (64, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, (64,), generator=generator)
    return ProxyData(*(images, labels) * 3, tuple("0123456789"), "noise")


def small_network() -> nn.Sequential:
    """Convolution, BatchNorm, a ReLU used twice, linear layer; float64 for finite differences."""
    torch.manual_seed(0)
    relu = nn.ReLU()
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), relu, nn.Conv2d(4, 2, 1), relu)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2 * 4 * 4, 5)).double()


def batch(seed: int, size: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 3, 6, 6, generator=generator, dtype=torch.float64)
    return images, torch.randint(5, (size,), generator=generator)


def weights_of(network: nn.Module) -> list[Tensor]:
    return [parameter for parameter in network.parameters() if parameter.ndim > 1]


@torch.no_grad()
def differences(network: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    """Gradients of the cross entropy with respect to the weights, by central differences."""
    gradients = []
    for weight in weights_of(network):
        flat, gradient = weight.view(-1), torch.zeros(weight.numel(), dtype=weight.dtype)
        for index in range(weight.numel()):
            before = flat[index].item()
            losses = []
            for step in (1e-5, -1e-5):
                flat[index] = before + step
                log_odds = network(images).log_softmax(1)
                losses.append(-sum(log_odds[i, label] for i, label in enumerate(labels)))
            flat[index] = before
            gradient[index] = (losses[0] - losses[1]) / (2e-5 * len(labels))
        gradients.append(gradient.view_as(weight))
    return gradients


def test_snip_and_grad_norm_against_finite_differences() -> None:
    network, (images, labels) = small_network(), batch(1)
    gradients = differences(network, images, labels)
    saliency = sum(
        (w * g).detach().abs().sum() for w, g in zip(weights_of(network), gradients, strict=True)
    )
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert snip(network, [(images, labels)]) == pytest.approx(saliency.item(), rel=1e-5)
    assert grad_norm(network, [(images, labels)]) == pytest.approx(norm.item(), rel=1e-5)


def test_zico_against_loops_over_every_weight() -> None:
    network, batches = small_network(), [batch(1), batch(2), batch(3)]
    by_batch = []
    for images, labels in batches:
        loss = F.cross_entropy(network(images), labels)
        by_batch.append(torch.autograd.grad(loss, weights_of(network)))
    expected = 0.0
    for layer in zip(*by_batch, strict=True):
        total = 0.0
        for values in zip(*(gradient.flatten().tolist() for gradient in layer), strict=True):
            mean = sum(values) / 3
            std = math.sqrt(sum((value - mean) ** 2 for value in values) / 3)
            total += sum(map(abs, values)) / 3 / std if std else 0.0
        expected += math.log(total)
    assert zico(network, batches) == pytest.approx(expected)


def test_zico_leaves_out_weights_that_do_not_vary() -> None:
    network, once = small_network(), batch(1)
    assert zico(network, [once, once]) == 0.0
    with pytest.raises(ValueError, match="at least two batches"):
        zico(network, [once])


def test_naswot_against_counting_equal_bits() -> None:
    network, (images, labels) = small_network(), batch(1)
    outputs: list[list[list[bool]]] = []
    x = images
    for layer in network:  # the network uses the same ReLU twice
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            outputs.append([[bool(unit > 0) for unit in image.flatten()] for image in x])
    codes = [[bit for layer in outputs for bit in layer[image]] for image in range(len(images))]
    assert len(codes[0]) == 4 * 16 + 2 * 16
    kernel = [[float(sum(a == b for a, b in zip(i, j, strict=True))) for j in codes] for i in codes]
    expected = torch.tensor(kernel, dtype=torch.float64).logdet().item()
    assert naswot(network, [(images, labels)]) == pytest.approx(expected)


def test_naswot_of_two_equal_images_is_the_worst() -> None:
    images, labels = batch(1)
    different = naswot(small_network(), [(images, labels)])
    images[1] = images[0]
    assert naswot(small_network(), [(images, labels)]) < different - 20


def test_synflow_of_a_linear_chain_is_its_paths_times_its_layers() -> None:
    torch.manual_seed(0)
    sizes = (7, 5, 4, 3)
    chain = nn.Sequential()
    for inputs, outputs in pairwise(sizes):
        chain.extend([nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()])
    with torch.no_grad():
        for layer in chain:
            if isinstance(layer, nn.BatchNorm1d):
                layer.running_var.fill_(9.0)  # must not count
    flow = torch.ones(7, dtype=torch.float64)
    for weight in weights_of(chain):
        flow = weight.double().abs() @ flow
    # R is the sum over all paths of the product of their weights, and every path passes each layer.
    expected = math.log(3 * flow.sum().item())
    images = torch.randn(2, 7)
    assert synflow(chain, [(images, torch.zeros(2))]) == pytest.approx(expected, rel=1e-12)
    assert synflow(chain, [(-images, torch.ones(2))]) == pytest.approx(expected, rel=1e-12)


def linear_flow(network: Network) -> tuple[list[str], list[Tensor], list[Tensor]]:
    """Layers, absolute weights and gradients of the flow, without rescaling between blocks."""
    network = network.double().eval()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.eps = 0.0  # the identity, with the fresh statistics of zero and one
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    named = [(name, p) for name, p in network.named_parameters() if p.ndim > 1]
    output = network(torch.ones(1, 3, 32, 32, dtype=torch.float64)).sum()
    weights = [weight for _, weight in named]
    gradients = torch.autograd.grad(output, weights, allow_unused=True)
    zeros = [torch.zeros_like(weight) for weight in weights]
    filled = [z if g is None else g for z, g in zip(zeros, gradients, strict=True)]
    return [name for name, _ in named], [weight.detach() for weight in weights], filled


def test_synflow_and_dss_of_a_network_scaled_between_its_blocks(data: ProxyData) -> None:
    network = initial_network(TINY, 10, seed=0)
    for module in network.modules():
        if isinstance(module, EMHSA):  # even attention is homogeneous, and the scale cancels
            nn.init.zeros_(module.q.weight)
    batches = seeded_batches(data, 0, 4)
    found = synflow(network, batches), dss(network, batches)
    names, weights, gradients = linear_flow(network)
    saliency = indicator = 0.0
    for name, weight, gradient in zip(names, weights, gradients, strict=True):
        own = float((weight * gradient).abs().sum())
        saliency += own
        if ".e_mhsa." in name:
            indicator += float(weight.norm(p="nuc") * gradient.norm(p="nuc"))
        else:
            indicator += own
    assert indicator > 1.01 * saliency
    assert found == pytest.approx((math.log(saliency), math.log(indicator)), rel=1e-9)


class Attention(nn.Module):
    """One attention layer with a classifier, small enough not to saturate."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.classify = EMHSA(32, 1), nn.Linear(32, 3)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        position_1H = torch.linspace(0, 1, x_B3HW.shape[2], dtype=x_B3HW.dtype)[None]
        x_BCN = x_B3HW.mean((1, 3))[:, None] * position_1H[None] * torch.ones(1, 32, 1)
        logits: Tensor = self.classify(self.attention(x_BCN).mean(2))
        return logits


def test_dss_counts_queries_and_keys() -> None:
    torch.manual_seed(0)
    network = Attention()
    for linear in (network.attention.q, network.attention.k):
        nn.init.normal_(linear.weight, std=0.05)
    found = dss(network, [(torch.randn(2, 3, 4, 4), torch.zeros(2))])
    network.double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(parameter.abs() * (not name.endswith("bias")))
    network(torch.ones(1, 3, 4, 4, dtype=torch.float64)).sum().backward()
    expected = (network.classify.weight * network.classify.weight.grad).abs().sum()
    attention = network.attention
    for linear in (attention.q, attention.k, attention.v, attention.proj):
        assert linear.weight.grad.abs().max() > 0
        spectra = [torch.linalg.eigvalsh(m @ m.T) for m in (linear.weight, linear.weight.grad)]
        expected += math.prod(spectrum.clamp(min=0).sqrt().sum() for spectrum in spectra)
    assert found == pytest.approx(math.log(expected.item()), rel=1e-5)


def test_scores_leave_the_network_alone(data: ProxyData) -> None:
    network, batches = initial_network(TINY, 10, seed=0).eval(), seeded_batches(data, 0, 8)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = batches[0][0].clone()
    for score in ZERO_COST.values():
        score(network, batches)
    assert not network.training
    assert torch.equal(images, batches[0][0])
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(not module._forward_hooks for module in network.modules())
    for name, tensor in network.state_dict().items():
        assert torch.equal(before[name], tensor), name


def test_same_seed_same_scores_whatever_the_callers_random_state(data: ProxyData) -> None:
    first = zero_cost_scores(TINY, data, seed=3, batch_size=16)
    before = torch.random.get_rng_state()
    second = zero_cost_scores(TINY, data, seed=3, batch_size=16)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(99)
    alone = zero_cost_scores(TINY, data, seed=3, batch_size=16, scores=["dss", "snip"])
    other = zero_cost_scores(TINY, data, seed=4, batch_size=16)
    assert list(first) == list(ZERO_COST)
    assert list(alone) == ["dss", "snip"]
    for name, found in first.items():
        assert math.isfinite(found.score)
        assert found.cpu_s >= 0.0
        assert second[name].score == found.score != other[name].score
        assert alone.get(name, found).score == found.score


def test_scores_of_a_deep_wide_network_are_finite(data: ProxyData) -> None:
    stages = [replace(stage, repeats=3 if stage.ntb_width else 1) for stage in TINY.stages]
    deep = Architecture(64, tuple(stages))
    found = zero_cost_scores(deep, data, seed=0, batch_size=8)
    assert all(math.isfinite(cost.score) for cost in found.values())
    assert found["synflow"].score > math.log(1e30)


def test_the_initial_network_preserves_variance_and_zeroes_nothing() -> None:
    for name, parameter in initial_network(TINY, 10, seed=0).named_parameters():
        if parameter.ndim == 1:
            continue
        gain = 2.0 if parameter.ndim == 4 else 1.0
        assert parameter.var().item() * parameter[0].numel() == pytest.approx(gain, rel=0.2), name


def test_batches_are_of_different_normalised_training_images(data: ProxyData) -> None:
    numbered = torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(40, 3, 4, 4)
    few = replace(data, train_images=numbered, train_labels=torch.arange(40))
    batches = seeded_batches(few, seed=0, batch_size=20)
    for x, labels in batches:
        torch.testing.assert_close(x[:, 0, 0, 0] * 64.0 + 127.5, labels.float())
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == list(range(40))
    with pytest.raises(DataError, match="40 training images do not fill 2 batches of 21"):
        seeded_batches(few, seed=0, batch_size=21)


def test_refuses_what_it_cannot_score(data: ProxyData) -> None:
    with pytest.raises(ConfigError, match="unknown zero-cost score 'sinflow'.*'synflow'"):
        zero_cost_scores(TINY, data, seed=0, scores=["snip", "sinflow"])
    with pytest.raises(ConfigError, match="batch_size 1 .* at least 2"):
        zero_cost_scores(TINY, data, seed=0, batch_size=1)
    stages = (TINY.stages[0], replace(TINY.stages[1], sr_ratio=8), *TINY.stages[2:])
    with pytest.raises(ArchitectureError, match="stage 2"):
        zero_cost_scores(Architecture(32, stages), data, seed=0)
