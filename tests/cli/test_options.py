"""The options that the command line has, where they come from, and how it is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.cli import main
from nas.config import OPTIONS, ProxyConfig, SearchConfig, TargetConfig, read_config
from nas.results.values import SearchResult
from tests.cli.test_search_mistakes import TRT

ROOT = Path(__file__).resolve().parents[2]
MODELS = {"targets": TargetConfig, "proxy": ProxyConfig, "": SearchConfig}


@pytest.fixture
def searched(monkeypatch):
    """Configurations that a search was called with, in place of searching."""
    found: list[SearchConfig] = []

    def search(config: SearchConfig, *_: object, **__: object) -> SearchResult:
        found.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("nas.api.search", search)
    return found


def _help(capsys, monkeypatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    return capsys.readouterr().out


def test_every_option_is_in_the_help_with_its_default_and_panel(capsys, monkeypatch):
    text = _help(capsys, monkeypatch)
    parts = text.split("\u256d\u2500 ")  # a panel's corner
    panels = {part.split(" ")[0]: " ".join(part.replace("\u2502", " ").split()) for part in parts}
    assert {"Target", "Search", "Training", "Run", "Commands"} <= panels.keys()
    for entry in OPTIONS:
        panel = panels[entry.option.panel]
        assert f"--{entry.name} " in panel
        if entry.default and entry.type is not bool:
            default = MODELS[entry.group].model_fields[entry.field].default
            shown = f"{100 * default:g}%" if entry.name == "confidence" else str(default)
            assert f"[default: {shown}]" in panel
    for name in ("config", "output", "resume", "dry-run", "measure", "tables-dir", "json"):
        assert f"--{name} " in panels["Run"]
    assert "--install-completion" in text and "--show-completion" in text


def test_what_is_not_given_is_the_configurations_default(searched):
    assert main(TRT) == 130
    assert searched == [SearchConfig(target="tensorrt", budget_ms=8)]


def test_every_option_reaches_the_configuration(searched, tmp_path):
    arguments = [
        *("--target", "tensorrt", "--budget", "1200img/s", "--batch-size", "8"),
        *("--device", "nvidia-t4", "--precision", "fp16", "--resolution", "512x683"),
        *("--num-classes", "37", "--max-params", "25M", "--max-macs", "1.2G", "--max-size", "20MB"),
        *("--confidence", "95%", "--interpolate", "--space", "mine", "--trials", "7"),
        *("--sampler", "tpe", "--rungs", "2", "--finalists", "3", "--time-limit", "20min"),
        *("--seed", "5", "--warm-start", "a", "--warm-start", "b", "--data", "imagefolder:x"),
        *("--proxy-images", "99", "--proxy-resolution", "48", "--skip-unreadable"),
        *("--by-accuracy", "--workers", "2", "--evaluator", "mine:f"),
    ]
    assert main(arguments) == 130
    (config,) = searched
    (target,) = config.targets
    assert target.throughput_img_s == 1200 and target.budget_ms == pytest.approx(8000 / 1200)
    assert (target.device, target.precision, target.batch_size) == ("nvidia-t4", "fp16", 8)
    assert config.workload.height == 512 and config.num_classes == 37
    assert (config.max_params, config.max_macs, config.max_size_bytes) == (25e6, 1.2e9, 20e6)
    assert config.confidence == 0.95 and config.interpolate and config.space == "mine"
    assert (config.trials, config.sampler, config.rungs, config.finalists) == (7, "tpe", 2, 3)
    assert (config.time_limit_s, config.seed, config.warm_start) == (1200, 5, ("a", "b"))
    proxy = config.proxy
    assert (proxy.data, proxy.train_images, proxy.resolution) == ("imagefolder:x", 99, 48)
    assert proxy.skip_unreadable and config.size_bonus == 0 and config.workers == 2
    assert config.evaluator == "mine:f"
    named = {argument for argument in arguments if argument.startswith("--")}
    assert named == {f"--{entry.name}" for entry in OPTIONS}


def test_a_file_is_read_and_overridden(searched, tmp_path, refused, capsys):
    path = tmp_path / "search.yaml"
    path.write_text("target: tensorrt\nbudget: 8ms\ntrials: 5\ninterpolate: true\n")
    assert main(["--config", str(path)]) == 130
    assert searched[-1] == read_config(path)
    changed = ["--trials", "9", "--no-interpolate", "--target", "coreml", "--budget", "4ms"]
    assert main(["--config", str(path), *changed]) == 130
    assert searched[-1] == SearchConfig(target="coreml", budget_ms=4, trials=9)
    capsys.readouterr()
    assert main(["--config", str(path), "--budget", "3ms"]) == 130
    assert searched[-1].targets == SearchConfig(target="tensorrt", budget_ms=3).targets
    capsys.readouterr()
    path.write_text("target: tensorrt\nbudget: 8ms\ntrials: -5\n")
    assert f"{path}:3: trials: -5: Input should be" in refused("--config", str(path))
    assert "none.yaml: cannot be read" in refused("--config", str(tmp_path / "none.yaml"))
    assert "--config cannot be changed" in refused("--resume", ".", "--config", str(path))


def test_without_arguments_it_says_what_to_do_first(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert "doctor" in text and "--dry-run" in text and "--help" in text
    assert main(["--trials", "3"]) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_a_shell_completes_the_options(shell):
    done = subprocess.run(
        [sys.executable, "-m", "nas"],
        env={
            **os.environ,
            "_NEXTVIT_NAS_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": "nextvit-nas --max-",
            "COMP_CWORD": "1",
            "_TYPER_COMPLETE_ARGS": "nextvit-nas --max-",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_WORD_TO_COMPLETE": "--max-",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--max-params" in done.stdout and "--max-size" in done.stdout


def test_completion_is_shown_for_the_installed_script():
    command = [sys.executable, "run_search.py", "--show-completion", "bash"]
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "_NEXTVIT_NAS_COMPLETE=complete_bash" in done.stdout


@pytest.mark.parametrize("command", [["run_search.py"], ["-m", "nas"]])
def test_both_ways_to_call_it(command):
    arguments = [sys.executable, *command, "spaces"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "30,958,682,112" in done.stdout


def test_a_reader_that_closes_its_end_is_no_error():
    command = f"{sys.executable} run_search.py tables show | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0 and done.stderr == b""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["tables", "list"],
        ["predict", "nextvit-small", "--target", "tensorrt"],
        ["spaces"],
        [],
    ],
)
def test_what_needs_no_torch_does_not_load_it(arguments):
    code = (
        "import sys; from nas.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
