"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
import platform
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nas.system.atomic import replacing, staging_folder, write_whole

KILLED = """
import os, signal, sys
from pathlib import Path
from nas.system.atomic import replacing
with replacing(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def unfinished(name: str, process_id: int, host: str | None = None) -> str:
    """Name of an unfinished file; the host is this one by default."""
    host = host or re.sub(r"\W", "", platform.node())[:20]
    return f".{name}.{host}-{process_id}-0123abcd.part"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kill_while_writing(path: Path) -> None:
    """Have another process begin to replace a file, and kill it."""
    done = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert done.returncode == -signal.SIGKILL


def test_write_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "best.json"
    write_whole(path, "old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new" and names(tmp_path) == ["best.json"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_write_with_an_umask_follows_it(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "report.html", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "report.html").stat().st_mode) == mode


def test_write_of_a_name_that_is_not_utf_8_escapes_its_bytes(tmp_path):
    write_whole(tmp_path / "a", os.fsdecode(b"r\xe4 \xc3\xa4"))
    assert (tmp_path / "a").read_bytes() == b"r\\udce4 \xc3\xa4"


@pytest.mark.parametrize("name", ["x" * 250, os.fsdecode(b"r\xe4.csv"), "100%?#{a}.csv"])
def test_write_of_any_legal_file_name_works(tmp_path, name):
    write_whole(tmp_path / name, "text")
    assert names(tmp_path) == [name]


def test_error_inside_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "best.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and names(tmp_path) == ["best.json"]


def test_error_of_a_write_names_the_file_and_not_the_unfinished_one(tmp_path):
    (tmp_path / "best.json").mkdir()
    for path in (tmp_path / "best.json", tmp_path / "missing" / "best.json"):
        with pytest.raises(OSError, match=".") as caught:
            write_whole(path, "text")
        assert caught.value.filename == str(path)
    assert names(tmp_path) == ["best.json"]


def test_killed_process_leaves_what_the_next_write_removes(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    kill_while_writing(path)
    assert path.read_text() == "old" and len(names(tmp_path)) == 2
    write_whole(tmp_path / "report.htm", "another file")
    assert len(names(tmp_path)) == 3
    write_whole(path, "new")
    assert names(tmp_path) == ["report.htm", "report.html"]


def test_write_leaves_the_unfinished_file_of_a_process_that_runs(tmp_path):
    others = [
        unfinished("a.csv", os.getppid()),
        unfinished("a.csv", os.getpid()),  # of another container
        unfinished("a.csv", 999_999_999, "elsewhere"),
        ".a.csv.swp",
    ]
    for name in others:
        (tmp_path / name).write_text("half")
    write_whole(tmp_path / "a.csv", "text")
    assert names(tmp_path) == sorted([*others, "a.csv"])


def test_write_removes_unfinished_files_that_are_old_whoever_wrote_them(tmp_path):
    old = tmp_path / unfinished("a.csv", os.getpid(), "elsewhere")
    old.write_text("half")
    os.utime(old, (time.time() - 7200,) * 2)
    write_whole(tmp_path / "a.csv", "text")
    assert names(tmp_path) == ["a.csv"]


def test_reader_meanwhile_sees_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "a"
    contents = ["a" * 100_000, "b" * 100_000]
    write_whole(path, contents[0])
    writing = threading.Thread(
        target=lambda: [write_whole(path, contents[n % 2]) for n in range(20)]
    )
    writing.start()
    while writing.is_alive():
        assert path.read_text() in contents
    writing.join()


def test_staging_folder_is_removed_at_the_end_and_after_a_kill(tmp_path):
    with staging_folder(tmp_path, "new") as folder:
        (folder / "inside").mkdir()
        assert folder.parent == tmp_path and folder.name.startswith(".new.")
    assert names(tmp_path) == []
    left = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True
    )
    (tmp_path / unfinished("new", int(left.stdout)) / "inside").mkdir(parents=True)
    with staging_folder(tmp_path, "new") as folder:
        assert names(tmp_path) == [folder.name]
