"""Loads published Next-ViT checkpoints: the authors' and timm's.

The two name their tensors differently but keep them in the same order, so a checkpoint fills a
network by position. A ``.safetensors`` file does not keep the order in which tensors were
written. Their names are then translated to this project's, which restores the order.
"""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.errors import CheckpointError
from nas.models.network import Network, build_network
from nas.space.architecture import Architecture
from nas.space.architecture_files import PUBLISHED, load_architecture

_COUNTER = "num_batches_tracked"
"""BatchNorm's step counter: it does not affect the output, and some exports lack it."""

_RENAMED = (
    (r"^(module|model)\.", ""),
    (r"^features\.", "blocks."),
    (r"\.mlp\.fc([12])\.", r".mlp.conv\1."),
    (r"^norm\.", "head.norm."),
    (r"^(proj_head\.0|head\.fc)\.", "head.proj_head."),
)
"""Patterns and replacements that turn the authors' and timm's tensor names into those of `Network`,
in the order in which they are applied."""


def load_published(
    path: str | Path, architecture: Architecture | None = None, num_classes: int = 1000
) -> Network:
    """Build a network with the weights of a published checkpoint, in evaluation mode, not fused.

    Args:
        path: a ``.pth`` file (a state dict, alone or under ``model`` or ``state_dict``) or a
            ``.safetensors`` file. Tensors may have the authors' names, timm's, or this project's.
        architecture: architecture of the checkpoint; None takes the published network that has
            the same number of tensors.
        num_classes: outputs of the checkpoint's classifier.

    Raises:
        CheckpointError: the file is missing, is not a checkpoint, contains pickled code, or has a
            wrong number of tensors; or a tensor has the wrong shape: names the first such tensor.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    by_name = path.suffix == ".safetensors"
    tensors = _read_safetensors(path) if by_name else _read_pickle(path)
    if architecture is None:
        architecture = _matching_preset(path, tensors)
    network = _empty_network(architecture, num_classes).to_empty(device="cpu")
    slots = _slots(network, tensors)
    if len(tensors) != len(slots):
        raise CheckpointError(
            f"{path}: has {len(tensors)} tensors, the architecture {architecture.id} "
            f"takes {len(slots)}"
        )
    for name, tensor in network.named_buffers():
        if name not in slots:
            tensor.zero_()
    _fill(path, slots, _restore_order(path, slots, tensors) if by_name else tensors)
    return network.eval()


def _empty_network(architecture: Architecture, num_classes: int = 1000) -> Network:
    """Build a network on the meta device, quickly: its tensors have shapes but no memory."""
    with torch.device("meta"):
        return build_network(architecture, num_classes)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, UnicodeEncodeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: not readable as safetensors: {reason}") from None
    return tensors


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file of `torch.save`, in their order; no code in it is executed."""
    try:
        # The authors' training code saves its parsed options (a Namespace: only values).
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # such files are refused anyway
            value = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code:
            raise CheckpointError(
                f"{path}: refused: it holds pickled code ({code[1]}), not only tensors"
            ) from None
        raise CheckpointError(f"{path}: not a checkpoint of torch.save") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{path}: not a checkpoint of torch.save") from None
    for key in ("model", "state_dict"):
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    if not isinstance(value, Mapping) or not value:
        raise CheckpointError(f"{path}: holds no named tensors, but a {type(value).__name__}")
    return {str(name): _tensor(path, name, tensor) for name, tensor in value.items()}


def _tensor(path: Path, name: Any, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise CheckpointError(f"{path}: {name} is a {type(value).__name__}, not a tensor")
    return value


def _matching_preset(path: Path, tensors: Mapping[str, Tensor]) -> Architecture:
    """The published network with as many tensors as the checkpoint; no two have the same number."""
    counts = []
    for name in PUBLISHED:
        architecture = load_architecture(name)
        count = len(_slots(_empty_network(architecture), tensors))
        if count == len(tensors):
            return architecture
        counts.append(f"{name} {count}")
    raise CheckpointError(
        f"{path}: has {len(tensors)} tensors, the presets take {', '.join(counts)}: "
        "give the architecture it holds"
    )


def _slots(network: Network, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's state dict, without ``num_batches_tracked`` if the checkpoint lacks it."""
    counted = any(name.endswith(_COUNTER) for name in tensors)
    state: dict[str, Tensor] = network.state_dict()
    return {n: tensor for n, tensor in state.items() if counted or not n.endswith(_COUNTER)}


def _restore_order(
    path: Path, slots: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Sort the checkpoint's tensors as in the network, which has them under translated names."""
    positions = {name: position for position, name in enumerate(slots)}
    first_blocks = _first_blocks(tensors)
    places = {}
    for name in tensors:
        own = _own_name(name, first_blocks)
        if own not in positions:
            raise CheckpointError(f"{path}: tensor {name} is none of the architecture's")
        places[name] = positions[own]
    return {name: tensors[name] for name in sorted(tensors, key=places.__getitem__)}


def _first_blocks(names: Mapping[str, Tensor]) -> list[int]:
    """Index of each stage's first block in the whole network, from timm's names."""
    depths: dict[int, int] = {}
    for name in names:
        found = re.search(r"stages\.(\d+)\.blocks\.(\d+)\.", name)
        if found:
            stage, block = int(found[1]), int(found[2])
            depths[stage] = max(depths.get(stage, 0), block + 1)
    return [sum(depths.get(s, 0) for s in range(stage)) for stage in range(len(depths))]


def _own_name(name: str, first_blocks: list[int]) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    found = re.match(r"stages\.(\d+)\.blocks\.(\d+)\.", name)
    if found and int(found[1]) < len(first_blocks):
        block = first_blocks[int(found[1])] + int(found[2])
        name = f"blocks.{block}.{name[found.end() :]}"
    return name


@torch.no_grad()
def _fill(path: Path, slots: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    for (own, slot), (name, tensor) in zip(slots.items(), tensors.items(), strict=True):
        if slot.shape != tensor.shape:
            raise CheckpointError(
                f"{path}: tensor {name} has shape {list(tensor.shape)}, "
                f"the architecture's {own} takes {list(slot.shape)}"
            )
    for slot, tensor in zip(slots.values(), tensors.values(), strict=True):
        slot.copy_(tensor)
