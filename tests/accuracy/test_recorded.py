"""Recorded accuracies: read from any program's CSV, and refused by line where a row is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.accuracy.evaluators import make_evaluator, with_absolute_paths
from nas.accuracy.recorded import read_recorded
from nas.config import SearchConfig
from nas.errors import EvaluatorError


@pytest.mark.parametrize(
    "data",
    [
        b"id,accuracy,standard_error,note\na,0.5,0.01,x\nb,0.25,,\n",
        b"\xef\xbb\xbfid;accuracy;standard_error;note\r\na;0,5;0,01;x\r\nb;0,25;;\r\n",
        "note\tid\taccuracy\tstandard_error\nx\ta\t0.5\t0.01\n\tb\t0.25\t".encode("utf-16"),
    ],
    ids=["plain", "semicolons", "utf-16-tabs"],
)
def test_recorded_accuracies_of_any_program_are_read(tmp_path, data):
    path = tmp_path / "accuracies.csv"
    path.write_bytes(data)
    found = read_recorded(path)
    assert {name: (e.score, e.standard_error) for name, e in found.items()} == {
        "a": (0.5, 0.01),
        "b": (0.25, None),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,accuracy\na,0.5\n,0.6\n", ":3: the id is missing"),
        ("id,accuracy,id\na,0.5,b\n", ":1: two columns have the name 'id'"),
        ("id,accuracy\na,0.5\na,0.6\n", ":3: a second row for a"),
        ("id,accuracy\na\n", ":2: 1 cells, expected 2"),
        ('id,accuracy\n"a,0.5\n', ":2: not readable as CSV"),
        ("id,accuracy\na,50%\n", ":2: accuracy '50%' is not a number from 0 to 1"),
        ("id,accuracy\na,0.5\nb,75\n", ":3: accuracy '75' is not a number from 0 to 1"),
        ("id,accuracy\na,nan\n", ":2: accuracy 'nan' is not a number"),
        ("id,acc\na,0.5\n", ":1: the column 'accuracy' is missing"),
        ("id,accuracy\n", ": has no recorded accuracy"),
        ("", ":1: the column 'id' is missing"),
    ],
)
def test_recorded_accuracies_with_a_wrong_row_are_refused_by_its_line(tmp_path, text, expected):
    path = tmp_path / "accuracies.csv"
    path.write_text(text)
    with pytest.raises(EvaluatorError) as refused:
        read_recorded(path)
    assert str(refused.value).startswith(f"{path}{expected}")
    assert len(str(refused.value).splitlines()) == 1


def test_recorded_accuracies_in_the_home_folder_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = SearchConfig(target="onnxruntime", budget_ms=1.0, evaluator="recorded:~/x.csv")
    assert make_evaluator(config).path == str(tmp_path / "x.csv")
    assert with_absolute_paths(config).evaluator == f"recorded:{tmp_path / 'x.csv'}"
    unknown = config.model_copy(update={"evaluator": "recorded:~no-such-user/x.csv"})
    with pytest.raises(EvaluatorError, match="no home folder is known for ~"):
        make_evaluator(unknown)


def test_recorded_accuracies_that_cannot_be_read_name_the_file(tmp_path):
    (tmp_path / "other.csv").write_bytes("id,accuracy\nä,1".encode("latin-1"))
    for path in (tmp_path, tmp_path / "none.csv", tmp_path / "other.csv"):
        with pytest.raises(EvaluatorError, match="recorded accuracies cannot be read"):
            read_recorded(Path(path))
