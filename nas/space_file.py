"""Reads a `SearchSpace` from its YAML file; every mistake is reported with its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from nas.architecture import HEAD_DIM, STAGE_STRIDES
from nas.errors import SpaceError, unknown
from nas.space import Choices, SearchSpace, StageChoices

SPACES_DIR = Path(__file__).resolve().parents[1] / "search_spaces"


def space_names() -> list[str]:
    """Names of the spaces in ``search_spaces/``."""
    return sorted(path.stem for path in SPACES_DIR.glob("*.yaml"))


def load_space(name_or_path: str | Path) -> SearchSpace:
    """Read a search space: a name in ``search_spaces/`` or the path of a YAML file.

    Raises:
        SpaceError: no such space, or mistakes in the file: each with its line and entry.
    """
    text = str(name_or_path)
    path = SPACES_DIR / f"{text}.yaml"
    if text not in space_names():
        path = Path(text)
        if not path.is_file():
            raise SpaceError(unknown("space", text, space_names()) + "; or give a .yaml file")
    try:
        content = path.read_text(encoding="utf-8")
        node = yaml.compose(content, Loader=yaml.SafeLoader)
        value = yaml.safe_load(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpaceError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    mistakes: list[tuple[tuple[str | int, ...], str]] = []
    space = _read_space(path.stem, value, lambda place, text: mistakes.append((place, text)))
    if mistakes or space is None:
        lines = [f"{path}:{_line(node, place)}: {text}" for place, text in mistakes]
        raise SpaceError("\n".join(lines))
    return space


Place = tuple[str | int, ...]
Report = Callable[[Place, str], None]

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
    if not isinstance(entries, list) or len(entries) != len(STAGE_STRIDES):
        report(("stages",), f"stages must be a list of {len(STAGE_STRIDES)} stages")
        return None
    stages = [_read_stage(entry, number, report) for number, entry in enumerate(entries)]
    if stem is None or any(stage is None for stage in stages):
        return None
    return SearchSpace(name, stem, tuple(stage for stage in stages if stage))


def _read_stage(entry: Any, number: int, report: Report) -> StageChoices | None:
    place: Place = ("stages", number)
    if not isinstance(entry, Mapping):
        report(place, f"stage {number + 1} must be a mapping of lists")
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
        if conv_only and name in _NTB_FIELDS:
            continue
        values[name] = _read_choices(entry, (*place, name), name, report)
    if any(value is None for value in values.values()):
        return None
    stage = StageChoices(**{key: value for key, value in values.items() if value is not None})
    for width in stage.ntb_width:
        if width and not stage.mix_ratios(int(width)):
            report(
                (*place, "mix_ratio"),
                f"stage {number + 1}: no mix_ratio leaves channels to convolution "
                f"at ntb_width {width}",
            )
            return None
    return stage


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
        report(place, f"{where} must be a list of at least one value, got {given!r}")
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
            report((*place, index), f"{where}: {item!r} {problem}")
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
