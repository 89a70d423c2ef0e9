"""Users whose home folder is missing or cannot be written: a search goes on without a cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.cli import main
from nas.system import folders
from tests.accuracy.data.pictures import COLOURS, write_class

ROOT = Path(__file__).resolve().parents[2]


def _can_unshare(*options: str) -> bool:
    try:
        done = subprocess.run(["unshare", *options, "true"], capture_output=True, check=False)
    except OSError:
        return False
    return os.getuid() == 0 and done.returncode == 0


@pytest.fixture
def search(tmp_path):
    """The arguments of a search that reads its data, and is then refused for its budget."""
    for name, colour in COLOURS.items():
        write_class(tmp_path / "data" / name, colour)
    budget = ["--target", "tensorrt", "--budget", "0.1ms"]
    return [*budget, "--data", f"imagefolder:{tmp_path / 'data'}", "--output", str(tmp_path / "r")]


def _warning(text: str) -> str:
    """The warning that came before the error which ended the search."""
    warning, error = text.splitlines()
    assert error.startswith("error: --budget 0.1ms is below the fastest network")
    assert warning.startswith("warning: decoded images are not kept, and every worker decodes")
    return warning


def _run(command: list[str], search: list[str], home: Path | None = None) -> str:
    """The warning of a search in an environment without the usual folders."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    }
    if home:
        environment["HOME"] = str(home)
    done = subprocess.run(
        [*command, sys.executable, "run_search.py", *search],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    return _warning(done.stderr)


@pytest.mark.skipif(not _can_unshare("-U", "--map-user=12345"), reason="needs root and unshare")
def test_a_user_that_the_system_does_not_know_has_no_cache(search):
    line = _run(["unshare", "-U", "--map-user=12345"], search)
    assert "this user has no home folder for the cache: set XDG_CACHE_HOME to" in line


@pytest.mark.skipif(not _can_unshare("-m"), reason="needs root and unshare")
def test_a_home_that_cannot_be_written_has_no_cache(search, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    mounted = f'mount -t tmpfs -o ro tmpfs "{home}" && exec "$@"'
    line = _run(["unshare", "-m", "bash", "-c", mounted, "bash"], search, home)
    assert f"cache folder {home}/.cache/nextvit-nas cannot be written: Read-only" in line
    assert "set XDG_CACHE_HOME to a folder that can be" in line


def test_no_home_at_all_has_no_cache(search, capsys, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(folders.Path, "home", no_home)
    assert main(search) == 2
    line = _warning(capsys.readouterr().err)
    assert "set XDG_CACHE_HOME to a folder that can be written" in line


def test_a_home_that_is_a_file_has_no_cache(search, capsys, monkeypatch, tmp_path):
    (tmp_path / "home").write_text("")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert main(search) == 2
    line = _warning(capsys.readouterr().err)
    assert f"cache folder {tmp_path}/home/.cache/nextvit-nas cannot be written: Not a dir" in line
