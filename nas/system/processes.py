"""Child processes that end with their parent, leave Ctrl-C to it, and keep its stdout clean.

Device kits carry this file, so it needs only Python's standard library.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from nas.errors import UserError

GRACE_S = 2.0
"""Seconds that child processes have to end after SIGTERM, before they are killed."""

KILLED_S = 1.0
"""Seconds that killed child processes are waited for."""


def one_process_pool(
    error: type[UserError], initializer: Callable[..., None], *arguments: Any
) -> ProcessPoolExecutor:
    """Make a pool of one process, which starts with the first call.

    Args:
        error: type of the error that is raised.
        initializer: function that the process calls first, with ``arguments``.

    Raises:
        UserError: this machine lets no process be started. Its type is ``error``.
    """
    context = multiprocessing.get_context("spawn")
    try:
        return ProcessPoolExecutor(
            1, mp_context=context, initializer=initializer, initargs=arguments
        )
    except OSError as problem:  # semaphores of processes are files there
        raise error(
            f"/dev/shm: worker processes need it: {problem.strerror or problem}; make it writable, "
            f"with some room (of a container: --shm-size 64m)"
        ) from None


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C, and SIGHUP of a terminal that closes, inside a ``with`` statement.

    A child process that is started there never receives them. The parent receives them at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows: children ignore it once they have started
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()  # if it starts later, it unblocks Ctrl-C
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_child() -> None:
    """Prepare this child process; call it before the process does anything else.

    It leaves Ctrl-C to the parent, leads a process group, so that its own children end with it,
    ends with the parent, and prints to stderr in place of stdout, which is the parent's.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else `stty tostop` stops it when it prints
    _end_with_parent()
    if sys.stderr is not None:
        os.dup2(2, 1)
        sys.stdout = sys.stderr


def end_processes(processes: Iterable[BaseProcess], grace_s: float = GRACE_S) -> None:
    """End child processes, and the processes of the groups they lead.

    It takes at most ``grace_s`` and `KILLED_S` seconds in all.

    Args:
        processes: the child processes.
        grace_s: seconds after which what has not reacted to SIGTERM is killed.
    """
    leading = {process: _leads_a_group(process.pid) for process in processes}
    for process, leads in leading.items():
        _signal(process, leads, kill=False)
    _wait(leading, grace_s)
    for process, leads in leading.items():
        _signal(process, leads, kill=True)
    _wait(leading, KILLED_S)


def _wait(processes: Iterable[BaseProcess], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))


def _signal(process: BaseProcess, leads: bool, kill: bool) -> None:
    """Send SIGTERM or SIGKILL to a child process, and to its group if it leads one."""
    if leads and process.pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended already
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
    elif kill:
        process.kill()
    else:
        process.terminate()


def _end_with_parent() -> None:
    """End this child process when its parent ends, for whatever reason the parent ends."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        assert parent is not None
        connection.wait([parent.sentinel])
        if _leads_a_group(os.getpid()):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, name="end with parent", daemon=True).start()


def _leads_a_group(pid: int | None) -> bool:
    if not (hasattr(os, "getpgid") and pid):
        return False
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:  # it has ended
        return False
