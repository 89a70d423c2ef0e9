"""Makes a `SearchConfig` from the options of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nas.config.files import read_file
from nas.config.search_config import OPTIONS, SearchConfig, mistake_of, option_error, structured
from nas.errors import ConfigError
from nas.system import folders


def config_of(given: Mapping[str, Any], path: Path | None = None) -> SearchConfig:
    """Make the configuration from options and a file.

    Args:
        given: values by `OptionField.key`; an option that is None or missing was not given.
        path: a YAML file whose values are used where no option was given.

    Raises:
        ConfigError: a value is wrong; names the option, or the file and its line.
    """
    values = _values(given)
    file = read_file(path) if path else None
    merged = file.overridden(values) if file else values
    if "targets" not in merged:
        raise _missing("--target")
    try:
        return SearchConfig.model_validate(merged)
    except ValidationError as error:
        mistake = mistake_of(error)
        own = values.get("proxy", {}) if mistake.group == "proxy" else values
        step = mistake.place[-1] if mistake.group == "proxy" else next(iter(mistake.place), None)
        if file is None or step in own:
            raise option_error(error) from None
        raise file.error(mistake) from None


def _values(given: Mapping[str, Any]) -> dict[str, Any]:
    """The given options, structured like a `SearchConfig`."""
    single = {
        entry.key: given[entry.key]
        for entry in OPTIONS
        if entry.group != "targets" and given.get(entry.key) not in (None, [], ())
    }
    targets = _targets(given)
    return structured(single | ({"targets": targets} if targets else {}))


def _targets(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Make a mapping for each --target: the n-th value of every list belongs to the n-th one."""
    lists = {entry: given.get(entry.key) or () for entry in OPTIONS if entry.group == "targets"}
    if not any(lists.values()):
        return []
    by_key = {entry.key: values for entry, values in lists.items()}
    for needed in ("target", "budget"):
        if not by_key[needed]:
            raise _missing(f"--{needed}")
    targets: list[dict[str, Any]] = [{} for _ in by_key["target"]]
    for entry, values in lists.items():
        if values and len(values) != len(targets):
            raise ConfigError(
                f"--{entry.name} is given {len(values)} times and --target {len(targets)} times: "
                f"give one for each, in the same order"
            )
        for target, value in zip(targets, values, strict=False):
            target[entry.key] = value
    return targets


def _missing(option: str) -> ConfigError:
    return ConfigError(
        f"{option} is missing: for example {folders.command()} --target onnxruntime --budget 15ms"
    )
