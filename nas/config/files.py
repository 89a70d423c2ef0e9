"""A search's configuration as a file of YAML: what a run writes, and what ``--config`` reads.

Entries have the names of options, with ``_`` for ``-``, or of fields. Amounts may have units. The
entry ``format`` is the version of the file's format; without it, the current version is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from nas.config.parts import TargetConfig
from nas.config.search_config import (
    RECORDED,
    TRAINING,
    Mistake,
    SearchConfig,
    mistake_of,
    structured,
)
from nas.errors import ConfigError, brief
from nas.system.yaml_files import read_yaml

CONFIG_FORMAT = 1

_DEEPEST = 3
"""Levels of nesting in a file: its entries, the list of targets, the entries of a target."""


@dataclass(frozen=True)
class ConfigFile:
    """A file as it was read, not yet validated.

    Attributes:
        path: path of the file.
        values: its entries as `structured` returns them, without ``format``.
    """

    path: Path
    values: dict[str, Any]
    _node: yaml.Node | None = field(default=None, repr=False, compare=False)

    def error(self, mistake: Mistake) -> ConfigError:
        """Make the error for a mistake in an entry: one line with path and line number."""
        key = mistake.name.replace("-", "_")
        line = _line(self._node, mistake.place, key)
        return ConfigError(f"{self.path}:{line}: {key + ': ' if key else ''}{mistake.text}")

    def overridden(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries, overridden by others: targets as a whole, proxy entries singly.

        The file's size bonus is left out if the others choose between short training and another
        evaluator anew, because it was meant for the file's evaluator. So are the finalists, if that
        was one of recorded accuracies.
        """
        values = self.values | dict(given)
        trains, trained = (v.get("evaluator", TRAINING) == TRAINING for v in (values, self.values))
        if trains != trained and "size_bonus" not in given:
            values.pop("size_bonus", None)
        recorded = str(self.values.get("evaluator", "")).startswith(RECORDED)
        if recorded and "evaluator" in given and "finalists" not in given:
            values.pop("finalists", None)
        known = self.values.get("proxy")
        if "proxy" in given and known is not None:
            # What is not a mapping stays, so that it is reported.
            values["proxy"] = known | given["proxy"] if isinstance(known, dict) else known
        return values

    def only_target(self) -> dict[str, Any] | None:
        """Entries of the file's target if it has exactly one, else None."""
        targets = self.values.get("targets")
        if isinstance(targets, list) and len(targets) == 1 and isinstance(targets[0], dict):
            return dict(targets[0])
        return None


def read_file(path: Path) -> ConfigFile:
    """Read a file's entries.

    Raises:
        ConfigError: it is missing, not YAML, or of a newer format.
    """
    try:
        node, values = read_yaml(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ConfigError(
            f"{path}: a configuration is a mapping of options to values, such as budget: 8ms; got "
            f"{brief(values)}"
        )
    _refuse_repeated(path, node)
    _check_format(path, values.pop("format", CONFIG_FORMAT))
    try:
        return ConfigFile(path, structured(values), node)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def read_config(path: Path) -> SearchConfig:
    """Read the configuration in a file.

    Raises:
        ConfigError: see `read_file`; or an entry is wrong: names file, line and entry.
    """
    file = read_file(path)
    try:
        return SearchConfig.model_validate(file.values)
    except ValidationError as error:
        raise file.error(mistake_of(error)) from None


def config_text(config: SearchConfig) -> str:
    """Return the text of a file from which `read_config` reads the same configuration."""
    values: dict[str, Any] = {"format": CONFIG_FORMAT}
    values["targets"] = [_target_values(target) for target in config.targets]
    for name, value in config.model_dump(mode="json", exclude={"targets"}).items():
        if name == "max_size_bytes":
            values["max_size"] = _size_text(config.max_size_bytes)
        elif name == "time_limit_s":
            values["time_limit"] = _with_unit(config.time_limit_s, "s")
        else:
            values[name] = value
    values["proxy"] = values.pop("proxy")  # entries of a group go to the end
    return yaml.safe_dump(_plain(values), sort_keys=False, allow_unicode=True, width=100)


def _target_values(target: TargetConfig) -> dict[str, Any]:
    values = target.model_dump(mode="json", exclude={"budget_ms", "throughput_img_s"})
    if target.throughput_img_s is None:
        budget = _with_unit(target.budget_ms, "ms")
    else:
        budget = _with_unit(target.throughput_img_s, "img/s")
    return {"target": values.pop("target"), "budget": budget} | values


def _with_unit(value: float | None, unit: str) -> str | None:
    """Write a number without exponent, so that it is read as the same number; None for None."""
    if value is None:
        return None
    return format(Decimal(repr(float(value))), "f").removesuffix(".0") + unit


def _size_text(value: float | None) -> str | None:
    if value is not None and value >= 1e6 and value % 1e6 == 0:
        return f"{value / 1e6:.0f}MB"
    return _with_unit(value, "B")


def _plain(value: Any) -> Any:
    """Replace floats that are whole numbers by integers: 8 instead of 8.0."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_format(path: Path, given: Any) -> None:
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise ConfigError(
            f"{path}: format {brief(given)} is none: leave it out, or write {CONFIG_FORMAT}"
        )
    if given > CONFIG_FORMAT:
        raise ConfigError(
            f"{path}: format {given} is newer than this version reads, which is {CONFIG_FORMAT}: "
            f"update nextvit-nas"
        )


def _refuse_repeated(path: Path, node: yaml.Node | None, depth: int = 0) -> None:
    """Refuse entries that are there twice; YAML itself would silently keep the last one."""
    children = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, child in node.value:
            name = str(key.value)
            if name in seen:
                raise ConfigError(f"{path}:{key.start_mark.line + 1}: {name} is there twice")
            seen.add(name)
            children.append(child)
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    for child in children if depth < _DEEPEST else ():
        _refuse_repeated(path, child, depth + 1)


def _line(node: yaml.Node | None, place: tuple[str | int, ...], key: str) -> int:
    """Return the line number, from 1, of the entry at ``place``.

    A file may use ``key``, the name of the option, where ``place`` has the name of the field. If
    there is no such entry, the line is that of the nearest entry around it.
    """
    line = node.start_mark.line + 1 if node else 1
    for step in place:
        following = None
        if isinstance(node, yaml.MappingNode):
            entries = {str(name.value): (name, child) for name, child in node.value}
            found = entries.get(str(step)) or entries.get(key)
            if found:
                line, following = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            following = node.value[step] if step < len(node.value) else None
            line = following.start_mark.line + 1 if following else line
        node = following or node
    return line
