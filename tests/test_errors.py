"""How messages are worded."""

from __future__ import annotations

import os

import pytest

from nas.errors import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photos/grüße 1.png", "photos/grüße 1.png"),
        ("a\x1b]0;title\x07b", r"a\x1b]0;title\x07b"),
        ("a\x9b31mb", r"a\x9b31mb"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        (os.fsdecode(b"stra\xdfe"), r"stra\xdfe"),
        ("\ud800", r"\ud800"),
        ("C:\\new", "C:\\new"),
    ],
)
def test_what_a_terminal_would_obey_or_cannot_show_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_ends_of_lines_are_kept_where_wanted() -> None:
    assert printable("one\ntwo\x1b", keep="\n") == "one\ntwo\\x1b"
