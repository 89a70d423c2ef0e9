"""Keeps the workers of a search busy until it has trained enough candidates."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from nas.accuracy.short_training import Evaluation, evaluate
from nas.errors import RunError
from nas.search.callbacks import Listener, Trained
from nas.search.executors.local import stop_executor
from nas.search.extension import more_trials, rounds_left
from nas.search.finalist_training import expected_s
from nas.search.preparation import Prepared
from nas.search.promotion import best_stopped, go_on, hopeless
from nas.search.rungs import rung_images
from nas.search.sampler.hypervolume import hypervolume
from nas.search.stop_reasons import CUT_OFF, EXHAUSTED, MAX_CRASHES, WORKER_DIED
from nas.search.store.ledger import Clock
from nas.search.store.study import Proposal, SearchStudy
from nas.search.store.trials import CONTINUES
from nas.search.time_limit import TimeLimit
from nas.system.interrupts import interruptible

CHECKPOINTS = "checkpoints"
"""Folder in a run's folder: the states of trainings that stopped at a rung."""


class Crew:
    """Trains the candidates of a search.

    Args:
        study: proposes candidates and keeps what came of them.
        prepared: what was asked for.
        time_limit: of the search.
        checkpoints: folder for what stopped at a rung.
        make_executor: makes the executor that trains, from the number of workers.
        listener: told about every candidate.
    """

    def __init__(
        self,
        study: SearchStudy,
        prepared: Prepared,
        time_limit: TimeLimit,
        checkpoints: Path,
        make_executor: Callable[[int], Executor],
        listener: Listener,
    ) -> None:
        self._study = study
        self._prepared = prepared
        self._config = prepared.config
        self._checkpoints = checkpoints
        self._make_executor = make_executor
        self._listener = listener
        self._time_limit = time_limit
        self._images = rung_images(self._config.proxy.train_images, self._config.rungs)
        self._pending: dict[Future[Evaluation], Proposal] = {}

    def train(self, trials: int) -> str | None:
        """Train until so many candidates are trained, and the best of every rung have gone on.

        Args:
            trials: candidates to have trained, those of before included.

        Returns:
            Why it stopped early, or None.

        Raises:
            RunError: training processes died again and again before anything was trained.
        """
        study = self._study
        self._listener.stage("training")
        self._listener.training(study.trials.begun(), trials)
        executor = self._make_executor(self._config.workers)
        crashes = 0
        stopped = None
        with study.ledger.timed() as clock:
            try:
                while True:
                    try:
                        stopped = self._fill(executor, trials, stopped)
                        if not self._pending:
                            return stopped
                        self._collect(trials, clock)
                    except BrokenProcessPool:
                        crashes += 1
                        if crashes >= MAX_CRASHES:
                            return self._died()
                        self._give_up()
                        stop_executor(executor)
                        executor = self._make_executor(self._config.workers)
            except KeyboardInterrupt:
                return CUT_OFF
            finally:
                self._give_up()
                stop_executor(executor)

    def clean_up(self) -> None:
        """Remove the states of trainings that stopped: they will not go on."""
        shutil.rmtree(self._checkpoints, ignore_errors=True)

    def _fill(self, executor: Executor, trials: int, stopped: str | None) -> str | None:
        """Give every free worker something to do; returns why no candidate is begun any more."""
        study = self._study
        while len(self._pending) < self._config.workers:
            new = sum(CONTINUES not in p.trial.user_attrs for p in self._pending.values())
            over = stopped is not None or study.trials.begun() + new >= trials
            able = {path.stem for path in self._checkpoints.glob("*.pt")}
            promising = best_stopped(study, able, over)
            if not promising and over:
                break
            if self._time_is_up():
                limit_s = self._time_limit.limit_s
                stopped = f"no further candidate fitted into the time limit of {limit_s:g} s"
                promising = promising or best_stopped(study, able, over=True)
                if not promising or study.trials.complete():
                    break
            proposal = go_on(study, promising) if promising else study.propose()
            if proposal is None:
                stopped = EXHAUSTED
                continue
            task: tuple[Any, ...] = (
                proposal.architecture.to_json(),
                self._config.proxy,
                self._config.seed,
            )
            if self._config.rungs > 1:
                rungs = self._images[: len(self._images) - proposal.left]
                checkpoint = str(self._checkpoint(proposal.architecture.id))
                task = (*task, rungs, checkpoint)
            try:
                self._pending[executor.submit(evaluate, *task)] = proposal
            except BrokenProcessPool:  # by what another worker trains
                study.interrupt(proposal)
                raise
        return stopped

    def _collect(self, trials: int, clock: Clock) -> None:
        """Wait a little, and keep what has finished."""
        with interruptible():
            finished, _ = wait(self._pending, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in finished:
            evaluation = future.result()
            self._finish(self._pending.pop(future), evaluation, trials)
            clock.record()

    def _died(self) -> str:
        """Why it ends when training processes died too often.

        Where others were trained and only one could have killed them, that one is not tried again.
        """
        if not self._study.trials.complete():
            raise RunError(WORKER_DIED) from None
        if len(self._pending) == 1:
            (proposal,) = self._pending.values()
            self._pending.clear()
            self._study.finish(proposal, Evaluation(0.0, diverged=True, train_s=0.0, images=0))
        return WORKER_DIED

    def _time_is_up(self) -> bool:
        """Whether what is left of the time limit, at most half of it, is for the finalists."""
        left_s = self._time_limit.left_s()
        if math.isinf(left_s):
            return False
        half_s = self._time_limit.limit_s / 2
        return left_s <= min(expected_s(self._study, self._config), half_s)

    def _finish(self, proposal: Proposal, evaluation: Evaluation, trials: int) -> None:
        study = self._study
        study.finish(proposal, evaluation)
        done = {proposal.architecture.id} if evaluation.diverged or not proposal.left else set()
        most = trials + rounds_left(study.ledger) * more_trials(self._config)
        for architecture_id in done | hopeless(study, most):
            self._checkpoint(architecture_id).unlink(missing_ok=True)
        self._listener.trained(self._trained(proposal, evaluation, trials))

    def _give_up(self) -> None:
        """What is being trained is tried again later."""
        for proposal in self._pending.values():
            self._study.interrupt(proposal)
        self._pending.clear()

    def _checkpoint(self, architecture_id: str) -> Path:
        return self._checkpoints / f"{architecture_id}.pt"

    def _trained(self, proposal: Proposal, evaluation: Evaluation, trials: int) -> Trained:
        study, number = self._study, proposal.trial.number
        front = study.front()
        known = [*study.candidates(), *study.partly_trained()]
        budget_ms = study.budget.devices[0].budget_ms
        above = [len(study.trials.stopped(left)) for left in range(1, study.rungs)]
        return Trained(
            candidate=next((c for c in known if c.number == number), None),
            done=study.trials.begun(),
            total=trials,
            at_rung=(*reversed(above), len(study.candidates()) - study.trials.imported()),
            rung=study.rungs - proposal.left,
            on_front=any(c.number == number for c in front),
            best=front[-1] if front else None,
            hypervolume=hypervolume(
                [c.score for c in front], [c.latency_ms / budget_ms for c in front], (0.0, 1.0)
            ),
            train_s=evaluation.train_s,
            provenance=self._prepared.tables[0].latency_kind,
        )
