"""Where candidates are trained: any `concurrent.futures.Executor` will do."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor

from nas.latency.device import this_cpu
from nas.search.evaluate import start_worker


def local_executor(workers: int) -> Executor:
    """Processes on this machine that share its cores evenly.

    Args:
        workers: candidates trained at once.
    """
    threads = max(1, this_cpu().threads // workers)
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_worker,
        initargs=(threads,),
    )


def stop_executor(executor: Executor) -> None:
    """Stop at once: what is being trained is given up."""
    executor.shutdown(wait=False, cancel_futures=True)
    for process in multiprocessing.active_children():
        process.terminate()
    for process in multiprocessing.active_children():
        process.join(5.0)
