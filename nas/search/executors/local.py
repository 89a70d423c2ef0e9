"""An executor of processes on this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import ParamSpec, TypeVar

from nas.accuracy.worker import start_worker
from nas.errors import RunError
from nas.measurement.device import this_cpu
from nas.system.processes import interrupts_blocked

P = ParamSpec("P")
T = TypeVar("T")


class LocalExecutor(ProcessPoolExecutor):
    """Processes on this machine that share its cores evenly.

    Args:
        workers: number of processes.
    """

    def __init__(self, workers: int) -> None:
        try:
            super().__init__(
                workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=start_worker,
                initargs=(max(1, this_cpu().threads // workers),),
            )
        except OSError as error:  # semaphores of processes are files there
            raise RunError(
                f"/dev/shm: worker processes need it: {error.strerror or error}; make it writable, "
                f"with some room (of a container: --shm-size 64m)"
            ) from None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        with interrupts_blocked():  # a process that is started here inherits the setting
            return super().submit(fn, *args, **kwargs)

    def stop(self) -> None:
        """Terminate all processes at once; running evaluations are lost."""
        processes = list((self._processes or {}).values())
        self.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(5.0)


def stop_executor(executor: Executor) -> None:
    """Stop an executor without waiting for running evaluations.

    Those of a `LocalExecutor` are terminated; those of any other executor go on until they end.
    """
    if isinstance(executor, LocalExecutor):
        executor.stop()
    else:
        executor.shutdown(wait=False, cancel_futures=True)
