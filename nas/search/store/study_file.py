"""The file of a run's Optuna study: opens it, and says in one line why it cannot be used."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection as Direction
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from nas.config import SearchConfig
from nas.errors import RunError, UserError
from nas.results.files import RESULT_FILES, TRIALS
from nas.system.paths import exists, is_file

STUDY = "study.db"
STUDY_NAME = "search"

WAIT_S = 60.0
"""Seconds to wait while another program, such as a backup or a dashboard, holds the file."""

_TABLES = {
    *("studies", "study_directions", "study_user_attributes", "study_system_attributes"),
    *("trials", "trial_params", "trial_values"),
    *("trial_user_attributes", "trial_system_attributes"),
}
"""Tables of Optuna without which a run's trials cannot be read."""


def open_study(path: Path, config: SearchConfig) -> optuna.Study:
    """Open the study of the run in a folder; create it if the run was killed before it had one.

    Raises:
        RunError: the study is missing although the run has results, or see `study_errors`.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lacking = _lacking(path / STUDY)
    result = next((name for name in RESULT_FILES if exists(path / name)), None)
    if lacking and result:
        raise RunError(
            f"{path / STUDY}: {lacking}, but {result} beside it is of a run that had a study: put "
            f"{STUDY} back from a copy, or begin a new run in another folder"
        )
    with study_errors(path):
        study = optuna.create_study(
            storage=_storage(path),
            study_name=STUDY_NAME,
            directions=[Direction.MAXIMIZE] + [Direction.MINIMIZE] * len(config.targets),
            load_if_exists=True,
        )
        if not study.get_trials(deepcopy=False) and _lists_trials(path / TRIALS):
            raise RunError(
                f"{path / STUDY}: has no trials, but {TRIALS} beside it lists some: put {STUDY} "
                f"back from a copy, or begin a new run in another folder"
            )
        if study.metric_names is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(["score", *_latency_names(config)])
    return study


def read_study(path: Path) -> optuna.Study:
    """Open the study of another run for reading.

    Raises:
        RunError: see `study_errors`.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lacking = _lacking(path / STUDY)
    if lacking:  # Optuna would create its tables
        raise RunError(f"{path / STUDY}: not readable as a study: the file {lacking}")
    with study_errors(path):
        return optuna.load_study(storage=_storage(path), study_name=STUDY_NAME)


def _lists_trials(path: Path) -> bool:
    """Whether a trials.csv has a row below its header."""
    return is_file(path) and path.read_bytes().strip().count(b"\n") > 0


@contextmanager
def study_errors(path: Path) -> Iterator[None]:
    """Replace all errors inside a with-block that reads a whole study; it may be damaged.

    Raises:
        RunError: see `storage_errors`; or the study is damaged.
    """
    try:
        with storage_errors(path):
            yield
    except RunError:
        raise
    except Exception as error:  # what a value of a wrong type raises
        said = " ".join(str(error).split())[:200]
        if not isinstance(error, UserError):
            said = f"{type(error).__name__}: {said}"
        raise _damaged(path, said) from None


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Replace storage errors inside a with-block by errors that tell the user what to do.

    Raises:
        RunError: the disk is full, another program holds study.db, or it is damaged.
        UserError: the error that occurred first, if the storage failed only while handling it.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, json.JSONDecodeError) as error:
        first: BaseException | None = error
        chain: list[BaseException] = []
        while first is not None and not isinstance(first, UserError):
            chain.append(first)
            first = first.__cause__ or first.__context__
        if first is not None:
            raise first from None
        raise _storage_error(path, getattr(chain[-1], "orig", chain[-1])) from None


def _storage_error(path: Path, error: BaseException) -> RunError:
    said = " ".join(str(error).split())[:200]
    going_on = f"go on with --resume {path}"
    if "locked" in said:
        return RunError(
            f"{path / STUDY}: another program, such as a backup or a dashboard, has held it for "
            f"{WAIT_S:.0f} s: end that program, then {going_on}"
        )
    operational = isinstance(error, sqlite3.OperationalError) and not said.startswith("no such")
    if not operational:
        return _damaged(path, said)
    return RunError(
        f"{path / STUDY}: cannot be read or written: {said}; where the disk is full, make room and "
        f"{going_on}"
    )


def _damaged(path: Path, said: str) -> RunError:
    return RunError(f"{path / STUDY}: not readable as a study: {said}")


def _storage(path: Path) -> optuna.storages.RDBStorage:
    # A URI of SQLite inside a URL of SQLAlchemy: every character that a path may have is escaped.
    file = (path / STUDY).absolute().as_uri()
    url = URL.create("sqlite", database=file, query={"uri": "true"}).render_as_string()
    return optuna.storages.RDBStorage(url, {"connect_args": {"timeout": WAIT_S}})


def _lacking(file: Path) -> str | None:
    """Say what a file lacks to be a study, without changing it; None if that is not known."""
    if not is_file(file):
        return "is missing"
    if not file.stat().st_size:
        return "is empty"
    uri = f"{file.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, timeout=WAIT_S, uri=True)) as database:
            tables = {name for (name,) in database.execute("select name from sqlite_master")}
            missing = sorted(_TABLES - tables)
            if missing:
                return f"lacks the table {missing[0]}"
            query = "select 1 from studies where study_name = ?"
            found = database.execute(query, [STUDY_NAME]).fetchone()
    except sqlite3.Error:  # opening it says why
        return None
    return None if found else f"lacks the study {STUDY_NAME!r}"


def _latency_names(config: SearchConfig) -> list[str]:
    if len(config.targets) == 1:
        return ["latency_ms"]
    return [f"latency_ms {n} {target.target}" for n, target in enumerate(config.targets, start=1)]
