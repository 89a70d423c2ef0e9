"""A run's folder when its database fails."""

from __future__ import annotations

import json
import math
import sqlite3

import optuna
import pytest

from nas.config import SearchConfig
from nas.errors import RunError
from nas.search.store.run_folder import (
    CONFIG,
    OLD_CONFIG,
    read_run,
    refuse_existing,
    storage_errors,
    write_config,
)


def full_disk() -> None:
    """Raise the error that Optuna raises on a full disk."""
    try:
        raise sqlite3.OperationalError("database or disk is full")
    except sqlite3.OperationalError as error:
        raise optuna.exceptions.StorageInternalError("An exception at the commit.") from error


def test_a_budget_without_end_in_a_run_is_refused(tmp_path):
    config = SearchConfig(target="tensorrt", budget_ms=8.0).model_dump()
    config["targets"][0]["budget_ms"] = math.inf
    (tmp_path / OLD_CONFIG).write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"targets\.0\.budget_ms: Input should be a finite number"):
        read_run(tmp_path)
    (tmp_path / CONFIG).write_text("targets:\n- target: tensorrt\n  budget_ms: .inf\n")
    with pytest.raises(RunError, match=r"config\.yaml:3: budget: inf: Input should be a finite"):
        read_run(tmp_path)


def test_a_newer_run_is_refused(tmp_path):
    (tmp_path / CONFIG).write_text("format: 2\n")
    with pytest.raises(RunError, match=r"config\.yaml: format 2 is newer than this version reads"):
        read_run(tmp_path)


def test_a_run_of_before_is_read_until_it_is_gone_on_with(tmp_path):
    config = SearchConfig(target="tensorrt", budget_ms=8.0, trials=3)
    (tmp_path / OLD_CONFIG).write_text(config.model_dump_json())
    with pytest.raises(RunError, match="already holds a run"):
        refuse_existing(tmp_path)
    assert read_run(tmp_path) == config
    write_config(tmp_path, config.changed({"trials": 5}))
    assert read_run(tmp_path).trials == 5


def test_a_full_disk_is_one_line_with_its_reason(tmp_path):
    with pytest.raises(RunError) as caught, storage_errors(tmp_path):
        full_disk()
    said = f"{tmp_path / 'study.db'}: cannot be read or written: database or disk is full; "
    assert str(caught.value).startswith(said)
    assert f"--resume {tmp_path}" in str(caught.value)


def test_what_came_first_is_told_if_the_storage_then_fails_as_well(tmp_path):
    with pytest.raises(RunError, match="checkpoint cannot be written"), storage_errors(tmp_path):
        try:
            raise RunError("checkpoint cannot be written")
        finally:
            full_disk()


def test_other_errors_are_left_alone(tmp_path):
    with pytest.raises(ZeroDivisionError), storage_errors(tmp_path):
        raise ZeroDivisionError
