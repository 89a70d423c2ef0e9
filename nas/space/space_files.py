"""Reads a `SearchSpace` from its YAML file; every mistake is reported with its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from nas.errors import SpaceError, brief, unknown
from nas.space.block import HEAD_DIM
from nas.space.expansion import STAGE_STRIDES
from nas.space.parameter_space import Choices
from nas.space.search_space import SearchSpace, StageChoices
from nas.system import folders
from nas.system.paths import is_file

_LARGEST = 100_000
"""Characters of the largest file read as a space; ours have 1,500."""

_MOST_ALIASES = 32
_DEEPEST = 50

Place = tuple[str | int, ...]
Report = Callable[[Place, str], None]


def space_names() -> list[str]:
    """Names of the spaces in ``search_spaces/``."""
    return sorted(path.stem for path in folders.spaces().glob("*.yaml"))


def load_space(name_or_path: str | Path) -> SearchSpace:
    """Read a search space: a name in ``search_spaces/`` or the path of a YAML file.

    Raises:
        SpaceError: no such space, or mistakes in the file: each with its line and entry.
    """
    text = str(name_or_path)
    path = folders.spaces() / f"{text}.yaml"
    if text not in space_names():
        path = Path(text)
        if not is_file(path):
            raise SpaceError(unknown("space", text, space_names()) + "; or give a .yaml file")
    node, value = _read_yaml(path)
    mistakes: list[tuple[Place, str]] = []

    def report(place: Place, text: str) -> None:
        mistakes.append((place, text))

    _report_repeated(node, (), report, set())
    space = _read_space(path.stem, value, report)
    if mistakes or space is None:
        lines = sorted((_line(node, place), text) for place, text in mistakes)
        raise SpaceError("\n".join(f"{path}:{line}: {text}" for line, text in lines))
    return space


def _read_yaml(path: Path) -> tuple[yaml.Node | None, Any]:
    """The file's nodes, which know their lines, and its values. Tags that name code are refused."""
    try:
        content = path.read_text(encoding="utf-8")
        if len(content) > _LARGEST:
            raise yaml.YAMLError(f"larger than {_LARGEST} characters")
        if _depth(content) > _DEEPEST:
            raise yaml.YAMLError(f"nested more than {_DEEPEST} levels deep")
        aliases = sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content))
        if aliases > _MOST_ALIASES:
            # Nested in each other, a few aliases stand for more values than memory holds.
            raise yaml.YAMLError(f"more than {_MOST_ALIASES} aliases")
        node: yaml.Node | None = yaml.compose(content, Loader=yaml.SafeLoader)
        return node, yaml.safe_load(content)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SpaceError(f"{path}: not readable as YAML: {reason}") from None


def _depth(content: str) -> int:
    """Levels of lists and mappings; reading deeper ones takes time that grows with the square."""
    depth = deepest = 0
    for event in yaml.parse(content, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        deepest = max(deepest, depth)
        if deepest > _DEEPEST:
            break
    return deepest


def _report_repeated(node: yaml.Node | None, place: Place, report: Report, seen: set[int]) -> None:
    """Report entries that are there twice; YAML itself would keep the last without a word."""
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


_STAGE_FIELDS = [field.name for field in fields(StageChoices)]
_NTB_FIELDS = ("ntb_mlp_ratio", "mix_ratio", "sr_ratio")


def _read_space(name: str, value: Any, report: Report) -> SearchSpace | None:
    """The space of parsed YAML; every mistake is reported with its place, then None."""
    if not isinstance(value, Mapping):
        report((), "a space is a mapping with the entries stem_width and stages")
        return None
    for key in value:
        if key not in ("stem_width", "stages"):
            report((key,), unknown("entry", str(key), ("stem_width", "stages")))
    stem = _read_choices(value, ("stem_width",), "stem_width", report)
    entries = value.get("stages")
    if not isinstance(entries, list):
        report(("stages",), f"stages must be a list of {len(STAGE_STRIDES)} stages")
        return None
    if len(entries) != len(STAGE_STRIDES):
        report(("stages",), f"there are {len(STAGE_STRIDES)} stages, not {len(entries)}")
    stages = [_read_stage(entry, number, report) for number, entry in enumerate(entries)]
    if stem is None or None in stages or len(stages) != len(STAGE_STRIDES):
        return None
    return SearchSpace(name, stem, tuple(stage for stage in stages if stage))


def _read_stage(entry: Any, number: int, report: Report) -> StageChoices | None:
    place: Place = ("stages", number)
    if not isinstance(entry, Mapping):
        report(place, f"stage {number + 1} must be a mapping of lists, got {brief(entry)}")
        return None
    for key in entry:
        if key not in _STAGE_FIELDS:
            report(
                (*place, key), f"stage {number + 1}: {unknown('entry', str(key), _STAGE_FIELDS)}"
            )
    values: dict[str, Choices | None] = {}
    for name in _STAGE_FIELDS:
        widths = values.get("ntb_width")
        conv_only = widths is not None and not any(widths)
        if name in entry and conv_only and name in ("repeats", *_NTB_FIELDS):
            if entry[name] not in ([1], [0]):
                report(
                    (*place, name),
                    f"stage {number + 1}: {name} does not apply without NTB; remove it",
                )
            continue
        if name == "repeats" and name not in entry:
            continue
        if name in _NTB_FIELDS and (conv_only or (widths is None and name not in entry)):
            continue
        values[name] = _read_choices(entry, (*place, name), name, report)
    if any(value is None for value in values.values()):
        return None
    stage = StageChoices(**{key: value for key, value in values.items() if value is not None})
    stuck = [width for width in stage.ntb_width if width and not stage.mix_ratios(int(width))]
    for width in stuck:
        report(
            (*place, "mix_ratio"),
            f"stage {number + 1}: no mix_ratio leaves channels to convolution at ntb_width {width}",
        )
    return None if stuck else stage


_LIMITS: dict[str, tuple[float, float]] = {
    "stem_width": (HEAD_DIM, 1024),
    "num_ncb": (1, 64),
    "repeats": (1, 64),
    "ncb_width": (HEAD_DIM, 8192),
    "ntb_width": (0, 8192),
    "ncb_mlp_ratio": (0.25, 16),
    "ntb_mlp_ratio": (0.25, 16),
    "mix_ratio": (0.01, 0.99),
    "sr_ratio": (1, 64),
}


def _read_choices(
    owner: Mapping[str, Any], place: Place, name: str, report: Report
) -> Choices | None:
    where = f"stage {int(place[1]) + 1}: {name}" if len(place) == 3 else name
    if name not in owner:
        report(place[:-1], f"{where} is missing")
        return None
    given = owner[name]
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        report(place, f"{where} must be a list of at least one value, got {brief(given)}")
        return None
    low, high = _LIMITS[name]
    whole = "ratio" not in name or name == "sr_ratio"
    good = True
    for index, item in enumerate(given):
        problem = None
        if isinstance(item, bool) or not isinstance(item, (int, float)):
            problem = "is not a number"
        elif whole and not isinstance(item, int):
            problem = "is not a whole number"
        elif not low <= item <= high:
            problem = f"is not from {low:g} to {high:g}"
        elif name.endswith("width") and item % HEAD_DIM:
            problem = f"is not a multiple of the head size {HEAD_DIM}"
        elif item in given[:index]:
            problem = "is there twice"
        if problem:
            report((*place, index), f"{where}: {brief(item)} {problem}")
            good = False
    return tuple(given) if good else None


def _line(node: yaml.Node | None, place: Place) -> int:
    """Line of an entry in the file, or of the nearest enclosing one."""
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
