"""Users whose home folder is missing or cannot be written: a search goes on without a cache."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas import cli
from nas.cli import main
from nas.system import folders
from tests.accuracy.data.pictures import COLOURS, write_class
from tests.search.runs import OTHER_DEVICE
from tests.tiny import made_up_table, tiny_space

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


@pytest.fixture
def tiny_search(tmp_path):
    """The arguments of a search that is over in seconds, and needs no cache."""
    made_up_table(tmp_path / "tables", tiny_space(tmp_path), device=OTHER_DEVICE)
    return [
        *("--target", "onnxruntime", "--device", OTHER_DEVICE, "--budget", "0.9ms"),
        *("--space", str(tmp_path / "tiny.yaml"), "--tables-dir", str(tmp_path / "tables")),
        *("--resolution", "64", "--proxy-images", "128", "--sampler", "random"),
        *("--trials", "1", "--finalists", "0"),
    ]


def _shell(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script, whose arguments are this program's command and more, with mounts of its own."""
    return subprocess.run(
        ["unshare", "-m", "bash", "-c", script, "bash", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


SEARCH = (sys.executable, "run_search.py")


@pytest.mark.slow
@pytest.mark.skipif(not _can_unshare("-U", "--map-user=12345"), reason="needs root and unshare")
def test_a_search_without_home_or_name_of_the_user_that_needs_neither(tiny_search, tmp_path):
    done = subprocess.run(
        [
            *("unshare", "-U", "--map-user=12345", "env", "-u", "HOME", "-u", "XDG_CACHE_HOME"),
            *(*SEARCH, *tiny_search, "--output", str(tmp_path / "run")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(not _can_unshare("-m"), reason="needs root and unshare")
def test_a_shared_memory_that_cannot_be_written_is_named_with_the_remedy(tiny_search, tmp_path):
    script = 'mount -t tmpfs -o ro tmpfs /dev/shm && exec "$@"'
    done = _shell(script, *SEARCH, *tiny_search, "--output", str(tmp_path / "run"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "error: /dev/shm: worker processes need it: " in done.stderr
    assert "--shm-size" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not _can_unshare("-m"), reason="needs root and unshare")
@pytest.mark.parametrize("size", ["60k", "220k", "3m"])
def test_a_run_on_a_full_disk_names_its_folder_and_goes_on_after_room_is_made(
    tiny_search, tmp_path, size
):
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f"""
        mount -t tmpfs -o size={size} tmpfs "{disk}" || exit 77
        "$@" --output "{disk}/run" 2>&1 > /dev/null | sed 's/^/full: /' >&2
        mount -o remount,size=100m "{disk}"
        {sys.executable} run_search.py --resume "{disk}/run" --tables-dir "{tmp_path}/tables"
        code=$?
        ls -A "{disk}/run"
        exit $code
    """
    done = _shell(script, *SEARCH, *tiny_search)
    said = done.stderr.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(said) == 1 and said[0].startswith(f"full: error: {disk}/run/"), said
    assert f"--resume {disk}/run" in said[0]
    whole = {"config.yaml", "study.db", "trials.csv", "report.html", "best.json", "best.onnx"}
    assert set(done.stdout.splitlines()[-7:]) - {".lock"} == whole


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_an_error_of_the_file_system_is_one_line_with_the_file(number, monkeypatch, capsys):
    def fail(**_: object) -> None:
        raise OSError(number, os.strerror(number), "/somewhere/file")

    monkeypatch.setattr(cli, "app", fail)
    assert cli.main(["doctor"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: /somewhere/file: {os.strerror(number)}; make room or make it")
    assert len(said.splitlines()) == 1
