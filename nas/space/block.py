"""A `Block`: one unit of a network, what it computes and at which size.

The model, the latency table, the predictor and the cost model all speak `Block`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

from nas.errors import ArchitectureError, brief, unknown

HEAD_DIM = 32
"""Channels of one attention or convolution head, everywhere in Next-ViT."""

BlockKind = Literal["stem", "ncb", "ntb", "head"]

RATIOS = ("mlp_ratio", "ncb_mlp_ratio", "ntb_mlp_ratio", "mix_ratio")
"""Fields of a `Block` or of a stage that are no whole numbers."""


def make_divisible(value: float, divisor: int = HEAD_DIM) -> int:
    """Nearest multiple of ``divisor``, at least one and never below 90% of ``value``."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclass(frozen=True, order=True)
class Block:
    """What is computed, and at which size.

    Args:
        kind: ``stem``, ``ncb`` (convolution block), ``ntb`` (transformer block), ``head``.
        in_channels, out_channels: channels; for ``head`` the output is the classes.
        stride: spatial reduction of the block (4 for the stem; the head pools all).
        height, width: size of the *input* in pixels.
        mlp_ratio: hidden over output channels of the MLP (``ncb``, ``ntb``).
        mix_ratio: share of the output channels that attention makes (``ntb``).
        sr_ratio: E-MHSA reduction; keys and values see 1 of ``sr_ratio**2`` tokens (``ntb``).
    """

    kind: BlockKind
    in_channels: int
    out_channels: int
    stride: int
    height: int
    width: int
    mlp_ratio: float = 0.0
    mix_ratio: float = 0.0
    sr_ratio: int = 0

    @property
    def out_height(self) -> int:
        """Height of the output in pixels; strides round up, as the published model does."""
        return 1 if self.kind == "head" else -(-self.height // self.stride)

    @property
    def out_width(self) -> int:
        """Width of the output in pixels."""
        return 1 if self.kind == "head" else -(-self.width // self.stride)

    @property
    def attention_channels(self) -> int:
        """Output channels made by E-MHSA (``ntb``); MHCA makes the others."""
        return make_divisible(int(self.out_channels * self.mix_ratio))

    @property
    def hidden_channels(self) -> int:
        """Channels inside the MLP (``ncb``, ``ntb``)."""
        return make_divisible(self.out_channels * self.mlp_ratio)

    @cached_property
    def id(self) -> str:
        """Short stable id, see `Architecture.id`."""
        return short_id(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back to an equal block."""
        return plain(self)

    @classmethod
    def from_json(cls, value: Any) -> Block:
        """Read what `to_json` wrote.

        Raises:
            ArchitectureError: names the missing, unknown or impossible entry.
        """
        value = checked_mapping("a block", value, {field.name for field in fields(cls)})
        if value["kind"] not in get_args(BlockKind):
            kinds = ", ".join(get_args(BlockKind))
            raise ArchitectureError(f"kind must be one of {kinds}, got {brief(value['kind'])}")
        for name, item in value.items():
            kinds_of = (int, float) if name in RATIOS else (int,)
            if name != "kind" and (isinstance(item, bool) or not isinstance(item, kinds_of)):
                raise ArchitectureError(f"{name} must be a number, got {brief(item)}")
        return cls(**value)

    def __str__(self) -> str:
        text = f"{self.kind} {self.in_channels}->{self.out_channels} at {self.height}x{self.width}"
        if self.stride != 1:
            text += f" stride {self.stride}"
        if self.mlp_ratio:
            text += f" mlp {self.mlp_ratio:g}"
        if self.kind == "ntb":
            text += f" mix {self.mix_ratio:g} sr {self.sr_ratio}"
        return text


def short_id(value: dict[str, Any]) -> str:
    """Ten hexadecimal digits that depend on the plain values alone."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def plain(value: Any) -> dict[str, Any]:
    """A dataclass of numbers as a mapping; ratios are floats whatever was given."""
    entry = asdict(value)
    return {name: float(v) if name in RATIOS else v for name, v in entry.items()}


def checked_mapping(
    what: str, value: Any, names: Set[str], optional: Set[str] = frozenset()
) -> Mapping[str, Any]:
    """The value, if it is a mapping with exactly these names, and maybe the optional ones.

    Raises:
        ArchitectureError: it is none; names the entry that is missing or unknown.
    """
    if not isinstance(value, Mapping):
        raise ArchitectureError(f"{what} is a mapping, got {brief(value)}")
    for key in value:
        if key not in names | optional:
            raise ArchitectureError(unknown("entry", str(key), names | optional))
    missing = sorted(names - set(value))
    if missing:
        raise ArchitectureError(f"missing {', '.join(missing)}")
    return value
