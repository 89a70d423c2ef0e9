"""The command line as its user runs it: every mistake is one clear line and exit code 2."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from nas.architecture_file import load_architecture
from nas.cli import main
from nas.latency.catalogue import list_tables
from nas.latency.predictor import LatencyPredictor
from nas.latency.table import TABLES_DIR
from nas.latency.table_files import read_table
from tests.tiny import made_up_table, tiny_space

ROOT = Path(__file__).resolve().parents[1]
TRT = ["--target", "tensorrt", "--budget", "8ms"]


@pytest.fixture
def refused(capsys):
    """Runs a command that must be refused; returns its one line."""

    def run(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert len(captured.err.splitlines()) == 1, captured.err
        return captured.err

    return run


def _fast(*arguments: str) -> list[str]:
    """A search that trains in seconds."""
    return [*arguments, "--proxy-images", "128", "--resolution", "64", "--sampler", "random"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--target is missing: for example python run_search.py --target"),
        (["--target", "tensorrt"], "--budget is missing"),
        (["--target", "tensort", "--budget", "8ms"], "did you mean 'tensorrt'"),
        ([*TRT, "--space", "nextvitt"], "unknown space 'nextvitt': did you mean 'nextvit'"),
        ([*TRT, "--device", "nvidia-t5"], "did you mean 'nvidia-t4'"),
        ([*TRT, "--sampler", "tpee"], "unknown sampler 'tpee': did you mean 'tpe'"),
        ([*TRT, "--batch-size", "3"], "there are: nvidia-t4.fp16.b8"),
        ([*TRT, "--precision", "int8"], "--precision"),
        ([*TRT, "--target", "coreml"], "--budget is given 1 times and --target 2 times"),
        ([*TRT, *TRT, "--device", "nvidia-t4"], "--device is given 1 times and --target 2"),
        ([*TRT, *TRT], "--target tensorrt: given twice for the same device"),
        ([*TRT, "--target", "coremll", "--budget", "4ms"], "did you mean 'coreml'"),
        ([*TRT, "--target", "coreml", "--budget", "4"], "--budget '4' has no unit"),
        ([*TRT, "--target", "coreml", "--budget", "0.01ms"], "--budget 0.01ms is below"),
        ([*TRT, "--max-params", "many"], "--max-params 'many' is not a number above zero"),
        ([*TRT, "--max-params", ""], "--max-params '' is not a number above zero"),
        ([*TRT, "--max-params", "0"], "--max-params '0' is not a number above zero"),
        ([*TRT, "--max-params", "1k"], "--max-params 0.001M is below the smallest network"),
        ([*TRT, "--max-macs", "1M"], "--max-macs 1M is below the smallest network"),
        ([*TRT, "--confidence", "1"], "--confidence 1"),
        ([*TRT, "--warm-start", "/no/such"], "--warm-start /no/such: no such folder"),
        ([*TRT, "--warm-start", "/"], "--warm-start /: holds no run"),
        ([*TRT, "--confidence", "nan"], "--confidence nan"),
        ([*TRT, "--data", "digitz"], "did you mean 'digits'"),
        ([*TRT, "--data", "imagefolder:/no/such"], "/no/such"),
        ([*TRT, "--trials", "0"], "--trials"),
        ([*TRT, "--trials", "many"], "--trials"),
        ([*TRT, "--resolution", "8"], "--resolution"),
        ([*TRT, "--resolution", "5000"], "--resolution"),
        ([*TRT, "--seed", "-1"], "--seed"),
        ([*TRT, "--seed", "5000000000"], "--seed 5000000000"),
        ([*TRT, "--proxy-resolution", "2000"], "--proxy-resolution 2000"),
        ([*TRT, "--space", "x" * 300], "unknown space"),
        ([*TRT, "--output", "/tmp/" + "x" * 300], "cannot be"),
        ([*TRT, "--num-classes", "9" * 14], "--num-classes"),
        (
            ["predict", "nextvit-small", "--target", "tensorrt", "--resolution", "9" * 20],
            "resolution must be from 1 to 4096",
        ),
        (
            ["predict", "nextvit-small", "--target", "tensorrt", "--num-classes", "9" * 400],
            "num_classes must be from 1 to 1000000",
        ),
        (["predict", "x" * 300, "--target", "tensorrt"], "unknown architecture"),
        ([*TRT, "--time-limit", "5"], "--time-limit '5' has no unit: write for example 5min"),
        ([*TRT, "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["predict", "nextvit-smal", "--target", "tensorrt"], "did you mean 'nextvit-small'"),
        (["tables", "show", "tensorrt/t4"], "unknown table 'tensorrt/t4'"),
        (
            ["tables", "measure", "--target", "npu"],
            "unknown target 'npu'",
        ),
        (["--resume", "/no/such/run"], "--resume /no/such/run: no such folder"),
        (["--resume", "."], "holds no run"),
        (["--resume", ".", "--seed", "3"], "--seed cannot be changed with --resume"),
    ],
)
def test_mistakes_are_one_clear_line(refused, arguments, expected, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert expected in refused(*arguments)


def test_a_budget_below_the_fastest_network(refused):
    line = refused("--target", "tensorrt", "--budget", "0.1ms")
    assert "--budget 0.1ms is below the fastest network of space 'nextvit'" in line
    assert re.search(r"estimated to take \d+\.\d\d ms on tensorrt/nvidia-t4", line)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("8", "--budget '8' has no unit: write for example 8ms"),
        ("fast", "is not a duration: write for example 8ms"),
        ("8 parsecs", "unknown unit 'parsecs': use us, ms, s, min, h"),
        ("0ms", "must be above zero"),
        ("-3ms", "is not a duration"),
        ("", "is not a duration"),
        ("1e999ms", "--budget"),
        ("9" * 400 + "ms", "at most a year"),
    ],
)
def test_nonsense_budgets(refused, budget, expected):
    assert expected in refused("--target", "tensorrt", f"--budget={budget}")


@pytest.fixture
def photos(tmp_path):
    for name, shade in {"cat": 40, "dog": 200}.items():
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(90):
            Image.new("RGB", (12, 12), (shade, number, 99)).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_names_that_look_like_markup_are_printed_as_they_are(tmp_path, capsys):
    path = tmp_path / "[bold]a[wrong].json"
    path.write_text(json.dumps(load_architecture("nextvit-small").to_json()))
    assert main(["predict", str(path), "--target", "tensorrt"]) == 0
    assert "[bold]a[wrong].json" in capsys.readouterr().out.replace("\n", "")


def test_published_tables_that_are_cut_short_or_misplaced(refused, tmp_path):
    tables = tmp_path / "tables"
    shutil.copytree(TABLES_DIR / "tensorrt", tables / "tensorrt")
    (table,) = (tables / "tensorrt").iterdir()
    rows = (table / "networks.csv").read_text().splitlines(keepends=True)
    predict = ["predict", "nextvit-small", "--target", "tensorrt", "--tables-dir", str(tables)]
    (table / "networks.csv").write_text("".join(rows[:3]))
    assert "has 2 whole networks, the predictor needs at least 5" in refused(*predict)
    (table / "networks.csv").write_text("".join([*rows, rows[-1]]))
    assert f"networks.csv:{len(rows) + 1}: a second row for the network" in refused(*predict)
    (table / "networks.csv").write_text("".join(rows))
    table.rename(table.with_name("nvidia-t5.fp16.b8"))
    assert "describes 'tensorrt/nvidia-t4.fp16.b8', its folder is" in refused(*predict)


def test_tables_folders_that_are_none(refused, tmp_path):
    predict = ["predict", "nextvit-small", "--target", "tensorrt"]
    missing = str(tmp_path / "none")
    assert "no such folder" in refused(*predict, "--tables-dir", missing)
    assert "no such folder" in refused("tables", "list", "--tables-dir", missing)
    (tmp_path / "file").write_text("")
    assert "is no folder" in refused(*predict, "--tables-dir", str(tmp_path / "file"))


def test_data_that_cannot_be_trained_on(refused, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = [*TRT, "--data", f"imagefolder:{photos}"]
    (photos / "dog" / "7.png").write_bytes(b"no image")
    line = refused(*data)
    assert f"image {photos / 'dog' / '7.png'} cannot be read" in line
    assert "--skip-unreadable" in line
    for path in (photos / "dog").iterdir():
        path.unlink()
    assert f"class folder {photos / 'dog'} has no images" in refused(*data)
    (photos / "dog").rmdir()
    assert "has one class only, 'cat'" in refused(*data)
    shutil.rmtree(photos / "cat")
    assert f"data folder {photos} has no class folders" in refused(*data)
    assert not (tmp_path / "run").exists()


def test_a_corrupted_table_is_named_with_file_and_line(refused, tmp_path):
    space = tiny_space(tmp_path)
    table = made_up_table(tmp_path / "tables", space)
    path = table.path / "blocks.csv"
    lines = path.read_text().splitlines()
    lines[6] = lines[6].replace(",1.00,30", ",1.00,thirty")
    path.write_text("\n".join(lines) + "\n")
    line = refused(
        *("--target", "onnxruntime", "--budget", "5ms", "--tables-dir", str(tmp_path / "tables"))
    )
    assert f"{path}:7: runs 'thirty' is not a number" in line


def test_a_table_that_lacks_blocks(refused, tmp_path):
    made_up_table(tmp_path / "tables", tiny_space(tmp_path))
    line = refused(
        *("--target", "onnxruntime", "--budget", "15ms", "--no-measure"),
        *("--tables-dir", str(tmp_path / "tables")),
    )
    assert "lacks 313 of the 313 blocks" in line
    assert "run: python run_search.py tables measure --target onnxruntime" in line


def test_no_table_and_no_measuring_names_the_command(refused, tmp_path):
    line = refused(
        *("--target", "onnxruntime", "--budget", "15ms", "--no-measure"),
        *("--tables-dir", str(tmp_path)),
    )
    assert "measure one: python run_search.py tables measure --target onnxruntime" in line


def test_a_space_with_mistakes_is_refused_with_its_lines(capsys, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("stem_width: [33]\nstages:\n" + 4 * "  - {num_ncb: [1]}\n")
    assert main([*TRT, "--space", str(path)]) == 2
    error = capsys.readouterr().err
    assert f"{path}:1: stem_width: 33 is not a multiple of the head size 32" in error
    assert f"{path}:3: stage 1: ncb_width is missing" in error
    assert "Traceback" not in error


def test_a_results_folder_that_cannot_be_written(refused, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert "cannot be written" in refused(*TRT, "--output", str(file / "run"))
    assert "cannot be made" in refused(*TRT, "--output", "/proc/nas/run")


def test_resume_of_damaged_runs(refused, tmp_path):
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "study.db").write_text("not a database")
    assert "config.json: not readable as JSON" in refused("--resume", str(tmp_path))
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert "config.json: not readable as JSON" in refused("--resume", str(tmp_path))
    (tmp_path / "config.json").write_text('{"target": "tensorrt", "budget_ms": -1}')
    assert "config.json: targets.0.budget_ms" in refused("--resume", str(tmp_path))
    (tmp_path / "config.json").write_text('{"target": "tensorrt", "budget_ms": 8}')
    assert "study.db: not readable as a study" in refused("--resume", str(tmp_path))
    (tmp_path / ".lock").unlink(missing_ok=True)
    (tmp_path / ".lock").mkdir()
    assert f"{tmp_path / '.lock'}: cannot be locked" in refused("--resume", str(tmp_path))


def test_help_is_fast_and_does_not_load_torch():
    code = (
        "import sys; from nas.cli import main; main(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'optuna', 'pandas', 'plotly')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0
    assert b"--budget" in done.stdout


def test_predicting_does_not_load_torch():
    code = (
        "import sys; from nas.cli import main; "
        "code = main(['predict', 'nextvit-base', '--target', 'tensorrt']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "ms estimated" in text
    assert "tables measure --target tensorrt" in text


def test_spaces_lists_exact_sizes(capsys):
    assert main(["spaces"]) == 0
    text = capsys.readouterr().out
    assert "30,958,682,112" in text
    assert "31.763" in text and "5.79" in text


def test_tables_show_prints_the_leave_one_out_error(capsys):
    assert main(["tables", "show", "tensorrt/nvidia-t4.fp16.b8"]) == 0
    text = capsys.readouterr().out
    match = re.search(r"leave-one-out error on its 9 networks: mean (\d\.\d)%", text)
    assert match and float(match[1]) <= 4.0
    assert "estimated from 9 published latencies of an NVIDIA T4" in text
    assert "tables measure --target tensorrt" in text
    assert main(["tables", "list"]) == 0
    assert "coreml/iphone12-pro-max.fp16.b1" in capsys.readouterr().out


def test_tables_show_an_empty_folder(capsys, tmp_path):
    assert main(["tables", "show", "--tables-dir", str(tmp_path)]) == 0
    assert "tables measure" in capsys.readouterr().out


@pytest.mark.slow
def test_estimated_search_end_to_end(tmp_path, capsys):
    run = tmp_path / "run"
    arguments = _fast(*TRT, "--trials", "2", "--by-accuracy", "--output", str(run))
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "estimated" in text
    assert "python run_search.py tables measure --target tensorrt" in text
    assert "not verified" in text
    best = json.loads((run / "best.json").read_text())
    assert best["latency"]["provenance"] == "estimated"
    assert best["latency"]["measured_ms"] is None
    assert best["proxy_score"] == round(best["proxy_accuracy"], 6)
    assert re.search(r"proxy accuracy after [\d,]+ images \(digits\)", " ".join(text.split()))
    assert "score" not in text and best["final_accuracy"] == best["final_score"]
    assert (run / "best.onnx").exists() and (run / "report.html").exists()


def _start(run: Path, trials: int) -> subprocess.Popen[bytes]:
    arguments = _fast(*TRT, "--trials", str(trials), "--finalists", "0", "--output", str(run))
    return subprocess.Popen(
        [sys.executable, "run_search.py", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


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


def _wait_for_trials(run: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while len(_finished(run)) < count:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)


@pytest.mark.slow
def test_kill_and_resume_keeps_every_finished_trial(tmp_path):
    run = tmp_path / "run"
    process = _start(run, 50)
    _wait_for_trials(run, 2, process)
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
def test_ctrl_c_ends_cleanly_with_a_report_and_resumes(tmp_path):
    run = tmp_path / "run"
    process = _start(run, 50)
    _wait_for_trials(run, 2, process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    text = output.decode()
    assert process.returncode == 0, text
    assert "Traceback" not in text
    assert "--resume" in text
    assert (run / "report.html").exists()
    kept = _finished(run)
    assert len(kept) >= 2
    assert main(["--resume", str(run), "--trials", str(len(kept) + 1)]) == 0
    assert kept.items() <= _finished(run).items()


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 0.7, 2.0])
def test_ctrl_c_while_the_workers_start_is_as_clean(tmp_path, delay_s):
    run = tmp_path / "run"
    process = _start(run, 50)
    deadline = time.monotonic() + 120
    while not (run / "study.db").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    text = output.decode()
    assert "Traceback" not in text
    assert process.returncode in (0, 130), text
    assert main(["--resume", str(run), "--trials", "1"]) == 0


def test_tables_that_come_with_the_project_are_readable():
    tables = [read_table(path) for path in list_tables(TABLES_DIR)]
    assert {"coreml", "onnxruntime", "tensorrt"} <= {table.meta.target for table in tables}
    for table in tables:
        assert len(LatencyPredictor.fit(table).relative_errors) == len(table.networks)
