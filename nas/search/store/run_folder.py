"""The folder of a run: reads and writes the configuration and opens the study in it."""

from __future__ import annotations

import datetime
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection as Direction
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from nas.config import SearchConfig, TargetConfig, config_text, read_config
from nas.errors import ConfigError, RunError, UserError
from nas.system import folders
from nas.system.paths import exists, is_dir, is_file

CONFIG = "config.yaml"
OLD_CONFIG = "config.json"
"""Name of the configuration file of older runs."""

STUDY = "study.db"
STUDY_NAME = "search"

DEFAULTS_OF_OLD_RUNS: dict[str, Any] = {"size_bonus": 0.0, "finalists": 0}
"""Values of the entries that the configuration files of older runs lack."""

_UNREADABLE = (optuna.exceptions.OptunaError, SQLAlchemyError, KeyError, RuntimeError, ValueError)


def create_run(config: SearchConfig, output: Path | None) -> Path:
    """Make a run's folder and write its config.yaml.

    Args:
        config: configuration of the search, whose targets name the device, precision and batch
            size of their tables.
        output: the folder; None for a new one under ``results/``.

    Returns:
        The folder.

    Raises:
        RunError: the folder cannot be written, or already holds a run.
    """
    path = output or _new_folder(config)
    refuse_existing(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"results folder {path} cannot be made: {error.strerror or error}; "
            f"choose another with --output"
        ) from None
    write_config(path, config)
    return path


def refuse_existing(path: Path) -> None:
    """Refuse a folder that holds a run.

    Raises:
        RunError: the folder holds a run.
    """
    if any(exists(path / name) for name in (CONFIG, OLD_CONFIG, STUDY)):
        raise RunError(
            f"{path} already holds a run: go on with --resume {path}, or choose another --output"
        )


def write_config(path: Path, config: SearchConfig) -> None:
    """Write config.yaml into a folder, atomically.

    Raises:
        RunError: the file cannot be written.
    """
    temporary = path / f".{CONFIG}.tmp"
    try:
        temporary.write_text(config_text(config), encoding="utf-8")
        temporary.replace(path / CONFIG)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"results folder {path} cannot be written: {reason}") from None


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


def open_study(path: Path, config: SearchConfig) -> optuna.Study:
    """Open a run's study; create it if there is none.

    Raises:
        RunError: study.db is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{(path / STUDY).resolve()}")
        study = optuna.create_study(
            storage=storage,
            study_name=STUDY_NAME,
            directions=[Direction.MAXIMIZE] + [Direction.MINIMIZE] * len(config.targets),
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(["score", *_latency_names(config)])
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None
    return study


def read_study(path: Path) -> optuna.Study:
    """Open the study of another run for reading.

    Raises:
        RunError: study.db is missing or damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        if not (path / STUDY).stat().st_size:  # Optuna would create its tables in an empty file
            raise ValueError("the file is empty")
        storage = optuna.storages.RDBStorage(f"sqlite:///{(path / STUDY).resolve()}")
        return optuna.load_study(storage=storage, study_name=STUDY_NAME)
    except (*_UNREADABLE, OSError) as error:
        raise _unreadable(path, error) from None


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Replace storage errors inside a with-block by errors that tell the user what to do.

    Raises:
        RunError: the disk is full, or study.db is damaged.
        UserError: the error that occurred first, if the storage failed only while handling it.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, json.JSONDecodeError) as error:
        first: BaseException | None = error
        reasons = [str(error)]
        while first is not None and not isinstance(first, UserError):
            reasons.append(str(getattr(first, "orig", first)))
            first = first.__cause__ or first.__context__
        if first is not None:
            raise first from None
        reason = " ".join(reasons[-1].split())[:200]
        raise RunError(
            f"{path / STUDY}: cannot be read or written: {reason}; where the disk is full, make "
            f"room and go on with --resume {path}"
        ) from None


def _unreadable(path: Path, error: Exception) -> RunError:
    reason = " ".join(str(getattr(error, "orig", error)).split())[:200]
    return RunError(f"{path / STUDY}: not readable as a study: {reason}")


def _latency_names(config: SearchConfig) -> list[str]:
    if len(config.targets) == 1:
        return ["latency_ms"]
    return [f"latency_ms {n} {target.target}" for n, target in enumerate(config.targets, start=1)]


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
            raise RunError(
                f"results folder {path} cannot be made: {error.strerror or error}; "
                f"choose another with --output"
            ) from None
        return path


def _budget_name(target: TargetConfig) -> str:
    return target.budget_option.replace("/", "-")


def require_writable(path: Path, remedy: str = "choose another with --output") -> None:
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
