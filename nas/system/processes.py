"""Child processes that end with their parent and leave Ctrl-C to it.

Device kits carry this file, so it needs only Python's standard library.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C inside a ``with`` statement.

    A child process that is started there never receives it. The parent receives it at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows: children ignore it once they have started
        yield
        return
    resource_tracker.ensure_running()  # if it starts later, it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """End this child process when its parent ends, for whatever reason the parent ends."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        assert parent is not None
        connection.wait([parent.sentinel])
        if _leads_a_group():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, name="end with parent", daemon=True).start()


def _leads_a_group() -> bool:
    return hasattr(os, "getpgid") and os.getpgid(0) == os.getpid()


def end_process(process: BaseProcess) -> None:
    """End a child process, and the processes of its group if it leads one."""
    try:
        if hasattr(os, "getpgid") and process.pid and os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGTERM)
            return
    except ProcessLookupError:  # it has ended already
        return
    process.terminate()
