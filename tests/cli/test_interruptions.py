"""Searches that are killed or interrupted, as their user does it, and go on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.cli import main
from tests.tiny import tiny_space

ROOT = Path(__file__).resolve().parents[2]
FAST = ["--proxy-images", "128", "--resolution", "64", "--sampler", "random"]
"""Trains in seconds."""


def _start(run: Path, trials: int) -> subprocess.Popen[bytes]:
    tiny_space(run.parent)
    arguments = ["--target", "tensorrt", "--budget", "8ms", "--trials", str(trials)]
    arguments += [
        "--space",
        str(run.parent / "tiny.yaml"),
        *FAST,
        "--finalists",
        "0",
        "--output",
        str(run),
    ]
    return subprocess.Popen(
        [sys.executable, "run_search.py", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, `nohup` SIGHUP, and so would what they start.
        preexec_fn=_default_signals,
    )


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _finished(run: Path) -> dict[int, str]:
    """Finished trials of a study: number and accuracy, read as anybody could."""
    database = run / "study.db"
    if not database.exists():
        return {}
    query = (
        "select number, value from trials join trial_values using (trial_id) "
        "where state = 'COMPLETE' and objective = 0"
    )
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return dict(connection.execute(query).fetchall())
    except sqlite3.OperationalError:
        return {}


def _wait_until(reached: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while not reached():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)


@pytest.mark.slow
def test_kill_and_resume_keeps_every_finished_trial(tmp_path):
    run = tmp_path / "run"
    process = _start(run, 50)
    _wait_until(lambda: len(_finished(run)) >= 2, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = _finished(run)
    done = subprocess.run(
        [sys.executable, "run_search.py", "--resume", str(run), "--trials", str(len(kept) + 2)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    after = _finished(run)
    assert kept.items() <= after.items()
    assert len(after) == len(kept) + 2
    with sqlite3.connect(run / "study.db") as connection:
        states = dict(
            connection.execute("select state, count(*) from trials group by state").fetchall()
        )
    assert "RUNNING" not in states
    assert (run / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_search_cleanly_with_a_report_and_it_resumes(tmp_path, number):
    run = tmp_path / "run"
    process = _start(run, 50)
    _wait_until(lambda: len(_finished(run)) >= 2, process)
    os.killpg(process.pid, number)
    if number != signal.SIGINT:  # `timeout` and a terminal that closes send theirs twice
        os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=120)
    text = output.decode()
    assert process.returncode == 130, text
    assert "Traceback" not in text
    assert "--resume" in text
    assert (run / "report.html").exists()
    kept = _finished(run)
    assert len(kept) >= 2
    assert main(["--resume", str(run), "--trials", str(len(kept) + 1)]) == 0
    assert kept.items() <= _finished(run).items()


@pytest.mark.slow
def test_a_search_whose_output_went_away_goes_on_and_ctrl_c_ends_it_with_a_report(tmp_path):
    """As of `| tee`, which Ctrl-C ends too, and of `| head`."""
    run = tmp_path / "run"
    process = _start(run, 50)
    _wait_until(lambda: len(_finished(run)) >= 1, process)
    process.stdout.close()
    before = len(_finished(run))
    _wait_until(lambda: len(_finished(run)) >= before + 2, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert (run / "report.html").exists() and (run / "best.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 0.7, 2.0])
def test_ctrl_c_while_the_workers_start_is_as_clean(tmp_path, delay_s):
    run = tmp_path / "run"
    process = _start(run, 50)
    _wait_until(lambda: (run / "study.db").exists(), process)
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    text = output.decode()
    assert "Traceback" not in text
    assert process.returncode == 130, text
    assert main(["--resume", str(run), "--trials", "1"]) == 0
