"""Keeps the workers of a search busy until it has trained enough candidates."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool

from nas.errors import RunError
from nas.search.evaluate import Evaluation, evaluate
from nas.search.executors import stop_executor
from nas.search.hypervolume import hypervolume
from nas.search.listener import Listener, Trained
from nas.search.prepare import Prepared
from nas.search.study import Proposal, SearchStudy

MAX_CRASHES = 3


def train(
    study: SearchStudy,
    prepared: Prepared,
    trials: int,
    deadline: float | None,
    make_executor: Callable[[int], Executor],
    listener: Listener,
) -> str | None:
    """Train until so many candidates are trained.

    Args:
        study: proposes candidates and keeps what came of them.
        prepared: what was asked for.
        trials: candidates to have trained, those of before included.
        deadline: time (``time.monotonic``) after which no further one is started, or None.
        make_executor: makes the executor that trains, from the number of workers.
        listener: told about every candidate.

    Returns:
        Why it stopped early, or None.

    Raises:
        RunError: training processes died again and again.
    """
    config = prepared.config
    listener.stage("training")
    listener.training(study.trained(), trials)
    started, before = time.monotonic(), study.wall_s()
    executor = make_executor(config.workers)
    pending: dict[Future[Evaluation], Proposal] = {}
    stopped = None
    crashes = 0
    try:
        while True:
            while not stopped and len(pending) < config.workers:
                if study.trained() + len(pending) >= trials:
                    break
                if deadline is not None and time.monotonic() >= deadline:
                    stopped = f"time limit of {config.time_limit_s:g} s reached"
                    break
                proposal = study.propose()
                if proposal is None:
                    stopped = "nothing new within budget was found in the space"
                    break
                task = (proposal.architecture.to_json(), config.proxy, config.seed)
                pending[executor.submit(evaluate, *task)] = proposal
            if not pending:
                return stopped
            finished, _ = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in finished:
                try:
                    evaluation = future.result()
                except BrokenProcessPool:
                    crashes += 1
                    _give_up(study, pending)
                    if crashes >= MAX_CRASHES:
                        raise RunError(
                            f"a training process died {crashes} times (out of memory?): "
                            f"try fewer --workers, then --resume"
                        ) from None
                    stop_executor(executor)
                    executor = make_executor(config.workers)
                    break
                proposal = pending.pop(future)
                study.finish(proposal, evaluation)
                study.record_wall_s(before + time.monotonic() - started)
                listener.trained(_trained(study, proposal, evaluation, prepared, trials))
    except KeyboardInterrupt:
        return "interrupted; go on with --resume"
    finally:
        _give_up(study, pending)
        study.record_wall_s(before + time.monotonic() - started)
        stop_executor(executor)


def _give_up(study: SearchStudy, pending: dict[Future[Evaluation], Proposal]) -> None:
    """Queue again what is being trained."""
    for proposal in pending.values():
        study.interrupt(proposal)
    pending.clear()


def _trained(
    study: SearchStudy,
    proposal: Proposal,
    evaluation: Evaluation,
    prepared: Prepared,
    trials: int,
) -> Trained:
    number, front = proposal.trial.number, study.front()
    budget_ms = study.budget.devices[0].budget_ms
    return Trained(
        candidate=next((c for c in study.candidates() if c.number == number), None),
        done=study.trained(),
        total=trials,
        on_front=any(c.number == number for c in front),
        best=front[-1] if front else None,
        hypervolume=hypervolume(
            [c.accuracy for c in front], [c.latency_ms / budget_ms for c in front], (0.0, 1.0)
        ),
        train_s=evaluation.train_s,
        provenance=prepared.tables[0].latency_kind,
    )
