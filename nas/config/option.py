"""The form of a configuration field for users: on the command line and in a file.

The configuration's models are the one place where an option's name, type, default, help text,
panel and units stand: `Option` is metadata of a field. The command line is generated from
`fields_of`; a file of YAML has the same names, with ``_`` for ``-``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from nas.units import parse_count, parse_duration, parse_share, parse_size

Panel = Literal["Target", "Search", "Training", "Run"]


@dataclass(frozen=True)
class Option:
    """Metadata of a field that users set.

    Attributes:
        help: one sentence.
        panel: the group that the help shows it in.
        name: name without ``--``; None stands for the field's name with ``-`` for ``_``.
        constant: value of the option given without a value; None for an option that takes a value.
        folder: whether the value names a folder.
        metavar: name of the value in the help; None stands for N for a whole number.
    """

    help: str
    panel: Panel
    name: str | None = None
    constant: float | None = None
    folder: bool = False
    metavar: str | None = None


@dataclass(frozen=True)
class OptionField:
    """A field with an `Option`, and its place in the configuration.

    Attributes:
        group: ``targets``, ``proxy``, or empty for the search itself.
        field: name of the field in that group.
        option: its metadata.
        type: type of one value on the command line: int, bool, or str for values that are parsed.
        repeated: whether the option may be given more than once.
        default: text of the default for the help; empty for none.
        minimum: lowest value that the command line accepts; None for no limit.
    """

    group: str
    field: str
    option: Option
    type: type
    repeated: bool
    default: str
    minimum: int | None

    @property
    def name(self) -> str:
        """Name of the option, without ``--``."""
        return self.option.name or self.field.replace("_", "-")

    @property
    def key(self) -> str:
        """Name of the argument that the command line passes on."""
        return self.name.replace("-", "_")


def fields_of(model: type[BaseModel], group: str = "") -> Iterator[OptionField]:
    """The options of a model's own fields, in their order."""
    for name, info in model.model_fields.items():
        option = next((entry for entry in info.metadata if isinstance(entry, Option)), None)
        if option is None:
            continue
        kind = _plain(info.annotation)
        typed = kind if kind in (int, bool) else str
        low = next((entry.ge for entry in info.metadata if isinstance(entry, Ge)), None)
        yield OptionField(
            group=group,
            field=name,
            option=option,
            type=bool if option.constant is not None else typed,
            repeated=group == "targets" or kind is tuple,
            default=_shown(info),
            minimum=low if typed is int and isinstance(low, int) else None,
        )


def renamed(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """Values with the names of fields in place of options' own: ``budget`` for ``budget_ms``.

    The name of a field has a unit and that of the option has none, so a number without a unit is
    not a valid value of the option.

    Raises:
        ValueError: a value is given by both.
    """
    found = dict(values)
    for entry in fields_of(model):
        alias = entry.key
        if alias == entry.field or alias not in found or entry.option.constant is not None:
            continue
        if entry.field in found:
            raise ValueError(f"give {alias} or {entry.field}, not both")
        value = found.pop(alias)
        bare = isinstance(value, (int, float)) and not isinstance(value, bool)
        found[entry.field] = str(value) if bare else value
    return found


def _plain(annotation: Any) -> Any:
    """The type without None, aliases' metadata and parameters."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    if len(kinds) == 1 and NoneType in get_args(annotation):
        return _plain(kinds[0])
    return get_origin(annotation) or annotation


def _shown(info: FieldInfo) -> str:
    default = info.default
    if info.is_required() or default is None or default is False or default == ():
        return ""
    percent = any(entry is SHARE for entry in info.metadata)
    return f"{100 * default:g}%" if percent else str(default)


def _parsed(parse: Any, example: str) -> BeforeValidator:
    return BeforeValidator(lambda value: parse(value, example) if isinstance(value, str) else value)


SHARE = _parsed(parse_share, "90%")

Share = Annotated[float, SHARE]
"""A share that may be a text such as 90%."""

Params = Annotated[float, _parsed(parse_count, "25M")]
Macs = Annotated[float, _parsed(parse_count, "1.2G")]
"""Numbers that may be texts such as 25M."""

Bytes = Annotated[float, _parsed(parse_size, "20MB")]
"""A size that may be a text such as 20MB."""

Seconds = Annotated[float, _parsed(parse_duration, "20min")]
"""A duration that may be a text such as 20min."""
