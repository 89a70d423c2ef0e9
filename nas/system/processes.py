"""Child processes: they end with their parent, and Ctrl-C is the parent's business alone.

Needs only Python's standard library: device kits carry this file.
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
    """Hold Ctrl-C back. It is the parent's business alone, from a child's first moment on."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows: children ignore it soon after
        yield
        return
    resource_tracker.ensure_running()  # would lift the block when it is started later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Let this child process end when its parent is gone, however it ended."""
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
    """End a child process, and what it has started if it leads a group."""
    try:
        if hasattr(os, "getpgid") and process.pid and os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGTERM)
            return
    except ProcessLookupError:  # it has ended already
        return
    process.terminate()
