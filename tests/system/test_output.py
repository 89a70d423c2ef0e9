"""A program goes on when its output goes away."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.system.output import lasting, lasting_output

ROOT = Path(__file__).resolve().parents[2]
LONG = "x" * 100_000 + "\n"


def test_a_pipe_that_is_closed_drops_what_is_written():
    reader, writer = os.pipe()
    stream = lasting(os.fdopen(writer, "w"))
    stream.write("read\n")
    stream.flush()
    os.close(reader)
    for _ in range(3):
        assert stream.write(LONG) == len(LONG)
        print(LONG, file=stream, flush=True)
    stream.writelines([LONG, LONG])
    stream.close()


class Terminal(io.StringIO):
    """A terminal that was closed, and is no file."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_a_terminal_that_is_closed_drops_what_is_written():
    stream = lasting(Terminal())
    print("text", file=stream, flush=True)
    print("more", file=stream, flush=True)


def test_a_disk_that_fails_is_no_terminal_that_was_closed(monkeypatch):
    monkeypatch.setattr(Terminal, "isatty", lambda _: False)
    with pytest.raises(OSError, match="Input/output error"):
        print("text", file=lasting(Terminal()), flush=True)


def test_other_errors_are_raised():
    with (
        pytest.raises(OSError, match="No space left"),
        Path("/dev/full").open("w") as full,
    ):
        print("text", file=lasting(full), flush=True)


def test_a_stream_that_is_missing_is_nowhere():
    print("text", file=lasting(None), flush=True)


def test_the_streams_of_before_come_back():
    before = sys.stdout, sys.stderr
    with lasting_output():
        assert sys.stdout is not before[0] and sys.stdout.encoding == before[0].encoding
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("command", ["| head -c 1 >/dev/null", ">&-", ">&- 2>&-", "<&- >&-"])
def test_a_command_without_a_reader_ends_without_an_error(command):
    script = f"{sys.executable} run_search.py spaces {command}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
