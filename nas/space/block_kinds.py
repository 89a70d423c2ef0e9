"""The registry of the kinds of `nas.space.block.Block`.

A kind is one `BlockKind`, defined in one file and registered when that file is imported. The space,
the cost model, the network, the latency table and the report look kinds up in the registry; none of
them names a kind. The project's own kinds are in `nas.models.blocks`; docs/blocks-and-spaces.md
shows how to add another one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nas.errors import ArchitectureError, UnknownKindError, brief, unknown

if TYPE_CHECKING:
    from torch import nn

Number = int | float

Extra = tuple[tuple[str, Number], ...]
"""(name, value) pairs of additional fields, sorted by name; default values are left out."""

Role = Literal["convolution", "transformer", "end"]
"""Whether the latency predictor counts a block as convolution or transformer block, or, for a stem
or a head, as neither (``end``)."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")

_SIZES = ("kind", "in_channels", "out_channels", "stride", "height", "width", "extra")
_TIMINGS = ("latency_ms", "ci_pct", "spread_pct", "runs", "reference_ms")
_RESERVED = frozenset((*_SIZES, *_TIMINGS))
"""Names that fields of a kind cannot have: blocks, stages and rows of tables use them."""


@dataclass(frozen=True)
class Op:
    """Cost of one operator for one image, with BatchNorms folded.

    Attributes:
        macs: multiply-accumulates.
        weights: parameters that the operator reads.
        activations: values that the operator reads and writes.
        params: trainable parameters before folding (BatchNorm's two vectors included).
    """

    macs: int
    weights: int
    activations: int
    params: int


@dataclass(frozen=True)
class Field:
    """A number that a kind's blocks have beyond channels, stride and size.

    Attributes:
        name: name of the JSON entry and of the table's column: lower-case letters, digits and
            underscores.
        low, high: smallest and largest value.
        whole: whether it is an integer.
        default: value in a block that does not set the field; None if every block must set it.
    """

    name: str
    low: float
    high: float
    whole: bool = True
    default: Number | None = None

    def checked(self, value: Any) -> Number:
        """Check a value, and return it as int (if ``whole``) or float.

        Raises:
            ArchitectureError: it is not a number of that type, or out of range; names the field.
        """
        types = (int,) if self.whole else (int, float)
        good = isinstance(value, types) and not isinstance(value, bool)
        if good and self.low <= value <= self.high:
            return int(value) if self.whole else float(value)
        what = "a whole number" if self.whole else "a number"
        raise ArchitectureError(
            f"{self.name} must be {what} from {self.low:g} to {self.high:g}, got {brief(value)}"
        )


MLP_RATIO = Field("mlp_ratio", 0, 64, whole=False)
"""Ratio of hidden to output channels of an MLP, see `Block.hidden_channels`."""

MIX_RATIO = Field("mix_ratio", 0, 1, whole=False)
"""Share of the output channels that attention makes: `Block.attention_channels`."""

SR_RATIO = Field("sr_ratio", 0, 64)
"""Spatial reduction of attention: keys and values see 1 of ``sr_ratio**2`` tokens, so the map needs
at least ``sr_ratio**2`` pixels."""

COMMON = tuple(field.name for field in (MLP_RATIO, MIX_RATIO, SR_RATIO))
"""Names of fields that every `Block` has; they are 0 in blocks whose kind does not declare them."""


@dataclass(frozen=True, eq=False)
class BlockKind:
    """Definition of one kind of block.

    ``operators``, ``module`` and ``note`` are functions of a `Block`.

    Attributes:
        name: lower-case name, the value of `Block.kind`.
        role: how the latency predictor counts such blocks, see `Role`.
        label: name of the kind in reports, for example ``NCB``.
        meaning: description in a few words, for example ``convolution block``.
        operators: lists the operators of a block for one image, in order; needs no torch.
        module: builds the module from a block and a stochastic-depth rate; imports torch itself.
        fields: fields that a block has besides channels, stride and size.
        pools: whether the output is one value per channel, whatever the size of the input.
        note: text that a report adds about a block; empty for none.

    Raises:
        ArchitectureError: the name of the kind or of a field cannot be used; names it.
    """

    name: str
    role: Role
    label: str
    meaning: str
    operators: Callable[[Any], Sequence[Op]]
    module: Callable[[Any, float], nn.Module]
    fields: tuple[Field, ...] = ()
    pools: bool = False
    note: Callable[[Any], str] = field(default=lambda _: "")

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        for name in (self.name, *names):
            if not _NAME.fullmatch(name):
                raise ArchitectureError(
                    f"kind {brief(self.name)}: {brief(name)} is no name: use lower-case letters, "
                    f"digits and underscores"
                )
        for one in self.fields:
            if one.name in COMMON and one.default is not None:
                raise ArchitectureError(
                    f"kind {self.name!r}: field {one.name!r} cannot have a default: every block "
                    f"sets it"
                )
        for name in names:
            if name in _RESERVED or names.count(name) > 1:
                raise ArchitectureError(
                    f"kind {self.name!r}: a field cannot be called {name!r}: the name is taken"
                )

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the kind's fields; those in `COMMON` come first."""
        names = {field.name for field in self.fields}
        further = (field.name for field in self.extra_fields)
        return (*(name for name in COMMON if name in names), *further)

    @property
    def extra_fields(self) -> tuple[Field, ...]:
        """The kind's fields that are not in `COMMON`."""
        return tuple(field for field in self.fields if field.name not in COMMON)

    @property
    def home(self) -> str:
        """Name of the Python module that defines the kind."""
        return self.module.__module__


_KINDS: dict[str, BlockKind] = {}


def register(kind: BlockKind) -> BlockKind:
    """Register a kind under its name, and return it.

    Raises:
        ArchitectureError: another file has registered that name.
    """
    known = _KINDS.get(kind.name)
    if known is not None and known.home != kind.home:
        raise ArchitectureError(
            f"kind {kind.name!r} of {kind.home}: {known.home} has a kind of that name: choose "
            f"another one"
        )
    _KINDS[kind.name] = kind
    return kind


def kinds() -> tuple[BlockKind, ...]:
    """Every registered kind, in the order of registration."""
    return tuple(_KINDS.values())


def kind_of(name: str) -> BlockKind:
    """The registered kind of block with this name.

    Raises:
        UnknownKindError: no such kind is registered; the message lists those that are.
    """
    try:
        return _KINDS[name]
    except (KeyError, TypeError):
        raise UnknownKindError(
            f"kind must be one of {', '.join(_KINDS)}, got {brief(name)}; to use a kind of your "
            f"own, import its file first, as a space written in Python does"
        ) from None


def is_kind_name(name: str) -> bool:
    """Whether a text is a valid name of a kind."""
    return bool(_NAME.fullmatch(name))


def canonical(fields: Iterable[Field], values: Iterable[tuple[str, Any]]) -> Extra:
    """Check values of fields, and bring them into one form, so that equal settings compare equal.

    Args:
        fields: the fields that exist.
        values: (name, value) pairs; a field without a value has its default.

    Returns:
        The pairs sorted by name, without values that are the field's default.

    Raises:
        ArchitectureError: an unknown field, one without a value, or a value out of range.
    """
    given = dict(values)
    known = {field.name: field for field in fields}
    for name in given:
        if name not in known:
            raise ArchitectureError(unknown("entry", str(name), known))
    missing = sorted(n for n, f in known.items() if f.default is None and n not in given)
    if missing:
        raise ArchitectureError(f"missing {', '.join(missing)}")
    checked = {name: known[name].checked(value) for name, value in given.items()}
    return tuple(sorted((n, v) for n, v in checked.items() if v != known[n].default))
