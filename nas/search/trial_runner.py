"""Runs evaluations on an executor: submits, waits, and replaces workers that die."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from nas.accuracy.evaluator import (
    Evaluation,
    EvaluationFailure,
    Evaluator,
    Request,
    evaluate_here,
    forget_set_up,
)
from nas.results.values import StopReason
from nas.search.executors.local import stop_executor
from nas.space.architecture import Architecture
from nas.system.interrupts import interruptible

MAX_CRASHES = 3
"""A search gives up when workers have died this many times."""

MAX_FAILURES = 3
"""A search gives up after this many failures in a row; a batch counts as one failure."""

T = TypeVar("T")
MakeExecutor = Callable[[int], Executor]
"""Function that makes an executor from the number of workers."""


@dataclass(frozen=True)
class Job(Generic[T]):
    """One evaluation.

    Attributes:
        request: request to the evaluator.
        subject: the source's own value for this job, such as its trial.
    """

    request: Request[Architecture]
    subject: T


class JobSource(Protocol[T]):
    """Supplies the jobs of a `TrialRunner`, and receives their outcomes."""

    def next(self, running: Collection[Job[T]]) -> Job[T] | None:
        """Return the next job; None if there is nothing to begin now.

        Args:
            running: the jobs that are being evaluated.
        """

    def finish(self, job: Job[T], evaluation: Evaluation) -> None:
        """Receive the result of a job."""

    def fail(self, job: Job[T], failure: EvaluationFailure) -> None:
        """Receive the error that the evaluator raised for a job."""

    def give_up(self, job: Job[T]) -> None:
        """Take back a job whose evaluation was interrupted; it may be tried again."""

    def stop(
        self, reason: StopReason, message: str, unfinished: Collection[Job[T]]
    ) -> StopReason | None:
        """End the source, as workers have died or evaluations have failed too often.

        Args:
            reason: which of these it was.
            message: explanation for the user.
            unfinished: the jobs that were being evaluated.

        Returns:
            The source's stop reason.

        Raises:
            UserError: the evaluations so far do not suffice for a result; carries the message.
        """

    @property
    def stopped(self) -> StopReason | None:
        """Stop reason if the source ended before all its jobs were done, else None."""


Outcomes = Sequence[Evaluation | EvaluationFailure]
"""Result or failure of each job of a batch, in order."""


class TrialRunner:
    """Keeps workers busy with the jobs of a source.

    Args:
        evaluator: evaluator of the search.
        make_executor: makes the executor, and another one whenever a worker has died.
        workers: number of workers; each evaluates one batch at a time.
    """

    def __init__(
        self, evaluator: Evaluator[Architecture], make_executor: MakeExecutor, workers: int
    ) -> None:
        forget_set_up()  # evaluators of an earlier search, if an executor evaluates in this process
        self._evaluator = evaluator
        self._make_executor = make_executor
        self._workers = workers

    def run(self, source: JobSource[T]) -> StopReason | None:
        """Run jobs until the source has no more.

        Returns:
            The stop reason if the source ended early or the user interrupted it, else None.

        Raises:
            UserError: the evaluator cannot evaluate any architecture; or see `JobSource.stop`.
        """
        return _Run(self._evaluator, self._make_executor, self._workers, source).to_the_end()


class _Run(Generic[T]):
    """One call of `TrialRunner.run`."""

    def __init__(
        self,
        evaluator: Evaluator[Architecture],
        make_executor: MakeExecutor,
        workers: int,
        source: JobSource[T],
    ) -> None:
        self._evaluator = evaluator
        self._make_executor = make_executor
        self._workers = workers
        self._source = source
        self._pending: dict[Future[Outcomes], list[Job[T]]] = {}
        self._failures: list[EvaluationFailure] = []
        self._executor = make_executor(workers)

    def to_the_end(self) -> StopReason | None:
        crashes = 0
        try:
            while True:
                try:
                    self._fill()
                    if not self._pending:
                        return self._source.stopped
                    self._collect()
                    if len(self._failures) >= MAX_FAILURES:
                        return self._stop(StopReason.EVALUATOR_FAILED, self._failed_text())
                except BrokenProcessPool:
                    crashes += 1
                    self._keep_finished()
                    if crashes >= MAX_CRASHES:
                        return self._stop(StopReason.WORKERS_DIED, _DIED)
                    self._replace_executor()
        except KeyboardInterrupt:
            return StopReason.INTERRUPTED
        finally:
            self._give_up()
            stop_executor(self._executor)

    def _fill(self) -> None:
        """Give every free worker as many jobs as the evaluator takes at once."""
        while len(self._pending) < self._workers:
            batch: list[Job[T]] = []
            try:
                while len(batch) < self._evaluator.batch_size:
                    job = self._source.next([*self._running(), *batch])
                    if job is None:
                        break
                    batch.append(job)
                if not batch:
                    return
                requests = [job.request for job in batch]
                future = self._executor.submit(evaluate_here, self._evaluator, requests)
            except BaseException:  # the pool was broken by another evaluation, or Ctrl-C
                for job in batch:
                    self._source.give_up(job)
                raise
            self._pending[future] = batch

    def _running(self) -> list[Job[T]]:
        return [job for batch in self._pending.values() for job in batch]

    def _collect(self) -> None:
        """Wait up to a second, and report the finished evaluations to the source."""
        with interruptible():
            done, _ = wait(self._pending, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            outcomes = future.result()
            self._hand_on(self._pending.pop(future), outcomes)

    def _hand_on(self, batch: Sequence[Job[T]], outcomes: Outcomes) -> None:
        """Report the outcomes of a batch to the source.

        Several failures in one batch count as one, as an error fails all of its evaluations.
        """
        failures = [found for found in outcomes if isinstance(found, EvaluationFailure)]
        self._failures = [*self._failures, *failures[:1]] if failures else []
        for job, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, EvaluationFailure):
                self._source.fail(job, outcome)
            else:
                self._source.finish(job, outcome)

    def _keep_finished(self) -> None:
        """Report to the source the evaluations that finished before a worker died."""
        for future in [f for f in self._pending if f.done() and f.exception() is None]:
            self._hand_on(self._pending.pop(future), future.result())

    def _stop(self, reason: StopReason, message: str) -> StopReason | None:
        unfinished = tuple(self._running())
        self._pending.clear()
        return self._source.stop(reason, message, unfinished)

    def _replace_executor(self) -> None:
        self._give_up()
        stop_executor(self._executor)
        self._executor = self._make_executor(self._workers)

    def _give_up(self) -> None:
        for job in self._running():
            self._source.give_up(job)
        self._pending.clear()

    def _failed_text(self) -> str:
        return (
            f"the evaluator failed {MAX_FAILURES} times in a row, at last with: "
            f"{self._failures[-1].message}; mend it, then go on with --resume, "
            f"and more --trials if none is left"
        )


_DIED = (
    f"a training process died {MAX_CRASHES} times (out of memory?): try fewer --workers, then "
    f"--resume"
)
