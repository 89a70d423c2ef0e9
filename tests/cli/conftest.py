"""Commands that must be refused."""

from __future__ import annotations

import pytest

from nas.cli import main


@pytest.fixture
def refused(capsys):
    """Runs a command that must be refused; returns its one line."""

    def run(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert len(captured.err.splitlines()) == 1, captured.err
        return captured.err

    return run
