"""``package.module:name`` loads what it names, or says in one line why not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nas.errors import ConfigError, SpaceError
from nas.space.space_files import load_space
from nas.system.references import is_reference, load_reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("my_space:SPACE", True),
        ("package.module:Class.attribute", True),
        ("nextvit", False),
        ("spaces/mine.yaml", False),
        ("C:/spaces/mine.yaml", False),
        ("my-module:SPACE", False),
        (":SPACE", False),
        ("a:b:c", False),
    ],
)
def test_what_a_reference_looks_like(text: str, expected: bool) -> None:
    assert is_reference(text) is expected


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_a_module_in_the_current_folder_is_found(here: Path) -> None:
    (here / "reference_good.py").write_text("class Some:\n    value = 7\n")
    assert load_reference("reference_good:Some.value", "--space") == 7


def test_what_a_module_prints_goes_to_stderr(here: Path, capsys: pytest.CaptureFixture) -> None:
    (here / "reference_loud.py").write_text("print('loading')\nVALUE = 1")
    assert load_reference("reference_loud:VALUE", "--evaluator") == 1
    assert capsys.readouterr() == ("", "loading\n")


@pytest.mark.parametrize(
    ("content", "text", "message"),
    [
        ("", "reference_none:X", "no module 'reference_none'; run from the folder that has it"),
        ("SPACE = 1", "reference_one:SPADE", "unknown name 'SPADE': did you mean 'SPACE'"),
        ("import reference_lost", "reference_two:X", "needs the module 'reference_lost'"),
        ("raise ValueError('a\\nb')", "reference_three:X", "failed: ValueError: a b"),
        ("X = (", "reference_four:X", "failed: SyntaxError: "),
        (
            "class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E",
            "reference_five:X",
            "failed: E: (its text failed as well)",
        ),
        (
            "def __getattr__(name):\n    raise ValueError('a\\nb')",
            "reference_six:X",
            "reading X failed: ValueError: a b",
        ),
        (
            "def __dir__():\n    raise ValueError",
            "reference_seven:X",
            "unknown name 'X': known: none",
        ),
        ("raise ModuleNotFoundError", "reference_eight:X", "failed: ModuleNotFoundError"),
    ],
)
def test_what_is_wrong_is_one_line(here: Path, content: str, text: str, message: str) -> None:
    if content:
        (here / f"{text.partition(':')[0]}.py").write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_reference(text, "--space")
    assert str(caught.value).startswith("--space ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_space_is_refused(here: Path) -> None:
    (here / "reference_number.py").write_text("SPACE = 3")
    with pytest.raises(SpaceError, match=r"--space reference_number:SPACE: is 3, no .*SearchSpace"):
        load_space("reference_number:SPACE")
