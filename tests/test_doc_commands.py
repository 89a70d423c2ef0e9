"""Every command of the README and the documentation exists, and runs where this machine can."""

from __future__ import annotations

import json
import random
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
from PIL import Image

from nas.cli import app, main
from nas.latency.table.catalog import own_key
from nas.measurement.device import this_cpu
from nas.measurement.kit.files import write_results
from nas.measurement.runtimes import RUNTIMES
from nas.models.model_files.onnx import export_network
from tests.kits import made_up_results
from tests.tiny import AT_64, made_up_table, tiny_space

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "docs" / "benchmarks.md")

PROGRAM = re.compile(r"^(?:\.venv/bin/)?python run_search\.py (?P<arguments>.*)$")
PACKAGE = re.compile(r"^pip install (?:-e )?'?\.(?:\[(?P<extra>\w+)\])?'?$")
OTHERS = re.compile(r"^(python3 kit\.zip|export NAS_IOS_TEAM=<team>)$")
"""What runs on other devices."""

ELSEWHERE = (
    *("my_evaluator:", "my_space:", "--device <device>", "--target coreml-iphone"),
    *("tables measure --target tensorrt", "tables measure --target coreml"),
)
"""Parts of commands that need hardware which is not at hand, or that `test_docs.py` runs."""


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks, without comments and prompts; continued lines joined."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```\w+\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)  # python, yaml
    text = re.sub(r"^```\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)  # trees of folders
    lines = re.findall(r"^    (\S(?:[^\n\\]|\\\n)*)$", text, flags=re.MULTILINE)
    joined = [re.sub(r"\s*\\\n\s*", " ", line) for line in lines]
    return [re.sub(r"\s+# .*", "", line).strip() for line in joined]


COMMANDS = [
    pytest.param(line, id=f"{page.name}: {line}")
    for page in PAGES
    for line in commands(page)
    if not line.startswith(("import nas", "network = "))
]
ARGUMENTS = list(
    dict.fromkeys(
        match["arguments"]
        for page in PAGES
        for line in commands(page)
        if (match := PROGRAM.match(line))
    )
)


def test_pages_have_commands():
    assert len(ARGUMENTS) > 25


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_documentation_is_parsed(line: str) -> None:
    if match := PROGRAM.match(line):
        parse(shlex.split(match["arguments"]))
    elif match := PACKAGE.match(line):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert match["extra"] in {None, *project["optional-dependencies"]}
    elif line.startswith("make "):
        target = line.split()[1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    else:
        assert OTHERS.match(line), f"not a command that is known: {line}"


def parse(arguments: list[str]) -> None:
    """Parse as the program does, and call nothing; raises what a usage error raises."""
    command, parent = typer.main.get_command(app), None
    while True:
        context = command.make_context("run_search.py", arguments, parent=parent)
        rest = [*context._protected_args, *context.args] if hasattr(command, "commands") else []
        if not rest:
            return
        command, parent, arguments = command.commands[rest[0]], context, rest[1:]


@pytest.mark.slow
def test_commands_of_the_documentation_run_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a tiny space. One search is a real one, the others are dry runs."""
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(briefly("--target tensorrt --budget 8ms --output results/run", real=True)) == 0
    here = [line for line in ARGUMENTS if not any(part in line for part in ELSEWHERE)]
    assert len(here) > 20
    for line in here:
        code = main(briefly(line))
        # The made-up table of this machine is complete, but it does not hold.
        assert code == 0 or (line.startswith("tables verify") and code == 1), (
            line,
            capsys.readouterr().err,
        )


def prepare(folder: Path) -> None:
    """Make everything that the commands name."""
    space = tiny_space(folder)
    table = made_up_table(folder / "tables", space)
    meta = json.loads((table.path / "meta.json").read_text())
    meta["runtime_version"] = RUNTIMES["onnxruntime"].version()
    meta["threads"] = this_cpu().threads
    (table.path / "meta.json").write_text(json.dumps(meta))
    for device in ("elsewhere", "somewhere"):
        made_up_table(folder / "others", space, device=device)
    for label in ("a", "b"):
        (folder / "PATH" / label).mkdir(parents=True)
        for number in range(160):
            image = Image.new("RGB", (8, 8), (number, 255 * (label == "a"), 0))
            image.save(folder / "PATH" / label / f"{number}.png")
    network = space.sample(random.Random(0))
    export_network(network, folder / "model.onnx", workload=AT_64)
    write_results(folder / "results.json", made_up_results(space))
    (folder / "my_lab").mkdir()
    (folder / "my_lab" / "scores.py").write_text("def top1(request):\n    return 0.5\n")
    (folder / "top1.csv").write_text(f"id,accuracy\n{network.id},0.5\n")


def briefly(line: str, real: bool = False) -> list[str]:
    """The arguments of a command, on a tiny space.

    Args:
        line: arguments as the documentation has them.
        real: whether a search is made; if not, it is a dry run.
    """
    key = own_key("onnxruntime")
    assert key is not None and key.device
    line = line.replace("<device>", key.device).replace("results/<run>", "results/run")
    arguments = shlex.split(line)
    tiny = ["--space", "tiny.yaml", "--resolution", "64"]
    tables = ["--tables-dir", "tables"]
    if arguments[0].startswith("--"):
        if "--resume" in arguments:
            return [*arguments, "--trials", "1"]  # nothing is left to train
        if {"tensorrt", "coreml"} & set(arguments):  # estimated from the tables that come along
            tables = []
        brief = ["--trials", "1", "--finalists", "0", "--proxy-images", "128"]
        if not {"--data", "--evaluator"} & set(arguments) and not real:
            brief += ["--evaluator", "my_lab.scores:top1"]  # no training is timed
        return [*arguments, *tiny, *tables, *brief, *([] if real else ["--dry-run"])]
    extra = {
        ("tables", "measure"): [*tiny, *tables],
        ("tables", "adapt"): [*tiny, "--tables-dir", "others"],
        ("tables", "verify"): ["--space", "tiny.yaml", *tables],
        ("tables", "kit"): tiny,
        ("tables", "import"): tables,
        ("tables", "show"): tables,
    }
    return [*arguments, *extra.get(tuple(arguments[:2]), [])]
