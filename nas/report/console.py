"""Text in the characters that a terminal can show, as encodings lack some characters."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

_ASCII = str.maketrans({"–": "-", "±": "+-"})  # noqa: RUF001


def shown_text(console: Console, text: str, style: str = "") -> Text:
    """Text as it is, never markup, in characters that the console's encoding has."""
    encoding = console.encoding
    if not _has(encoding, text):
        text = text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return Text(text, style=style)


def _has(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
