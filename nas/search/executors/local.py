"""An executor of processes on this machine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Any, ParamSpec, TypeVar

from nas.accuracy.worker import start_worker
from nas.errors import RunError
from nas.measurement.device import this_cpu
from nas.system.processes import end_processes, interrupts_blocked, one_process_pool

P = ParamSpec("P")
T = TypeVar("T")


class LocalExecutor(Executor):
    """Processes on this machine that share its cores evenly.

    A process that dies fails the futures that were given to it alone, with BrokenProcessPool; those
    of other processes go on. The next call of `submit` replaces it.

    Args:
        workers: number of processes.
    """

    def __init__(self, workers: int) -> None:
        threads = max(1, this_cpu().threads // workers)
        self._workers = [_Worker(threads) for _ in range(workers)]

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function in the process that has the fewest calls to do."""
        return min(self._workers, key=_Worker.waiting).submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `Executor.shutdown`."""
        for worker in self._workers:
            worker.shutdown(wait, cancel_futures)

    def end(self, future: Future[Any]) -> None:
        """End the process that was given this call, which never returns; it counts as dead."""
        for worker in self._workers:
            if future in worker.futures:
                end_processes(worker.processes())

    def stop(self) -> None:
        """End all processes within seconds; running evaluations are lost."""
        processes = [process for worker in self._workers for process in worker.processes()]
        self.shutdown(wait=False, cancel_futures=True)
        end_processes(processes)


class _Worker:
    """A process with a pool of its own; it starts with its first call.

    Args:
        threads: number of threads that the process may use.

    Attributes:
        futures: the calls that had not returned when the last one was made, and the last one.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool: ProcessPoolExecutor | None = None
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        with interrupts_blocked():  # a process that is started here inherits the setting
            self._pool = self._pool or self._new_pool()
            try:
                future = self._pool.submit(fn, *args, **kwargs)
            except BrokenProcessPool:  # the process has died
                self._pool = self._new_pool()
                future = self._pool.submit(fn, *args, **kwargs)
        self.futures = [*(known for known in self.futures if not known.done()), future]
        return future

    def waiting(self) -> int:
        """Number of calls that have not returned."""
        return sum(not future.done() for future in self.futures)

    def processes(self) -> list[BaseProcess]:
        """The process, or none if it has not started."""
        running = self._pool._processes if self._pool else None
        return list((running or {}).values())

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait, cancel_futures=cancel_futures)

    def _new_pool(self) -> ProcessPoolExecutor:
        return one_process_pool(RunError, start_worker, self._threads)


def stop_executor(executor: Executor) -> None:
    """Stop an executor without waiting for running evaluations.

    Those of a `LocalExecutor` are ended; those of any other executor go on until they end.
    """
    if isinstance(executor, LocalExecutor):
        executor.stop()
    else:
        executor.shutdown(wait=False, cancel_futures=True)


def end_evaluation(executor: Executor, future: Future[Any]) -> None:
    """End an evaluation that never returns, if it is one of a `LocalExecutor`."""
    if isinstance(executor, LocalExecutor):
        executor.end(future)
