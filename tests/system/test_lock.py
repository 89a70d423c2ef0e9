"""The lock of a folder."""

from __future__ import annotations

import pytest

from nas.errors import RunError, TableError
from nas.latency.collect.tables import collect_table
from nas.system.lock import locked
from tests.tiny import made_up_table, tiny_space


def test_lock_that_is_held_says_what_the_other_process_does(tmp_path):
    with (
        locked(tmp_path, RunError, "working on this run"),
        pytest.raises(RunError, match="another process is working on this run; wait for it"),
        locked(tmp_path, RunError, "working on this run"),
    ):
        pass


def test_lock_that_cannot_be_made_names_the_file_and_the_remedy(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(RunError) as caught, locked(tmp_path, RunError, "working on this run"):
        pass
    assert str(caught.value).startswith(f"{tmp_path / '.lock'}: cannot be locked: Is a directory; ")
    assert str(caught.value).endswith("make the folder writable")


def test_lock_of_a_table_that_cannot_be_made_names_the_option(tmp_path):
    space = tiny_space(tmp_path)
    table = made_up_table(tmp_path / "tables", space)
    (table.path / ".lock").mkdir()
    with pytest.raises(TableError, match="cannot be locked: .*; name another folder with --tables"):
        collect_table(space, "onnxruntime", tables_dir=tmp_path / "tables")
