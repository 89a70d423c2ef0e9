"""Every mistake in the options of a search is one clear line and exit code 2."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from nas.cli import main
from tests.tiny import made_up_table, tiny_space

ROOT = Path(__file__).resolve().parents[2]
TRT = ["--target", "tensorrt", "--budget", "8ms"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--trials", "3"], "--target is missing: for example python run_search.py --target"),
        (["--budget", "8ms"], "--target is missing: for example python run_search.py --target"),
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
        ([*TRT, "--max-params", "1k"], "--max-params 1000 is below the smallest network"),
        ([*TRT, "--max-macs", "1M"], "--max-macs 1M is below the smallest network"),
        ([*TRT, "--confidence", "1"], "--confidence '1' is not a share between 0 and 100%"),
        ([*TRT, "--confidence", "90"], "write for example 90%"),
        ([*TRT, "--confidence", "20%"], "--confidence 0.2: Input should be greater"),
        ([*TRT, "--output", ""], "is empty; name a folder"),
        ([*TRT, "--warm-start", " "], "is empty; name a folder"),
        (["--resume", ""], "is empty; name a folder"),
        (["--config", ""], "is empty; name a file"),
        (["--config", "/dev/null"], "/dev/null: a configuration is a mapping of options"),
        (["--config", "."], ".: cannot be read: Is a directory"),
        ([*TRT, "--workers", "9" * 20], "--workers 99999999999999999999: Input should be less"),
        ([*TRT, "--trials", "9" * 20], "--trials 99999999999999999999: Input should be less"),
        ([*TRT, "--max-size", "20"], "--max-size '20' is not a size above zero with a unit"),
        ([*TRT, "--max-size", "1MB"], "--max-size 1MB is below the smallest network"),
        (["--target", "tensorrt", "--budget", "9img/s"], "'9img/s' is a throughput, which needs"),
        (["--target", "tensorrt", "--budget", "0img/s"], "'0img/s' is not a throughput above"),
        ([*TRT, "--tables-dir", ""], "is empty; name a folder"),
        ([*TRT, "--warm-start", "/no/such"], "--warm-start /no/such: no such folder"),
        ([*TRT, "--warm-start", "/"], "--warm-start /: holds no run"),
        ([*TRT, "--confidence", "nan"], "--confidence 'nan' is not a share"),
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


def test_data_that_cannot_be_trained_on(refused, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = [*TRT, "--data", f"imagefolder:{photos}", "--output", str(tmp_path / "run")]
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


@pytest.mark.parametrize("command", [[*TRT], [*TRT, "--dry-run"]])
def test_data_whose_path_is_not_utf8(refused, tmp_path, command):
    root = tmp_path / os.fsdecode(b"gr\xf6\xdfe")
    line = refused(*command, "--data", f"imagefolder:{root}", "--output", str(tmp_path / "run"))
    assert rf"data folder {tmp_path}/gr\xf6\xdfe: its path is not UTF-8" in line
    assert not (tmp_path / "run").exists()


def test_control_characters_of_a_path_are_escaped(refused, tmp_path):
    line = refused(*TRT, "--data", f"imagefolder:{tmp_path}/a\x1b[2J\nb")
    assert rf"data folder {tmp_path}/a\x1b[2J\nb does not exist" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("--resume", "no\x1b[2J\nne"),
        (*TRT, "--evaluator", "recorded:no\x1b[2J\nne"),
        ("measure", "no\x1b[2J\nne", "--target", "onnxruntime"),
    ],
)
def test_a_name_with_a_newline_is_one_line(refused, arguments):
    assert r"no\x1b[2J\nne" in refused(*arguments)


def test_a_table_of_another_folder_needs_its_option(refused):
    line = refused(*TRT[:2], "--budget", "8ms", "--device", "elsewhere")
    assert "unknown device of target tensorrt 'elsewhere'" in line
    assert "name another folder of tables with --tables-dir" in line


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


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (["--target", "npu", "--budget", "4ms"], "unknown target 'npu'"),
        (["--target", "onnxruntime", "--budget", "9ms"], "given twice for the same device"),
    ],
)
def test_every_target_is_checked_before_one_is_measured(refused, tmp_path, second, expected):
    first = ["--target", "onnxruntime", "--budget", "15ms"]
    assert expected in refused(*first, *second, "--tables-dir", str(tmp_path / "tables"))
    assert not (tmp_path / "tables").exists()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (["--budget", "15ms", "--warm-start", "nowhere"], "nowhere: no such folder"),
        (["--budget", "15ms", "--output", "run"], "run already holds a run"),
        (["--budget", "0.1ms"], "--budget 0.1ms is below the fastest network"),
    ],
)
def test_everything_else_is_checked_before_a_table_is_measured(
    refused, tmp_path, monkeypatch, wrong, expected
):
    shutil.copytree(ROOT / "latency_tables" / "tensorrt", tmp_path / "tables" / "tensorrt")
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/config.json").write_text("{}")
    both = ["--target", "onnxruntime", "--budget", "15ms", "--target", "tensorrt", *wrong]
    assert expected in refused(*both, "--tables-dir", "tables")
    assert [path.name for path in Path("tables").iterdir()] == ["tensorrt"]


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


def tiny_at_64(folder: Path) -> list[str]:
    """Options of a search of the tiny space."""
    tiny_space(folder)
    return ["--space", str(folder / "tiny.yaml"), "--resolution", "64"]


@pytest.fixture
def trained(tmp_path):
    """A run that has trained one network."""
    run = tmp_path / "trained"
    fast = ["--proxy-images", "128", "--sampler", "random", "--trials", "1", "--finalists", "0"]
    assert main([*TRT, *tiny_at_64(tmp_path), *fast, "--output", str(run)]) == 0
    return run


def _change(run: Path, sql: str) -> None:
    with sqlite3.connect(run / "study.db") as database:
        database.execute(sql)


@pytest.mark.slow
def test_runs_whose_trials_are_damaged(refused, trained, tmp_path, capsys):
    capsys.readouterr()
    config = (trained / "config.yaml").read_text()
    again = [*tiny_at_64(tmp_path), "--warm-start", str(trained), "--output", str(tmp_path / "new")]
    _change(
        trained, "update trial_user_attributes set value_json='{\"a\": 1}' where key='architecture'"
    )
    assert f"{trained / 'study.db'}: not readable as a study: unknown entry" in refused(
        *TRT, *again
    )
    _change(trained, "update trial_user_attributes set value_json='{bad' where key='architecture'")
    said = f"{trained / 'study.db'}: not readable as a study: "
    assert said in refused(*TRT, *again)
    assert said in refused("--resume", str(trained), "--trials", "5")
    assert (trained / "config.yaml").read_text() == config
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_warm_start_of_which_the_sampler_learns_nothing(refused, trained, tmp_path, capsys):
    capsys.readouterr()
    again = [*tiny_at_64(tmp_path), "--warm-start", str(trained), "--seed", "7"]
    for name in ("tpe", "random"):
        line = refused(*TRT, *again, "--sampler", name)
        assert f"--sampler {name} does not learn from such a run: only latency-aware does" in line


def test_resume_of_damaged_runs(refused, tmp_path):
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "study.db").write_text("not a database")
    assert "config.json: not readable as JSON" in refused("--resume", str(tmp_path))
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert "config.json: not readable as JSON" in refused("--resume", str(tmp_path))
    (tmp_path / "config.json").write_text('{"target": "tensorrt", "budget_ms": -1}')
    assert "config.json: targets.0.budget_ms" in refused("--resume", str(tmp_path))
    (tmp_path / "config.json").write_text('{"target": "tensorrt", "budget_ms": 8}')
    line = refused("--resume", str(tmp_path))
    assert line.endswith("study.db: not readable as a study: file is not a database\n")
    (tmp_path / ".lock").unlink(missing_ok=True)
    (tmp_path / ".lock").mkdir()
    assert f"{tmp_path / '.lock'}: cannot be locked" in refused("--resume", str(tmp_path))
