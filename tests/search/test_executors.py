"""Processes that train."""

from __future__ import annotations

import multiprocessing
import time

from nas.latency.device import this_cpu
from nas.search.executors import LocalExecutor, stop_executor


def test_workers_share_the_cores():
    with LocalExecutor(1) as executor:
        assert executor.submit(_threads).result() == this_cpu().threads


def test_stopping_ends_our_own_processes_alone():
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    other.start()
    executor = LocalExecutor(1)
    ours = executor.submit(time.sleep, 60)
    while not ours.running():
        time.sleep(0.05)
    stop_executor(executor)
    deadline = time.monotonic() + 10  # the executor's own thread may be the one that notices
    while len(multiprocessing.active_children()) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert multiprocessing.active_children() == [other]
    assert other.is_alive()
    other.terminate()
    other.join()


def _threads() -> int:
    import torch

    return torch.get_num_threads()
