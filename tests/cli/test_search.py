"""A search from the command line, from its help to its report."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nas.cli import main
from tests.tiny import tiny_space

ROOT = Path(__file__).resolve().parents[2]


def test_help_is_fast_and_does_not_load_torch():
    code = (
        "import sys; from nas.cli import main; main(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'optuna', 'pandas', 'plotly')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0
    assert b"--budget" in done.stdout


@pytest.mark.slow
def test_estimated_search_end_to_end(tmp_path, capsys):
    run = tmp_path / "run"
    tiny_space(tmp_path)
    arguments = [
        *("--target", "tensorrt", "--budget", "8ms", "--trials", "2", "--by-accuracy"),
        *("--space", str(tmp_path / "tiny.yaml")),
        *("--proxy-images", "128", "--resolution", "64", "--sampler", "random"),
        *("--output", str(run)),
    ]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "estimated" in text
    assert "python run_search.py tables measure --target tensorrt" in text
    assert "not verified" in text
    best = json.loads((run / "best.json").read_text())
    (latency,) = best["latencies"]
    assert latency["provenance"] == "estimated" and latency["measured_ms"] is None
    assert best["score"] == round(best["accuracy"], 6)
    assert re.search(r"proxy accuracy after [\d,]+ images \(digits\)", " ".join(text.split()))
    assert "score" not in text
    assert best["longer_score"] == round(best["longer_accuracy"], 6)
    assert (run / "best.onnx").exists() and (run / "report.html").exists()


LOUD = """
import os
import sys
from nas.accuracy.evaluator import Evaluation

print("imported")

def evaluate(request):
    print("evaluating")
    os.write(1, b"from C")
    return 0.5

def diverge(request):
    return Evaluation(0.0, diverged=True)
"""


@pytest.fixture
def loud(tmp_path, monkeypatch):
    """Options of a search by functions of a module `loud`, which prints."""
    (tmp_path / "loud.py").write_text(LOUD)
    monkeypatch.syspath_prepend(str(tmp_path))
    tiny_space(tmp_path)
    yield [
        *("--target", "tensorrt", "--budget", "8ms", "--trials", "2", "--finalists", "0"),
        *("--space", str(tmp_path / "tiny.yaml"), "--resolution", "64", "--sampler", "random"),
        *("--output", str(tmp_path / "run")),
    ]
    sys.modules.pop("loud", None)


@pytest.mark.slow
def test_what_an_evaluator_prints_leaves_the_json_alone(loud, capfd):
    assert main([*loud, "--evaluator", "loud:evaluate", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["recommended"]
    assert "imported" in err and "evaluating" in err and "from C" in err


def test_a_search_in_which_nothing_was_trained_is_an_error_of_one_line(loud, capfd):
    assert main([*loud, "--evaluator", "loud:diverge"]) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: no candidate was trained (budget 8 ms): 0 trained, ")
    assert "2 diverged, interrupted or failed" in error and "--resume" in error
