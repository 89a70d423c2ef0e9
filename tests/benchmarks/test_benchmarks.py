"""Every benchmark can be called, and every committed result says what it claims."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
RESULTS = sorted((FOLDER / "results").glob("*.json"))
SCRIPTS = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)
HEAD = ["claim", "met", "device", "date", "command", "versions", "figures"]


@pytest.fixture(autouse=True)
def scripts_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def docstring(script: str) -> str:
    tree = ast.parse((FOLDER / f"{script}.py").read_text(encoding="utf-8"))
    return ast.get_docstring(tree) or ""


def script_of(result: dict[str, object]) -> str:
    return str(result["command"]).split()[1].removeprefix("benchmarks/").removesuffix(".py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_answers_help(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    with pytest.raises(SystemExit) as exit_:
        importlib.import_module(script).main()
    assert exit_.value.code == 0
    assert docstring(script).splitlines()[0] in capsys.readouterr().out


@pytest.mark.parametrize("script", [name for name in SCRIPTS if name != "make_docs"])
def test_a_script_states_its_target_and_how_to_run_it(script: str) -> None:
    text = docstring(script)
    assert "\nTarget" in text
    assert f"    python benchmarks/{script}.py" in text
    assert "[--json OUT]" in text


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_begins_with_what_it_claims(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    assert list(result)[: len(HEAD)] == HEAD
    assert result["met"] in (True, False, None)
    assert result["claim"] == importlib.import_module("report").claim_of(
        docstring(script_of(result))
    )


def test_the_page_is_up_to_date() -> None:
    make_docs = importlib.import_module("make_docs")
    assert make_docs.PAGE.read_text(encoding="utf-8") == make_docs.page(), (
        "run: python benchmarks/make_docs.py"
    )


def test_a_written_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = importlib.import_module("report")
    argv = ["benchmarks/x.py", "--seeds", "2", "--json", "out.json", "--table", "/data/t.csv"]
    monkeypatch.setattr(sys, "argv", argv)
    report.write_result(
        tmp_path / "out.json",
        claim="It is fast.",
        met=None,
        origin=report.Origin("a CPU", "2026-11-27", {"python": "3.11.7"}),
        figures={"speed": "1 m/s"},
        details={"rows": [1]},
    )
    result = json.loads((tmp_path / "out.json").read_text())
    assert list(result) == [*HEAD, "rows"]
    assert result["command"] == "python benchmarks/x.py --seeds 2 --table t.csv"


@pytest.mark.parametrize("script", ["conv_interpolation", "latency_transfer"])
def test_a_result_that_cannot_be_written_is_refused_at_once(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--json", "/no/such/folder/out.json"])
    with pytest.raises(SystemExit) as exit_:
        importlib.import_module(script).main()
    assert exit_.value.code == 2
    assert "/no/such/folder/out.json: cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(("met", "status"), [(True, 0), (None, 0), (False, 1)])
def test_a_missed_target_is_the_exit_status(met: bool | None, status: int) -> None:
    assert importlib.import_module("report").exit_status(met) == status
