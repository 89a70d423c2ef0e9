"""Child processes end when they are told to, and print to stderr."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from nas.system.processes import begin_child, end_processes

SPAWN = multiprocessing.get_context("spawn")


def _stubborn(told: Connection) -> None:
    begin_child()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    told.send(child.pid)
    time.sleep(60)


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_child_that_ignores_sigterm_is_killed_with_its_own_children():
    receiver, sender = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_stubborn, args=(sender,))
    process.start()
    grandchild = receiver.recv()
    assert _runs(grandchild)
    began = time.monotonic()
    end_processes([process], grace_s=0.2)
    assert time.monotonic() - began < 2
    assert process.exitcode == -signal.SIGKILL
    deadline = time.monotonic() + 5
    while _runs(grandchild) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(grandchild)
    end_processes([process])  # it has ended already


def _print() -> None:
    begin_child()
    print("from Python")
    os.write(1, b"from C\n")


def test_what_a_child_prints_goes_to_stderr(capfd):
    process = SPAWN.Process(target=_print)
    process.start()
    process.join()
    out, err = capfd.readouterr()
    assert out == "" and "from Python" in err and "from C" in err
