"""Zero-cost proxies: scores of an untrained network from one or two batches of images.

A higher score predicts a better network. Only the order of scores of the same proxy has a meaning;
scores of different proxies cannot be compared.

Every score function takes any ``nn.Module`` that maps images to logits, and the batches to score
it on. It works on a copy of the module. "Weights" are those of convolutions and linear layers, as
in the published code; BatchNorm scales and biases do not count. The loss, where a proxy needs one,
is the mean cross entropy, with BatchNorm in training mode.

Shape suffixes: N images of a split, B batch, 3 colours, H height, W width, U units (outputs of
one ReLU for one image).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.accuracy.data.dataset import ProxyData
from nas.accuracy.small_maps import specialise
from nas.accuracy.training import normalise
from nas.errors import ConfigError, DataError, unknown
from nas.models.layers import EMHSA
from nas.models.network import Network, build_network
from nas.space.architecture import Architecture

Batch = tuple[Tensor, Tensor]
"""Float images [B, 3, H, W] and int64 labels [B]."""

Score = Callable[[nn.Module, Sequence[Batch]], float]


@dataclass(frozen=True)
class ZeroCost:
    """One score of one network.

    Attributes:
        score: a higher one predicts a better network.
        cpu_s: processor seconds that the score took, without building the network.
    """

    score: float
    cpu_s: float


def zero_cost_scores(
    architecture: Architecture,
    data: ProxyData,
    seed: int,
    batch_size: int = 64,
    scores: Sequence[str] | None = None,
) -> dict[str, ZeroCost]:
    """Score an architecture without training it; return the scores by name.

    The scores are reproducible on one machine with the same number of threads. The global random
    state is not changed.

    Args:
        architecture: architecture to score; its head has the classes of the data.
        data: its training split provides the images.
        seed: seed of the initial weights and of the choice of images.
        batch_size: images of a batch; ``zico`` takes two batches, the others one or none.
        scores: names in `ZERO_COST`; by default all.

    Raises:
        ConfigError: a score is unknown, or a batch has fewer than two images.
        DataError: the training split does not fill two batches.
        ArchitectureError: the network cannot run at the resolution of the data.
    """
    names = tuple(ZERO_COST if scores is None else scores)
    for name in names:
        if name not in ZERO_COST:
            raise ConfigError(unknown("zero-cost score", name, ZERO_COST))
    architecture.expand(data.workload)
    batches = seeded_batches(data, seed, batch_size)
    network = initial_network(architecture, data.num_classes, seed)
    found = {}
    for name in names:
        start = time.process_time()
        score = ZERO_COST[name](network, batches)
        found[name] = ZeroCost(score, time.process_time() - start)
    return found


def seeded_batches(data: ProxyData, seed: int, batch_size: int) -> list[Batch]:
    """Draw two batches of training images, all distinct, without augmentation."""
    if batch_size < 2:
        raise ConfigError(f"batch_size {batch_size} of the zero-cost scores: must be at least 2")
    if (images := len(data.train_images)) < 2 * batch_size:
        fault = f"{images} training images do not fill 2 batches of {batch_size}: add images"
        raise DataError(f"{data.name}: {fault}")
    order_N = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    return [
        (normalise(data.train_images[chosen_B]), data.train_labels[chosen_B])
        for chosen_B in order_N[: 2 * batch_size].chunk(2)
    ]


def initial_network(architecture: Architecture, num_classes: int, seed: int) -> Network:
    """Build the network to score; all layers preserve variance by fan-in (arXiv 1502.01852).

    Convolutions have the gain for a ReLU, linear layers (attention, classifier) a gain of one, and
    biases are zero. Unlike in `nas.accuracy.training.initialise`, the last layer of a residual
    branch is not zero: a zero layer has no saliency, and blocks the gradient of the layers before.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(architecture, num_classes)
        for layer in _layers(network):
            gain = 2.0 if isinstance(layer, nn.Conv2d) else 1.0
            nn.init.normal_(layer.weight, std=math.sqrt(gain / layer.weight[0].numel()))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return specialise(network)


def synflow(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Log of the synaptic flow, the sum over weights of |θ ∂R/∂θ| (arXiv 2006.05467).

    R is the sum of the outputs for one all-ones image, with every weight replaced by its absolute
    value. The products are summed over the whole network, as in arXiv 2101.08134. Only the shape
    of the images is used. BatchNorm is replaced by the identity, as in the code of both papers,
    because batch statistics would normalise the flow away. All is computed in float64.

    This deviates from the papers in two ways. The logarithm is returned, which keeps the order,
    because the sum exceeds 1e100 in deep networks. The output of every block of a `Network` is
    divided by its mean, and the logarithms of these means are added to the result (see `_flow`).
    Biases are left out, as in the definition.
    """
    weights, gradients, log_scale = _flow(network, batches[0][0])
    return log_scale + _log(sum(map(_saliency, weights, gradients)))


def dss(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Log of the DSS-indicator of TF-TAS (arXiv 2203.12217), made for transformers.

    Synaptic diversity of attention plus synaptic saliency of the rest: the sum over attention
    matrices of |∂R/∂W|_* |W|_* (nuclear norms) plus the sum over other weights of |W ∂R/∂W|.
    R is that of `synflow`, as in the authors' code.

    For Next-ViT, diversity is computed for the q, k, v and projection matrices of every E-MHSA, and
    saliency for all other layers. (The authors compute saliency for the MLP, the patch embedding
    and the classifier; here it includes all convolutions, those of MHCA too.)
    Deviations from the paper: those of `synflow`; q, k and v count as three matrices, not as one.
    """
    attentions = [module for module in network.modules() if isinstance(module, EMHSA)]
    of_attention = {layer for module in attentions for layer in _layers(module)}
    weights, gradients, log_scale = _flow(network, batches[0][0])
    total = 0.0
    for layer, weight, gradient in zip(_layers(network), weights, gradients, strict=True):
        if layer in of_attention:
            total += _nuclear_norm(weight) * _nuclear_norm(gradient)
        else:
            total += _saliency(weight, gradient)
    return log_scale + _log(total)


def snip(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Sum over weights of |g θ|, where g is the gradient of the loss (arXiv 1810.02340).

    The sum is not normalised to one; arXiv 2101.08134 ranks networks in the same way.
    """
    weights, gradients = _loss_gradients(network, batches[0])
    return sum(map(_saliency, weights, gradients))


def grad_norm(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Euclidean norm of the gradients of all weights together (arXiv 2101.08134).

    Deviation from the paper: the authors' code adds up the norms of the layers.
    """
    _, gradients = _loss_gradients(network, batches[0])
    return math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))


@torch.no_grad()
def naswot(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Log-determinant of the Hamming kernel of ReLU patterns (arXiv 2006.04647).

    Entry ij of the kernel is the number of units that are on for both images i and j, or off
    for both. BatchNorm is in training mode, as in the authors' code. Only ``nn.ReLU`` modules
    count, each as often as it is used. Two equal images make the kernel singular, up to rounding.
    """
    network, images_B3HW = copy.deepcopy(network).train(), batches[0][0]
    size = len(images_B3HW)
    kernel_BB = torch.zeros(size, size, dtype=torch.float64)

    def count(module: nn.Module, inputs: object, output: Tensor) -> None:
        # Some MLPs work on [B*H*W, C]: the batch is the slowest dimension there too.
        on_BU = (output > 0).reshape(size, -1)
        sign_BU = on_BU.float().mul_(2).sub_(1)  # the sums of ±1 are exact up to 2**24 units
        kernel_BB.add_((sign_BU @ sign_BU.T + sign_BU.shape[1]) / 2)

    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(count)
    network(images_B3HW)
    return float(torch.linalg.slogdet(kernel_BB).logabsdet)


def zico(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Sum over layers of log Σ (mean |g| / std g), Σ over the layer's weights (arXiv 2301.11300).

    g is the gradient of the loss with respect to one weight. Its mean and (population) standard
    deviation are taken over batches; the paper's experiments use two. As in the authors' code, the
    deviation is that of g (the paper defines it for |g|), and weights whose gradient is the same in
    every batch are left out.
    """
    if len(batches) < 2:
        raise ValueError(f"zico needs at least two batches, not {len(batches)}")
    of_batches = [_loss_gradients(network, batch)[1] for batch in batches]
    total = 0.0
    for layer in zip(*of_batches, strict=True):
        # float32 would lose the small deviations, which weigh most.
        gradients = torch.stack(layer).double()
        variance = (gradients - gradients.mean(0)).square_().mean(0)
        ratio = gradients.abs_().mean(0) / variance.sqrt()
        inverse_variation = float(ratio.masked_fill_(variance == 0, 0.0).sum())
        total += math.log(inverse_variation) if inverse_variation > 0 else 0.0
    return total


ZERO_COST: dict[str, Score] = {
    "synflow": synflow,
    "snip": snip,
    "grad_norm": grad_norm,
    "naswot": naswot,
    "zico": zico,
    "dss": dss,
}


def _layers(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]


def _gradients(loss: Tensor, network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and their gradients; zeros if the loss does not depend on a weight."""
    weights: list[Tensor] = [layer.weight for layer in _layers(network)]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return [weight.detach() for weight in weights], list(gradients)


def _loss_gradients(network: nn.Module, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """Weights, and the gradients of the cross entropy with respect to them."""
    network = copy.deepcopy(
        network
    ).train()  # a copy: BatchNorm would change the caller's statistics
    return _gradients(F.cross_entropy(network(batch[0]), batch[1]), network)


def _flow(network: nn.Module, images_B3HW: Tensor) -> tuple[list[Tensor], list[Tensor], float]:
    """Return the absolute weights, the gradients of R / s by them, and log s; see `synflow`.

    Without biases, R is homogeneous of degree 1 in the output of every block: dividing that output
    by a constant divides R and every ∂R/∂θ by the same constant. So each block's output is divided
    by its mean, s is the product of these means, and adding log s to the logarithm of a score is
    exact. Only softmax is not homogeneous. Without the division, its logits grow with the
    square of the signal and overflow in deep networks. With the division, attention sees a signal
    of about the scale that the removed BatchNorm would give. Softmax still saturates, so q and k
    hardly count.
    """
    network = copy.deepcopy(network).double().eval()
    logs: list[float] = []

    def divide(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        scale = float(output.detach().mean()) or 1.0  # 1 for a block whose output is zero
        logs.append(math.log(scale))
        return output / scale

    for module in list(network.modules()):
        for name, part in module.named_children():
            if isinstance(part, _BatchNorm):
                setattr(module, name, nn.Identity())
    if isinstance(network, Network):
        for block in (network.stem, *network.blocks):
            block.register_forward_hook(divide)
    with torch.no_grad():
        for layer in _layers(network):
            layer.weight.abs_()
            if layer.bias is not None:
                layer.bias.zero_()
    ones_13HW = torch.ones_like(images_B3HW[:1], dtype=torch.float64)
    weights, gradients = _gradients(network(ones_13HW).sum(), network)
    return weights, gradients, sum(logs)


def _saliency(weight: Tensor, gradient: Tensor) -> float:
    return float((weight * gradient).abs().sum())


def _nuclear_norm(matrix: Tensor) -> float:
    return float(torch.linalg.svdvals(matrix).sum())


def _log(value: float) -> float:
    return -math.inf if value == 0 else math.log(value)
