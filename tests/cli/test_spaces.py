"""`spaces` as its user runs it."""

from __future__ import annotations

from nas.cli import main


def test_spaces_lists_exact_sizes(capsys):
    assert main(["spaces"]) == 0
    text = capsys.readouterr().out
    assert "30,958,682,112" in text
    assert "31.763" in text and "5.79" in text
