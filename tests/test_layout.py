"""Sizes that keep the code readable: of functions, files and folders of ``nas/``."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

MAX_FUNCTION_LINES = 50
MAX_FILE_LINES = 400
MAX_MODULES_OF_A_FOLDER = 12


def python_files() -> list[Path]:
    return sorted((ROOT / "nas").rglob("*.py"))


def function_lengths(path: Path) -> Iterator[tuple[str, int]]:
    """Every function and method of a file with its number of lines, docstring included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.name, node.end_lineno - node.lineno + 1


def test_no_function_is_long() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {name} has {lines} lines"
        for path in python_files()
        for name, lines in function_lengths(path)
        if lines > MAX_FUNCTION_LINES
    ]
    assert not long


def test_no_file_is_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    long = [
        f"{path.relative_to(ROOT)} has {lines} lines"
        for path, lines in lengths.items()
        if lines > MAX_FILE_LINES
    ]
    assert not long


def test_no_folder_has_many_modules() -> None:
    modules = Counter(path.parent for path in python_files() if path.name != "__init__.py")
    full = [
        f"{folder.relative_to(ROOT)} has {count} modules"
        for folder, count in modules.items()
        if count > MAX_MODULES_OF_A_FOLDER
    ]
    assert not full
