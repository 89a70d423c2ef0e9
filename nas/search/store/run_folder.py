"""The folder of a run: makes it, and reads and writes the configuration in it."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nas.config import SearchConfig, TargetConfig, config_text, read_config
from nas.errors import ConfigError, RunError, brief
from nas.search.store.study_file import STUDY
from nas.system import folders
from nas.system.atomic import write_whole
from nas.system.paths import exists, is_dir, is_file

CONFIG = "config.yaml"
OLD_CONFIG = "config.json"
"""Name of the configuration file of older runs."""

DEFAULTS_OF_OLD_RUNS: dict[str, Any] = {"size_bonus": 0.0, "finalists": 0}
"""Values of the entries that the configuration files of older runs lack."""

_ANOTHER = "choose another with --output"


def create_run(config: SearchConfig, output: Path | None) -> Path:
    """Make a run's folder and write its config.yaml.

    Args:
        config: configuration of the search, whose targets name the device, precision and batch
            size of their tables.
        output: the folder; None for a new one under ``results/``.

    Returns:
        The folder.

    Raises:
        RunError: the folder cannot be written, or is not empty.
    """
    path = output or _new_folder(config)
    require_empty(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_made(path, error) from None
    write_config(path, config, f"make room, or {_ANOTHER}")
    return path


def require_empty(path: Path) -> None:
    """Refuse a folder that holds anything, so that a new run overwrites and removes nothing.

    Hidden files, such as ``.gitkeep`` and ``.DS_Store``, do not count: a run has no hidden files
    except its lock and unfinished files.

    Raises:
        RunError: the folder holds a run or other files, or cannot be listed.
    """
    if any(exists(path / name) for name in (CONFIG, OLD_CONFIG, STUDY)):
        raise RunError(
            f"{path} already holds a run: go on with --resume {path}, or choose another --output"
        )
    if not is_dir(path):
        return
    try:
        names = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"results folder {path} cannot be read: {reason}; {_ANOTHER}") from None
    if names:
        raise RunError(
            f"results folder {path} is not empty, it holds {brief(names[0])}: a run needs a new or "
            f"empty folder, such as --output {path / 'run'}"
        )


def write_config(path: Path, config: SearchConfig, remedy: str | None = None) -> None:
    """Write config.yaml into a folder, atomically.

    Args:
        path: the folder.
        config: the configuration.
        remedy: advice at the end of the message; None to go on with the run.

    Raises:
        RunError: the file cannot be written.
    """
    try:
        write_whole(path / CONFIG, config_text(config))
    except OSError as error:
        remedy = remedy or f"make room or make it writable, and go on with --resume {path}"
        raise RunError(
            f"{path / CONFIG}: cannot be written: {error.strerror or error}; {remedy}"
        ) from None


def read_run(path: Path, option: str = "--resume") -> SearchConfig:
    """Read the configuration of an existing run.

    Args:
        path: folder of the run.
        option: option of the command line that named the folder, for messages.

    Raises:
        RunError: the folder holds no run, or its configuration is damaged or of a newer version.
    """
    if not is_dir(path):
        raise RunError(f"{option} {path}: no such folder; a run is a folder that a search has made")
    if is_file(path / CONFIG):
        try:
            return read_config(path / CONFIG)
        except ConfigError as error:
            raise RunError(str(error)) from None
    if not is_file(path / OLD_CONFIG):
        raise RunError(f"{option} {path}: holds no run ({CONFIG} is missing)")
    return _read_old_config(path / OLD_CONFIG)


def _read_old_config(path: Path) -> SearchConfig:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            content = DEFAULTS_OF_OLD_RUNS | content
        return SearchConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise RunError(f"{path}: {where}: {first['msg']}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: not readable as JSON: {error}") from None


def _new_folder(config: SearchConfig) -> Path:
    date = datetime.date.today().isoformat()
    name = "-".join([date, *(f"{t.target}-{_budget_name(t)}" for t in config.targets)])
    number = 1
    while True:
        path = folders.results() / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
            continue
        except OSError as error:
            raise _not_made(path, error) from None
        return path


def _not_made(path: Path, error: OSError) -> RunError:
    reason = error.strerror or error
    return RunError(f"results folder {path} cannot be made: {reason}; {_ANOTHER}")


def _budget_name(target: TargetConfig) -> str:
    return target.budget_option.replace("/", "-")


def require_writable(path: Path, remedy: str = _ANOTHER) -> None:
    """Check that a results folder can be written, before hours are spent on a search.

    Args:
        path: the folder, which need not exist.
        remedy: advice at the end of the message.

    Raises:
        RunError: the folder, or the nearest existing one above it, cannot be written.
    """
    existing = path
    while not exists(existing) and existing != existing.parent:
        existing = existing.parent
    if not is_dir(existing) or not os.access(existing, os.W_OK | os.X_OK):
        reason = "closed to this user" if is_dir(existing) else "no folder"
        raise RunError(
            f"results folder {path} cannot be written ({existing} is {reason}); {remedy}"
        )
