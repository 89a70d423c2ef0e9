"""Reads a `SearchSpace` from its YAML file; every mistake is reported with its line."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from nas.errors import ArchitectureError, SpaceError, brief, unknown
from nas.space.architecture import STEM_STRIDES
from nas.space.block import HEAD_DIM
from nas.space.block_kinds import BlockKind, Field, Number, kind_of
from nas.space.expansion import STAGE_STRIDES
from nas.space.search_space import USUAL_STRIDE, SearchSpace
from nas.space.stage import CONVOLUTION, PLACES, TRANSFORMER, USUAL_KINDS
from nas.space.stage import Place as StagePlace
from nas.space.stage_choices import Numbers, StageChoices
from nas.system import folders
from nas.system.paths import is_file
from nas.system.references import is_reference, load_reference
from nas.system.yaml_files import read_yaml

Place = tuple[str | int, ...]
Report = Callable[[Place, str], None]


def space_names() -> list[str]:
    """Names of the spaces in ``search_spaces/``."""
    return sorted(path.stem for path in folders.spaces().glob("*.yaml"))


def load_space(name_or_path: str | Path) -> SearchSpace:
    """Read a search space.

    Args:
        name_or_path: a name in ``search_spaces/``, the path of a YAML file, or
            ``package.module:NAME``, a `SearchSpace` in Python.

    Raises:
        SpaceError: no such space, or mistakes in the file: each with its line and entry.
        ConfigError: the Python module cannot be imported, or has no such name.
    """
    text = str(name_or_path)
    if is_reference(text):
        return _python_space(text)
    path = folders.spaces() / f"{text}.yaml"
    if text not in space_names():
        path = Path(text)
        if not is_file(path):
            raise SpaceError(
                unknown("space", text, space_names())
                + "; or give a .yaml file, or package.module:NAME"
            )
    try:
        node, value = read_yaml(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SpaceError(f"{path}: not readable as YAML: {reason}") from None
    mistakes: list[tuple[Place, str]] = []

    def report(place: Place, text: str) -> None:
        mistakes.append((place, text))

    _report_repeated(node, (), report, set())
    name = path.stem.encode("utf-8", "backslashreplace").decode()  # it may not be UTF-8
    space = _read_space(name, value, report)
    if mistakes or space is None:
        lines = sorted((_line(node, place), text) for place, text in mistakes)
        raise SpaceError("\n".join(f"{path}:{line}: {text}" for line, text in lines))
    return space


def _python_space(text: str) -> SearchSpace:
    space = load_reference(text, "--space")
    if not isinstance(space, SearchSpace):
        raise SpaceError(
            f"--space {text}: is {brief(space)}, no nas.SearchSpace; name an instance of one"
        )
    return space


def _report_repeated(node: yaml.Node | None, place: Place, report: Report, seen: set[int]) -> None:
    """Report entries that are there twice; YAML itself would silently keep the last one."""
    if id(node) in seen:  # an alias, maybe of itself
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        names = [str(key.value) for key, _ in node.value]
        for index, (name, (_, child)) in enumerate(zip(names, node.value, strict=True)):
            if name in names[:index]:
                report((*place, name), f"{name} is there twice")
            _report_repeated(child, (*place, name), report, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _report_repeated(child, (*place, index), report, seen)


_ENTRIES = ("stem_width", "stem_stride", "stages")

_STEM_WIDTH = Field("stem_width", HEAD_DIM, 1024)
_STEM_STRIDE = Field("stem_stride", min(STEM_STRIDES), max(STEM_STRIDES))

_STAGE_LIMITS = {
    "num_ncb": (1, 64),
    "repeats": (1, 64),
    "ncb_width": (HEAD_DIM, 8192),
    "ntb_width": (0, 8192),
}

_COMMON_LIMITS = {"mlp_ratio": (0.25, 16), "mix_ratio": (0.01, 0.99), "sr_ratio": (1, 64)}
"""Lowest and highest choice of each of the fields `nas.space.block_kinds.COMMON` in a space. 0 is
not allowed, as it stands for a kind without the field."""

_WIDTHS = ("stem_width", "ncb_width", "ntb_width")

_FIELDS = frozenset(field.name for field in dataclass_fields(StageChoices))


def _read_space(name: str, value: Any, report: Report) -> SearchSpace | None:
    """Make a space from parsed YAML; report every mistake with its place.

    Returns:
        None if the mistakes leave no complete space.
    """
    if not isinstance(value, Mapping):
        report((), "a space is a mapping with the entries stem_width and stages")
        return None
    for key in value:
        if key not in _ENTRIES:
            report((key,), unknown("entry", str(key), _ENTRIES))
    stem = _read_numbers(value, ("stem_width",), _STEM_WIDTH, report)
    strides: tuple[Number, ...] | None = USUAL_STRIDE
    if "stem_stride" in value:
        strides = _read_numbers(value, ("stem_stride",), _STEM_STRIDE, report)
    entries = value.get("stages")
    if not isinstance(entries, list):
        report(("stages",), f"stages must be a list of {len(STAGE_STRIDES)} stages")
        return None
    if len(entries) != len(STAGE_STRIDES):
        report(("stages",), f"there are {len(STAGE_STRIDES)} stages, not {len(entries)}")
    stages = [_read_stage(entry, number, report) for number, entry in enumerate(entries)]
    if not stem or not strides or None in stages or len(stages) != len(STAGE_STRIDES):
        return None
    return SearchSpace(name, stem, tuple(stage for stage in stages if stage), strides)


def _read_stage(entry: Any, number: int, report: Report) -> StageChoices | None:
    where: Place = ("stages", number)
    if not isinstance(entry, Mapping):
        report(where, f"stage {number + 1} must be a mapping of lists, got {brief(entry)}")
        return None
    kinds = {place: _read_kinds(entry, where, place, report) for place in PLACES}
    if not all(kinds.values()):
        return None
    fields = {place: _fields(place, found) for place, found in kinds.items()}
    own = [*fields[CONVOLUTION], *fields[TRANSFORMER]]
    known = [*_STAGE_LIMITS, *USUAL_KINDS, *(field.name for field in own)]
    for key in entry:
        if key not in known:
            report((*where, key), f"stage {number + 1}: {unknown('entry', str(key), known)}")
    values = _read_values(entry, where, fields, report)
    if None in values.values():
        return None
    given: dict[str, Any] = {name: value for name, value in values.items() if value}
    extra = tuple((name, given.pop(name)) for name in list(given) if name not in _FIELDS)
    for place, found in kinds.items():
        given[f"{place.prefix}_kind"] = tuple(kind.name for kind in found)
    stage = StageChoices(**given, extra=extra)
    return None if _report_stuck(stage, where, report) else stage


def _read_values(
    entry: Mapping[str, Any],
    where: Place,
    fields: Mapping[StagePlace, list[Field]],
    report: Report,
) -> dict[str, tuple[Number, ...] | None]:
    """Choices of a stage's fields by name; None for a field with a mistake, which is reported."""
    limits = [Field(name, *_STAGE_LIMITS[name]) for name in ("num_ncb", "ncb_width", "ntb_width")]
    values = {
        field.name: _read_numbers(entry, (*where, field.name), field, report)
        for field in (*limits, *fields[CONVOLUTION])
        if field.name in entry or field.default is None
    }
    widths = values["ntb_width"]
    hybrid = [Field("repeats", *_STAGE_LIMITS["repeats"], default=1), *fields[TRANSFORMER]]
    if widths is None or any(widths):
        for field in hybrid:
            if field.name in entry or (widths and field.default is None):
                values[field.name] = _read_numbers(entry, (*where, field.name), field, report)
        return values
    for name in (*(field.name for field in hybrid), "ntb_kind"):
        if name in entry and entry[name] not in ([1], [0]):
            message = f"stage {int(where[1]) + 1}: {name} does not apply without NTB; remove it"
            report((*where, name), message)
    return values


def _report_stuck(stage: StageChoices, where: Place, report: Report) -> bool:
    """Report each width at which every mix_ratio gives all channels to attention.

    Returns:
        Whether there is such a width.
    """
    found = False
    for place in PLACES:
        name = place.field("mix_ratio")
        widths: Numbers = getattr(stage, f"{place.prefix}_width")
        for kind, width in itertools.product(stage.kinds(place), widths):
            offered = stage.offered(place, kind, width) if width else {}
            if name in offered and not offered[name][1]:
                report(
                    (*where, name),
                    f"stage {int(where[1]) + 1}: no {name} leaves channels to convolution at "
                    f"{place.prefix}_width {width}",
                )
                found = True
    return found


def _read_kinds(
    entry: Mapping[str, Any], where: Place, place: StagePlace, report: Report
) -> list[BlockKind]:
    """The kinds of block for a place of a stage; empty if there is a mistake, which is reported."""
    name = f"{place.prefix}_kind"
    given, stage = entry.get(name, [USUAL_KINDS[name]]), f"stage {int(where[1]) + 1}: {name}"
    if not isinstance(given, list) or not given:
        report((*where, name), f"{stage} must be a list of at least one kind, got {brief(given)}")
        return []
    found = []
    for index, item in enumerate(given):
        try:
            kind = kind_of(item)
            if kind.role == "end" or kind in found:
                what = "is there twice" if kind in found else "is no block of a stage"
                raise ArchitectureError(f"{kind.name} {what}")
            found.append(kind)
        except ArchitectureError as error:
            report((*where, name, index), f"{stage}: {error}")
    return found if len(found) == len(given) else []


def _fields(place: StagePlace, kinds: Sequence[BlockKind]) -> list[Field]:
    """Fields of these kinds, named as at ``place``, each with the range that all kinds allow."""
    found: dict[str, Field] = {}
    for field in (field for kind in kinds for field in kind.fields):
        name, (low, high) = place.field(field.name), (field.low, field.high)
        if field.name in _COMMON_LIMITS:
            low, high = _COMMON_LIMITS[field.name]
        if name in found:
            low, high = max(low, found[name].low), min(high, found[name].high)
        found[name] = replace(field, name=name, low=low, high=high)
    return list(found.values())


def _read_numbers(
    owner: Mapping[str, Any], place: Place, field: Field, report: Report
) -> tuple[Number, ...] | None:
    """The choices of a field; None if there is a mistake, which is reported."""
    name = field.name
    where = f"stage {int(place[1]) + 1}: {name}" if len(place) == 3 else name
    if name not in owner:
        report(place[:-1], f"{where} is missing")
        return None
    given = owner[name]
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        report(place, f"{where} must be a list of at least one value, got {brief(given)}")
        return None
    good = True
    for index, item in enumerate(given):
        problem = None
        if isinstance(item, bool) or not isinstance(item, (int, float)):
            problem = "is not a number"
        elif field.whole and not isinstance(item, int):
            problem = "is not a whole number"
        elif not field.low <= item <= field.high:
            problem = f"is not from {field.low:g} to {field.high:g}"
        elif name in _WIDTHS and item % HEAD_DIM:
            problem = f"is not a multiple of the head size {HEAD_DIM}"
        elif name == "stem_stride" and item not in STEM_STRIDES:
            problem = "is neither 2 nor 4"
        elif item in given[:index]:
            problem = "is there twice"
        if problem:
            report((*place, index), f"{where}: {brief(item)} {problem}")
            good = False
    return tuple(given) if good else None


def _line(node: yaml.Node | None, place: Place) -> int:
    """Line number, from 1, of the entry at ``place``, or of the nearest entry around it."""
    line = node.start_mark.line + 1 if node else 1
    for step in place:
        following = None
        if isinstance(node, yaml.MappingNode):
            for key, child in node.value:
                if key.value == str(step):
                    line, following = key.start_mark.line + 1, child
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            following = node.value[step] if step < len(node.value) else None
            line = following.start_mark.line + 1 if following else line
        if following is None:
            break
        node = following
    return line
