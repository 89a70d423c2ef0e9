"""`doctor` as its user runs it."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from nas import doctor
from nas.cli import main
from nas.measurement.runtimes import RUNTIMES
from nas.system import folders
from tests.tiny import made_up_table, tiny_space


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs the command in an empty folder at 80 columns; returns exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(*arguments: object) -> tuple[int, str]:
        code = main(["doctor", *map(str, arguments)])
        captured = capsys.readouterr()
        assert captured.err == "" and "Traceback" not in captured.out
        assert max(map(len, captured.out.splitlines())) <= 80
        return code, captured.out

    return call


def test_says_what_is_usable_and_what_to_install(run, tmp_path):
    code, text = run()
    assert code == 0 and "A search can run on this machine." in text
    assert set(RUNTIMES) <= set(text.split())
    assert "pip install tensorrt" in " ".join(text.split())
    assert "tensorrt/nvidia-t4.fp16.b8" in text and "digits" in text
    assert "GB free" in text
    assert not [path for path in tmp_path.rglob("*") if path.name in ("results", "nextvit-nas")]


def test_looks_at_the_given_data_and_tables(run, tmp_path):
    made_up_table(tmp_path / "tables", tiny_space(tmp_path))
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(70):
            Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "cat" / "a.heic").touch()
    where = ("--tables-dir", tmp_path / "tables", "--data", f"imagefolder:{tmp_path / 'photos'}")
    code, text = run(*where)
    flat = " ".join(text.split())
    assert code == 0 and "2 classes, images: 100 train" in flat
    finding = doctor.diagnose(f"imagefolder:{tmp_path / 'photos'}").data[-1]
    assert finding.text.endswith(
        "left out: 1 file of other formats (1 .heic; for example cat/a.heic)"
    )
    assert "measured on this machine" in flat and "with runtime version 1.0, now it is" in flat
    (next((tmp_path / "tables" / "onnxruntime").iterdir()) / "meta.json").write_text("{")
    code, text = run(*where)
    assert code == 0 and "not readable as JSON" in " ".join(text.split())


def test_data_that_cannot_be_used_is_a_problem(run):
    code, text = run("--data", "imagefolder:/no/such")
    assert code == 2
    assert "! data: data folder /no/such does not exist" in " ".join(text.split())


def test_a_full_or_closed_folder_is_a_problem(run, monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 10**30)
    code, text = run()
    assert code == 2 and "! results: " in text and "too little: make room" in " ".join(text.split())
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "is_writable", lambda folder: False)
    found = doctor.diagnose()
    assert found.problems[0].endswith("cannot be written: choose another with --output")


def test_nothing_to_measure_with_and_no_table(run, monkeypatch, tmp_path):
    for runtime in RUNTIMES.values():
        monkeypatch.setattr(type(runtime), "unavailable", lambda self: "is not installed")
    code, text = run("--tables-dir", tmp_path / "none")
    assert code == 2 and "! no runtime measures here, and there is no latency table" in text
    code, text = run()  # estimates of other devices come along
    assert code == 0


def test_a_user_without_a_home(run, monkeypatch):
    def no_home():
        raise RuntimeError

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(folders.Path, "home", no_home)
    code, text = run()
    assert code == 0 and "set XDG_CACHE_HOME to a folder" in " ".join(text.split())


def test_data_whose_path_is_not_utf8_is_a_problem(run, tmp_path):
    name = os.fsdecode(b"gr\xf6\xdfe")
    code, text = run("--data", f"imagefolder:{tmp_path / name}")
    assert code == 2 and "its path is not UTF-8" in " ".join(text.split())
