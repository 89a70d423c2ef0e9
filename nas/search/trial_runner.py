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
"""How often workers may die before a search gives up."""

MAX_FAILURES = 3
"""Evaluations that may fail in a row before a search gives up."""

T = TypeVar("T")
MakeExecutor = Callable[[int], Executor]
"""Makes an executor from the number of workers."""


@dataclass(frozen=True)
class Job(Generic[T]):
    """One evaluation.

    Attributes:
        request: request to the evaluator.
        subject: value that the source gets back with the outcome.
    """

    request: Request[Architecture]
    subject: T


class JobSource(Protocol[T]):
    """Where the jobs of a `TrialRunner` come from, and where their outcomes go."""

    def next(self, running: Collection[Job[T]]) -> Job[T] | None:
        """The next job, None where there is nothing to begin now."""

    def finish(self, job: Job[T], evaluation: Evaluation) -> None:
        """An evaluation is done."""

    def fail(self, job: Job[T], failure: EvaluationFailure) -> None:
        """The evaluator raised an error."""

    def give_up(self, job: Job[T]) -> None:
        """The evaluation was interrupted; it may be tried again."""

    def stop(
        self, reason: StopReason, message: str, unfinished: Collection[Job[T]]
    ) -> StopReason | None:
        """Workers died, or evaluations failed, too often; returns why this source stopped.

        Raises:
            UserError: no result can be drawn from the evaluations so far; carries the message.
        """

    @property
    def stopped(self) -> StopReason | None:
        """Stop reason of a source that ended before all its jobs were done."""


Outcomes = Sequence[Evaluation | EvaluationFailure]
"""What became of a batch, job by job."""


class TrialRunner:
    """Keeps workers busy with the jobs of a source.

    Args:
        evaluator: evaluates.
        make_executor: makes the executor, also the one that replaces a broken one.
        workers: jobs at once.
    """

    def __init__(
        self, evaluator: Evaluator[Architecture], make_executor: MakeExecutor, workers: int
    ) -> None:
        forget_set_up()  # evaluators of an earlier search, if an executor evaluates in this process
        self._evaluator = evaluator
        self._make_executor = make_executor
        self._workers = workers

    def run(self, source: JobSource[T]) -> StopReason | None:
        """Run jobs until the source has none; returns why it stopped early, or None.

        Raises:
            UserError: an evaluator cannot be used at all, or see `JobSource.stop`.
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
        """Wait a little, and pass on the evaluations that finished."""
        with interruptible():
            done, _ = wait(self._pending, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            outcomes = future.result()
            self._hand_on(self._pending.pop(future), outcomes)

    def _hand_on(self, batch: Sequence[Job[T]], outcomes: Outcomes) -> None:
        """Pass on what a batch gave; a batch that failed counts as one failure."""
        failures = [found for found in outcomes if isinstance(found, EvaluationFailure)]
        self._failures = [*self._failures, *failures[:1]] if failures else []
        for job, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, EvaluationFailure):
                self._source.fail(job, outcome)
            else:
                self._source.finish(job, outcome)

    def _keep_finished(self) -> None:
        """Pass on the evaluations that finished before the worker pool broke."""
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
