"""`--dry-run` as its user runs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nas.cli import main
from tests.cli.test_search_mistakes import TRT
from tests.tiny import made_up_table, tiny_space

FAST = ["--resolution", "64", "--proxy-images", "600"]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs a dry run of a search of the tiny space in an empty folder; returns its words."""
    monkeypatch.chdir(tmp_path)
    tiny_space(tmp_path)

    def call(*arguments: str) -> str:
        before = sorted(path for path in tmp_path.rglob("*"))
        code = main([*arguments, "--dry-run"])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        assert sorted(path for path in tmp_path.rglob("*")) == before
        return " ".join(captured.out.split())

    return call


@pytest.mark.slow
def test_says_what_is_measured_and_trained(run):
    arguments = ["--target", "onnxruntime", "--budget", "1ms", "--space", "tiny.yaml", *FAST]
    arguments += ["--tables-dir", "tables", "--trials", "9", "--rungs", "2", "--finalists", "2"]
    text = run(*arguments, "--time-limit", "20min")
    assert re.search(r"table onnxruntime/\S+: \d+ blocks and 24 networks are measured first", text)
    assert re.search(r"about \d+( to \d+)? min on a quiet machine", text)
    assert "candidates 9 > 3 (latency-aware), 600 images each" in text
    assert "finalists 2" in text
    assert "data 10 classes, images: 12,000 train, 3,000 val, 3,000 test" in text
    # 9 up to 200 images, 3 of them up to 600, and 2 of 4 times 600.
    assert f"images {9 * 200 + 3 * 400 + 2 * 2400:,} of digits in all" in text
    assert re.search(r"training about .* with 1 worker: .* GMACs .* \d+ images/s here just", text)
    assert "no training begins after 20 min 0 s" in text
    assert re.search(r"disk about \d+ MB in results, where [\d.]+ GB are free", text)
    assert "A dry run: nothing was measured" in text


@pytest.mark.slow
def test_a_table_that_is_complete_needs_no_measuring(run, tmp_path):
    made_up_table(tmp_path / "tables", tiny_space(tmp_path))
    arguments = ["--target", "onnxruntime", "--budget", "0.9ms", "--space", "tiny.yaml", *FAST]
    text = run(*arguments, "--tables-dir", "tables", "--workers", "2")
    assert "there is nothing to measure for it" in text and "with 2 workers" in text


def test_another_evaluator_is_not_timed(run, tmp_path):
    made_up_table(tmp_path / "tables", tiny_space(tmp_path))
    arguments = ["--target", "onnxruntime", "--budget", "0.9ms", "--space", "tiny.yaml", *FAST]
    own = ["--tables-dir", "tables", "--evaluator", "math:sqrt", "--data", "imagefolder:/none"]
    text = run(*arguments, *own)
    assert "evaluator math:sqrt; how long it takes is not known" in text
    assert "images/s" not in text and "digits" not in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([*TRT, "--space", "nextvitt"], "unknown space 'nextvitt'"),
        (["--target", "tensorrt", "--budget", "0.1ms"], "--budget 0.1ms is below the fastest"),
        ([*TRT, "--max-size", "1MB"], "--max-size 1MB is below the smallest network"),
        ([*TRT, "--data", "imagefolder:/no/such"], "/no/such does not exist"),
        ([*TRT, "--output", "/dev/null/run"], "cannot be"),
        ([*TRT, "--warm-start", "/no/such"], "--warm-start /no/such: no such folder"),
        ([*TRT, *TRT], "given twice for the same device"),
        ([*TRT, "--json"], "--json: a dry run is printed as text"),
        (["--resume", "."], "--dry-run cannot be changed with --resume"),
        (
            ["--target", "onnxruntime", "--budget", "9ms", "--no-measure", "--tables-dir", "/none"],
            "measure one: python run_search.py tables measure",
        ),
    ],
)
def test_refuses_what_the_search_would_refuse(refused, arguments, expected):
    assert expected in refused(*arguments, "--dry-run")
    assert not Path("results", "run").exists()
