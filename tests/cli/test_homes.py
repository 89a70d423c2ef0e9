"""Users whose home folder is missing or cannot be written: one line that says what to set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from nas.system import folders
from tests.cli.test_search_mistakes import TRT

ROOT = Path(__file__).resolve().parents[2]


def _can_unshare(*options: str) -> bool:
    try:
        done = subprocess.run(["unshare", *options, "true"], capture_output=True, check=False)
    except OSError:
        return False
    return os.getuid() == 0 and done.returncode == 0


@pytest.fixture
def search(tmp_path):
    """The arguments of a search that keeps its decoded images in the cache."""
    for name, red in (("cat", 200), ("dog", 0)):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for number in range(80):
            Image.new("RGB", (12, 12), (red, 0, number)).save(folder / f"{number:03}.png")
    data = f"imagefolder:{tmp_path / 'data'}"
    return [*TRT, "--data", data, "--output", str(tmp_path / "run")]


def _run(command: list[str], search: list[str], home: Path | None = None) -> str:
    """What the search prints in an environment without the usual folders; it must be refused."""
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
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@pytest.mark.skipif(not _can_unshare("-U", "--map-user=12345"), reason="needs root and unshare")
def test_a_user_that_the_system_does_not_know(search):
    line = _run(["unshare", "-U", "--map-user=12345"], search)
    assert "this user has no home folder for the cache: set XDG_CACHE_HOME to" in line


@pytest.mark.skipif(not _can_unshare("-m"), reason="needs root and unshare")
def test_a_home_that_cannot_be_written(search, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    mounted = f'mount -t tmpfs -o ro tmpfs "{home}" && exec "$@"'
    line = _run(["unshare", "-m", "bash", "-c", mounted, "bash"], search, home)
    assert f"cache folder {home}/.cache/nextvit-nas cannot be written: Read-only" in line
    assert "set XDG_CACHE_HOME to a folder that can be" in line


def test_no_home_at_all(search, refused, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(folders.Path, "home", no_home)
    assert "set XDG_CACHE_HOME to a folder that can be written" in refused(*search)


def test_a_home_that_is_a_file(search, refused, monkeypatch, tmp_path):
    (tmp_path / "home").write_text("")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    line = refused(*search)
    assert f"cache folder {tmp_path}/home/.cache/nextvit-nas cannot be written: Not a dir" in line
