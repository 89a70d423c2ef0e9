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
