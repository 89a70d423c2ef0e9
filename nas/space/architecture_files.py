"""Reads an `Architecture` from a preset or from a .yaml or .json file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from nas.errors import ArchitectureError, brief, unknown
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.system import folders
from nas.system.paths import is_dir, is_file
from nas.system.text_files import read_text
from nas.system.yaml_files import read_yaml

BEST_FORMAT = 2
"""Version of the format of ``best.json``; files of version 1 do not state it."""

PUBLISHED = ("nextvit-small", "nextvit-base", "nextvit-large")
"""The presets whose accuracies and weights are published with the paper (arXiv 2207.05501)."""


def preset_names() -> list[str]:
    """Names of the presets: `PUBLISHED` first, then by family, each from small to large."""
    order = {"small": 0, "base": 1, "large": 2}
    names = (path.stem for path in folders.presets().glob("*.yaml"))

    def place(name: str) -> tuple[bool, str, int]:
        family, _, size = name.rpartition("-")
        return name not in PUBLISHED, family, order.get(size, 9)

    return sorted(names, key=place)


def load_presets(space: SearchSpace | None = None) -> list[tuple[str, Architecture]]:
    """Return the name and the architecture of each preset, in the order of `preset_names`.

    Args:
        space: only presets with a stem stride of this space are returned, as others are made for
            images of another size; None returns all presets.
    """
    presets = [(name, load_architecture(name)) for name in preset_names()]
    if space is None:
        return presets
    return [(name, preset) for name, preset in presets if preset.stem_stride in space.stem_stride]


def load_architecture(name_or_path: str | Path) -> Architecture:
    """Read an architecture.

    Args:
        name_or_path: name of a preset, path of a .yaml or .json file such as ``best.json``, or a
            folder with a ``best.json``.

    Raises:
        ArchitectureError: no such preset or file, or its content is wrong, or of a newer format.
    """
    text = str(name_or_path)
    path = folders.presets() / f"{text}.yaml"
    if text not in preset_names():
        path = Path(text)
        if is_dir(path):
            path = path / "best.json"
        if not is_file(path):
            raise ArchitectureError(
                unknown("architecture", text, preset_names()) + "; or give a .json or .yaml file"
            )
    try:
        if path.suffix == ".json":
            value = json.loads(read_text(path))
        else:
            _, value = read_yaml(path)
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ArchitectureError(f"{path}: not readable as an architecture: {reason}") from None
    if isinstance(value, Mapping) and "architecture" in value:
        _check_format(value.get("format", 1), path)
        value = value["architecture"]
    try:
        return Architecture.from_json(value)
    except ArchitectureError as error:
        raise ArchitectureError(f"{path}: {error}") from None


def _check_format(given: object, path: Path) -> None:
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise ArchitectureError(f"{path}: format {brief(given)} is none: write {BEST_FORMAT}")
    if given > BEST_FORMAT:
        raise ArchitectureError(
            f"{path}: format {given} is newer than this version of nextvit-nas reads, which is "
            f"{BEST_FORMAT}: update nextvit-nas"
        )
