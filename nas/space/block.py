"""A `Block`: one unit of a network, what it computes and at which size.

The model, the latency table, the predictor and the cost model all speak `Block`. The kinds of
block are defined in `nas.space.block_kinds`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from nas.errors import ArchitectureError, brief, unknown
from nas.space.block_kinds import COMMON, Extra, canonical, kind_of

HEAD_DIM = 32
"""Channels of one attention or convolution head, everywhere in Next-ViT."""

RATIOS = ("mlp_ratio", "ncb_mlp_ratio", "ntb_mlp_ratio", "mix_ratio")
"""Fields of a `Block` or of a stage that may be fractions; all others are whole numbers."""


def make_divisible(value: float, divisor: int = HEAD_DIM) -> int:
    """Nearest multiple of ``divisor``, at least one and never below 90% of ``value``."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclass(frozen=True, order=True)
class Block:
    """One unit of a network: the computation and its size.

    Args:
        kind: name of a registered kind, for example ``stem``, ``ncb`` (convolution block), ``ntb``
            (transformer block), ``head``.
        in_channels, out_channels: channels; ``out_channels`` of a head is its number of classes.
        stride: spatial reduction of the block: 4 or 2 for the stem; 1 for the head, which pools
            the whole map.
        height, width: size of the *input* in pixels.
        mlp_ratio: ratio of hidden to output channels of the MLP, in kinds that have one.
        mix_ratio: share of the output channels made by attention, in kinds that mix it with
            convolution.
        sr_ratio: spatial reduction of attention: keys and values see 1 of ``sr_ratio**2`` tokens.
        extra: fields that only this kind has, by name; ``block["kernel"]`` reads one.

    Raises:
        ArchitectureError: the kind has no such extra field, or its value is out of range.
    """

    kind: str
    in_channels: int
    out_channels: int
    stride: int
    height: int
    width: int
    mlp_ratio: float = 0.0
    mix_ratio: float = 0.0
    sr_ratio: int = 0
    extra: Extra = ()

    def __post_init__(self) -> None:
        if self.extra:
            extra = canonical(kind_of(self.kind).extra_fields, self.extra)
            object.__setattr__(self, "extra", extra)

    def __getitem__(self, name: str) -> Any:
        """Value of a field of the block's kind, or the field's default.

        Raises:
            ArchitectureError: the kind has no such field, or it has neither a value nor a default.
        """
        if name in COMMON:
            return getattr(self, name)
        for known, value in self.extra:
            if known == name:
                return value
        for field in kind_of(self.kind).extra_fields:
            if field.name == name and field.default is not None:
                return field.default
        raise ArchitectureError(f"a block of kind {self.kind} has no {name}")

    @property
    def out_height(self) -> int:
        """Height of the output in pixels; strides round up, as the published model does."""
        return 1 if kind_of(self.kind).pools else -(-self.height // self.stride)

    @property
    def out_width(self) -> int:
        """Width of the output in pixels."""
        return 1 if kind_of(self.kind).pools else -(-self.width // self.stride)

    @property
    def attention_channels(self) -> int:
        """Output channels that attention makes, in a block that mixes it with convolution.

        For other kinds the value has no meaning.
        """
        return make_divisible(int(self.out_channels * self.mix_ratio))

    @property
    def hidden_channels(self) -> int:
        """Hidden channels of the MLP; for a kind without an MLP the value has no meaning."""
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
        names = {field.name for field in fields(cls)} - {"extra"}
        kind = kind_of(value["kind"]) if isinstance(value, Mapping) and "kind" in value else None
        own = {field.name for field in kind.extra_fields} if kind else set()
        value = checked_mapping("a block", value, names, own)
        for name in names - {"kind"}:
            item, types = value[name], (int, float) if name in RATIOS else (int,)
            if isinstance(item, bool) or not isinstance(item, types):
                raise ArchitectureError(f"{name} must be a number, got {brief(item)}")
        assert kind is not None
        extra = canonical(kind.extra_fields, ((n, v) for n, v in value.items() if n in own))
        return cls(**{name: value[name] for name in names}, extra=extra)

    def __str__(self) -> str:
        text = f"{self.kind} {self.in_channels}->{self.out_channels} at {self.height}x{self.width}"
        if self.stride != 1:
            text += f" stride {self.stride}"
        for name in kind_of(self.kind).field_names:
            text += f" {name.removesuffix('_ratio')} {self[name]:g}"
        return text


def short_id(value: dict[str, Any]) -> str:
    """Hash plain values to ten hexadecimal digits, the same on every machine."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def plain(value: Any) -> dict[str, Any]:
    """Convert a `Block` or a stage to a mapping, with ratios as floats.

    The fields in ``extra`` become entries of the mapping itself.
    """
    entry = asdict(value)
    extra = dict(entry.pop("extra", ()))
    return {name: float(v) if name in RATIOS else v for name, v in entry.items()} | extra


def checked_mapping(
    what: str, value: Any, names: Set[str], optional: Set[str] = frozenset()
) -> Mapping[str, Any]:
    """Return the value if it is a mapping with all of ``names``, and no others but optional ones.

    Args:
        what: what the value should be, for the message: ``a block``.
        value: value to check.
        names: names that it must have.
        optional: names that it may have.

    Raises:
        ArchitectureError: it is not such a mapping; names the missing or unknown entry.
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
