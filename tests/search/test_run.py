"""A run's folder when its database fails."""

from __future__ import annotations

import sqlite3

import optuna
import pytest

from nas.errors import RunError
from nas.search.run import storage_errors


def full_disk() -> None:
    """As Optuna tells of it."""
    try:
        raise sqlite3.OperationalError("database or disk is full")
    except sqlite3.OperationalError as error:
        raise optuna.exceptions.StorageInternalError("An exception at the commit.") from error


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
