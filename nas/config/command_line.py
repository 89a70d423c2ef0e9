"""Makes a `SearchConfig` from the options of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nas.config.files import ConfigFile, read_file
from nas.config.search_config import OPTIONS, SearchConfig, mistake_of, option_error, structured
from nas.errors import ConfigError
from nas.system import folders


def config_of(given: Mapping[str, Any], path: Path | None = None) -> SearchConfig:
    """Make the configuration from options and a file.

    Args:
        given: values by `OptionField.key`; an option that is None, empty or missing was not given.
        path: a YAML file; its values hold for the options that were not given. None for no file.

    Raises:
        ConfigError: a value is wrong; names the option, or the file and its line.
    """
    file = read_file(path) if path else None
    values = _values(given, file)
    merged = file.overridden(values) if file else values
    if "targets" not in merged:
        raise _missing("--target")
    try:
        return SearchConfig.model_validate(merged)
    except ValidationError as error:
        mistake = mistake_of(error)
        own = values.get("proxy", {}) if "proxy" in mistake.place[:1] else values
        step = mistake.place[-1] if mistake.group == "proxy" else next(iter(mistake.place), None)
        if file is None or step in own:
            raise option_error(error) from None
        raise file.error(mistake) from None


def _values(given: Mapping[str, Any], file: ConfigFile | None) -> dict[str, Any]:
    """Return the options that were given, in the structure of a `SearchConfig`."""
    single = {
        entry.key: given[entry.key]
        for entry in OPTIONS
        if entry.group != "targets" and given.get(entry.key) not in (None, [], ())
    }
    targets = _targets(given, file)
    return structured(single | ({"targets": targets} if targets else {}))


def _targets(given: Mapping[str, Any], file: ConfigFile | None) -> list[dict[str, Any]]:
    """Make one mapping per --target, with the n-th value of every other option for the n-th target.

    Without --target there is one mapping: a file's only target, overridden by the given values.
    """
    lists = {entry: given.get(entry.key) or () for entry in OPTIONS if entry.group == "targets"}
    if not any(lists.values()):
        return []
    by_key = {entry.key: values for entry, values in lists.items()}
    if file is not None and not by_key["target"]:
        return [_overridden_target(by_key, file)]
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


def _overridden_target(by_key: Mapping[str, Sequence[Any]], file: ConfigFile) -> dict[str, Any]:
    """Return the entries of a file's only target, overridden by the options that were given.

    Raises:
        ConfigError: the file does not have one target, or an option was given more than once.
    """
    target, given = file.only_target(), {k: values for k, values in by_key.items() if values}
    if target is None or any(len(values) > 1 for values in given.values()):
        raise ConfigError(
            f"--{next(iter(given)).replace('_', '-')} without --target is for the one target of a "
            f"file, and {file.path} has none or several: give --target and --budget for each"
        )
    if "budget" in given:  # a file may name it by the field
        target = {k: v for k, v in target.items() if k not in ("budget_ms", "throughput_img_s")}
    return target | {key: values[0] for key, values in given.items()}


def _missing(option: str) -> ConfigError:
    return ConfigError(
        f"{option} is missing: for example {folders.command()} --target onnxruntime --budget 15ms"
    )
