"""Reads YAML files that people wrote.

A file that would run code, or take too much time or memory to read, is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nas.system.text_files import read_text

_LARGEST = 20_000
"""Most bytes of a file; the project's own have about 1,500. Finding mistakes in one takes a time
that grows with the square of its size."""

_MOST_ALIASES = 32
_DEEPEST = 50
"""Most levels of lists and mappings; the time of parsing grows with the square of the depth."""


def read_yaml(path: Path) -> tuple[yaml.Node | None, Any]:
    """Read a file: its root node, whose nodes know their lines, and its values.

    Both are None for an empty file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not YAML, is too large or too deep, or has tags that name code; one line.
    """
    content = read_text(path, _LARGEST)
    try:
        _refuse_burdens(content)
        loader = yaml.SafeLoader(content)
        try:
            node: yaml.Node | None = loader.get_single_node()
            value = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except Exception as error:  # a value that does not fit its tag raises anything
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
    return node, value


def _refuse_burdens(content: str) -> None:
    """Refuse what would take minutes, or more memory than there is.

    Raises:
        ValueError: it is too deep, or has too many aliases: nested in each other, a few stand for
            more values than memory holds.
    """
    depth = aliases = 0
    for event in yaml.parse(content, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} levels deep")
        if aliases > _MOST_ALIASES:
            raise ValueError(f"more than {_MOST_ALIASES} aliases")
