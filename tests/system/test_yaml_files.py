"""Files of people: read as YAML says, or refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nas.system.yaml_files import read_yaml


def test_values_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("a: 1\nb: &b [2, {c: x}]\nd: *b\n", encoding="utf-8")
    node, value = read_yaml(path)
    assert value == {"a": 1, "b": [2, {"c": "x"}], "d": [2, {"c": "x"}]}
    assert isinstance(node, yaml.MappingNode)
    assert [key.start_mark.line for key, _ in node.value] == [0, 1, 2]
    path.write_text("# nothing\n", encoding="utf-8")
    assert read_yaml(path) == (None, None)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[" * 19_000, "nested more than 50 levels deep"),
        ("{a: " * 51 + "1" + "}" * 51, "nested more than 50 levels deep"),
        ("a: &a [1]\nb: [" + "*a, " * 33 + "]", "more than 32 aliases"),
        ("x" * 20_001, "larger than 0.02 MB"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a: !!bool maybe", "maybe"),
        ("a: !!timestamp never", "NoneType"),
        ("a: 2026-13-45", "month must be in 1..12"),
        ("a: [", "expected the node content"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: \x07", "special characters are not allowed"),
    ],
    ids=[
        "deep",
        "deeper",
        "aliases",
        "large",
        "code",
        "bool",
        "date",
        "day",
        "open",
        "two",
        "bell",
    ],
)
def test_what_is_no_file_of_values_is_one_line(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError) as refused:
        read_yaml(path)
    assert expected in str(refused.value) and len(str(refused.value).splitlines()) == 1


def test_a_depth_that_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("[" * 50 + "]" * 50, encoding="utf-8")
    assert str(read_yaml(path)[1]) == "[" * 50 + "]" * 50


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_that_an_editor_saved_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes("a: 1\r\nb: ä".encode(encoding))
    assert read_yaml(path)[1] == {"a": 1, "b": "ä"}
    path.write_bytes("a: 1\nb: ä".encode("latin-1"))
    with pytest.raises(ValueError, match="line 2 is no text in UTF-8"):
        read_yaml(path)
