"""Makes text that a terminal can show: it obeys no part of it, and its encoding has it all."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from nas.errors import printable

_ASCII = str.maketrans({"–": "-", "±": "+-"})  # noqa: RUF001


def shown_text(console: Console, text: str, style: str = "") -> Text:
    """Make a text of which a terminal obeys nothing and shows all; nothing in it is markup.

    Control characters except ends of lines are escaped, and characters that the encoding lacks
    are replaced.
    """
    text = printable(text, keep="\n")
    encoding = console.encoding
    text = text.encode("utf-8", "backslashreplace").decode()  # a name of a file may not be UTF-8
    if not _has(encoding, text):
        text = text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return Text(text, style=style)


def _has(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
