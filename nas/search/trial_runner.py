"""Runs evaluations on an executor: submits, waits, and goes on when a worker dies or hangs.

Whatever has finished is reported to the source, before anything ends the run. When a worker dies,
the source is told which jobs it was evaluating; it takes them back, or fails one that has cost
several workers. An evaluation that never returns is ended when the time is up, and counts as one
whose worker died.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from dataclasses import dataclass, field
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
from nas.search.executors.local import end_evaluation, stop_executor
from nas.space.architecture import Architecture
from nas.system.interrupts import interruptible

TRIES = 3
"""An evaluation fails when this many workers have died while they did it. One or two may die of
something else."""

MAX_FAILURES = 3
"""A search gives up after this many failures in a row; a batch counts as one failure."""

T = TypeVar("T")
MakeExecutor = Callable[[int], Executor]
"""Function that makes an executor from the number of workers.

The executor tells which evaluation a dead worker was doing: it raises BrokenExecutor in its future.
"""


@dataclass(frozen=True)
class Job(Generic[T]):
    """One evaluation.

    Attributes:
        request: request to the evaluator.
        subject: the source's own value for this job, such as its trial.
        suspect: whether a worker has died while it was evaluated. It is the last of its batch then.
    """

    request: Request[Architecture]
    subject: T
    suspect: bool = False


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

    def died(self, job: Job[T]) -> None:
        """Take back a job whose worker died, or fail it if this happened `TRIES` times."""

    def hangs(self, job: Job[T], running_s: float) -> bool:
        """Return whether an evaluation is to be ended that has been running for so long."""

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


@dataclass(frozen=True)
class _Running(Generic[T]):
    """A batch of jobs that is being evaluated."""

    jobs: list[Job[T]]
    begun_s: float = field(default_factory=time.monotonic)


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
        self._pending: dict[Future[Outcomes], _Running[T]] = {}
        self._failures: list[EvaluationFailure] = []
        self._deaths = 0  # since an evaluation had memory and returned
        # Several jobs in a row have failed by then, more than are evaluated at once.
        self._max_deaths = TRIES * max(MAX_FAILURES, workers + 1)
        self._executor = make_executor(workers)

    def to_the_end(self) -> StopReason | None:
        try:
            while True:
                self._fill()
                if self._pending:
                    self._wait()
                    self._hand_on_ended()
                    self._end_hanging()
                elif self._deaths < self._max_deaths:
                    return self._source.stopped
                if len(self._failures) >= MAX_FAILURES:
                    return self._stop(StopReason.EVALUATOR_FAILED, self._failed_text())
                if self._deaths >= self._max_deaths:
                    return self._stop(StopReason.WORKERS_DIED, _died_text(self._deaths))
        except KeyboardInterrupt:
            self._hand_on_ended()
            return StopReason.INTERRUPTED
        finally:
            try:
                self._give_up()
            finally:
                stop_executor(self._executor)

    def _fill(self) -> None:
        """Give every free worker as many jobs as the evaluator takes at once."""
        while len(self._pending) < self._workers and self._deaths < self._max_deaths:
            batch: list[Job[T]] = []
            try:
                while len(batch) < self._evaluator.batch_size:
                    job = self._source.next([*self._running(), *batch])
                    if job is None:
                        break
                    batch.append(job)
                    if job.suspect:
                        break
                if not batch:
                    return
                requests = [job.request for job in batch]
                future = self._executor.submit(evaluate_here, self._evaluator, requests)
            except BaseException as error:
                for job in batch:
                    self._source.give_up(job)
                if not isinstance(error, BrokenExecutor):  # Ctrl-C, for example
                    raise
                self._replace_executor()
                continue
            self._pending[future] = _Running(batch)

    def _running(self) -> list[Job[T]]:
        return [job for running in self._pending.values() for job in running.jobs]

    def _wait(self) -> None:
        """Wait up to a second for an evaluation to end."""
        with interruptible():
            wait(self._pending, timeout=1.0, return_when=FIRST_COMPLETED)

    def _hand_on_ended(self) -> None:
        """Report all evaluations that have ended to the source: first those that returned.

        Raises:
            BaseException: one of them raised; see `evaluate_here`.
        """
        ended = [(future, _error_of(future)) for future in self._pending if future.done()]
        for future, error in ended:
            if error is None:
                self._hand_on(self._pending.pop(future).jobs, future.result())
        for future, error in ended:
            if isinstance(error, BrokenExecutor):
                self._hand_on_death(future)
            elif error is not None:
                for job in self._pending.pop(future).jobs:
                    self._source.give_up(job)
                if not isinstance(error, CancelledError):
                    raise error

    def _hand_on(self, batch: Sequence[Job[T]], outcomes: Outcomes) -> None:
        """Report the outcomes of a batch to the source.

        Several failures in one batch count as one, as an error fails all of its evaluations. A lack
        of memory counts as the death of a worker, which it often ends in.
        """
        failures = [found for found in outcomes if isinstance(found, EvaluationFailure)]
        if any(failure.out_of_memory for failure in failures):
            self._deaths += 1
        else:
            self._deaths = 0
            self._failures = [*self._failures, *failures[:1]] if failures else []
        for job, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, EvaluationFailure):
                self._source.fail(job, outcome)
            else:
                self._source.finish(job, outcome)

    def _hand_on_death(self, future: Future[Outcomes]) -> None:
        """Report the jobs of a worker that died to the source."""
        self._deaths += 1
        for job in self._pending.pop(future).jobs:
            self._source.died(job)

    def _end_hanging(self) -> None:
        """End evaluations that the source waits for no longer."""
        now_s = time.monotonic()
        for future, running in list(self._pending.items()):
            if future.done():
                continue
            if any(self._source.hangs(job, now_s - running.begun_s) for job in running.jobs):
                with interruptible():
                    end_evaluation(self._executor, future)
                if future.done() and _error_of(future) is None:  # it returned just before
                    self._hand_on(self._pending.pop(future).jobs, future.result())
                else:
                    self._hand_on_death(future)

    def _stop(self, reason: StopReason, message: str) -> StopReason | None:
        unfinished = tuple(self._running())
        self._pending.clear()
        return self._source.stop(reason, message, unfinished)

    def _replace_executor(self) -> None:
        """Make another executor, as this one takes no more jobs; what it still does is kept."""
        self._deaths += 1
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


def _error_of(future: Future[Outcomes]) -> BaseException | None:
    """Return what an evaluation that has ended raised; None if it returned."""
    return CancelledError() if future.cancelled() else future.exception()


def _died_text(deaths: int) -> str:
    return (
        f"a training process died, or ran out of memory, {deaths} times in a row: try fewer "
        f"--workers, then --resume"
    )
