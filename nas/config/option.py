"""How users set a field of the configuration: by an option, or by an entry of a YAML file.

Each option is defined once, by a field of the configuration's models: the field gives type and
default, and its metadata, an `Option`, the name, help text and panel. The command line is generated
from `fields_of`; a YAML file has the same names, with ``_`` for ``-``.
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
        help: help text, one sentence.
        panel: the group of options in which the help shows it.
        name: name without ``--``; None stands for the field's name with ``-`` for ``_``.
        constant: value that the field gets when the option, a flag, is given; None for an option
            that takes a value.
        folder: whether the value names a folder.
        metavar: name of the value in the help; None stands for ``N``, a whole number.
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
        option: metadata of the field.
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
        """Name of the option as an argument in Python and as an entry of a file, with ``_``."""
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
    """Replace names of options by the names of their fields: ``budget`` becomes ``budget_ms``.

    Only the field's name has a unit, so the value of an option needs one. A number without a unit
    under an option's name is turned into text here, which validation then refuses.

    Raises:
        ValueError: a value is given under both names.
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
    """Return an annotation's type without None, `Annotated` metadata and type parameters."""
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
"""A share from 0 to 1; text such as 90% is parsed."""

Params = Annotated[float, _parsed(parse_count, "25M")]
Macs = Annotated[float, _parsed(parse_count, "1.2G")]
"""Numbers; text such as 25M is parsed."""

Bytes = Annotated[float, _parsed(parse_size, "20MB")]
"""A size in bytes; text such as 20MB is parsed."""

Seconds = Annotated[float, _parsed(parse_duration, "20min")]
"""A duration in seconds; text such as 20min is parsed."""
