"""Processes that train."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from nas.accuracy.worker import SPINS
from nas.measurement.device import this_cpu
from nas.search.executors.local import LocalExecutor, end_evaluation, stop_executor


def test_workers_share_the_cores():
    with LocalExecutor(1) as executor:
        assert executor.submit(_threads).result() == this_cpu().threads


def test_threads_do_not_wait_awake_for_long(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    for given, found in ((None, str(SPINS)), ("77", "77")):
        if given is None:
            monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
        else:
            monkeypatch.setenv("GOMP_SPINCOUNT", given)
        with LocalExecutor(1) as executor:
            assert executor.submit(os.getenv, "GOMP_SPINCOUNT").result() == found


def test_what_a_worker_imports_leaves_torch_for_later():
    code = "import sys, nas.accuracy.short_training; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_that_dies_fails_its_own_call_and_is_replaced():
    with LocalExecutor(2) as executor:
        dead, alive = executor.submit(os._exit, 9), executor.submit(os.getpid)
        with pytest.raises(BrokenProcessPool):
            dead.result()
        first = alive.result()
        both = [executor.submit(os.getpid), executor.submit(os.getpid)]
        assert first in {future.result() for future in both}
        hanging = both[0]
        while hanging.done():  # it may be in either process
            hanging = executor.submit(time.sleep, 60)
        end_evaluation(executor, hanging)
        with pytest.raises(BrokenProcessPool):
            hanging.result(10)


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
