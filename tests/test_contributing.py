"""CONTRIBUTING.md names every folder and module that a newcomer has to find."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def mapped() -> list[str]:
    """First column of the table of folders, in its order."""
    section = TEXT.split("## Where things are")[1].split("\n## ")[0]
    return re.findall(r"^\| `(nas/[^`]+)` \| \S", section, re.MULTILINE)


def in_the_tree() -> set[str]:
    """Modules of ``nas/`` itself, and its folders down to two levels."""
    package = ROOT / "nas"
    files = {f"nas/{path.name}" for path in package.glob("*.py") if path.name[0] != "_"}
    inits = [*package.glob("*/__init__.py"), *package.glob("*/*/__init__.py")]
    return files | {f"{path.parent.relative_to(ROOT).as_posix()}/" for path in inits}


def layer_of(entry: str) -> str:
    return entry.split("/")[1].removesuffix(".py")


def test_the_map_names_every_folder_once() -> None:
    assert len(mapped()) == len(set(mapped()))
    assert set(mapped()) == in_the_tree()


def test_the_map_is_in_the_order_of_the_layers() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = contracts["tool"]["importlinter"]["contracts"][0]["layers"]
    rank = {
        name.strip(): number
        for number, layer in enumerate(reversed(layers))
        for name in layer.split(":")
    }
    ranks = [rank[layer_of(entry)] for entry in mapped()]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:nas|tests|benchmarks|docs)/[^`\s<]+)`", TEXT)))
)
def test_every_path_it_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()
