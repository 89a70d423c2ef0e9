"""Trains the best candidates once more, longer and with another seed, before one is recommended.

The best of many short trainings is partly the luckiest. Those of the best score are therefore
compared by a second training as well, which did not choose them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool

from nas.accuracy.short_training import Evaluation, evaluate
from nas.config import ProxyConfig, SearchConfig
from nas.results.values import LEAST_COMPARED, Candidate
from nas.search.callbacks import Listener
from nas.search.executors.local import stop_executor
from nas.search.stop_reasons import CUT_OFF, MAX_CRASHES, OUT_OF_TIME, WORKER_DIED
from nas.search.store.study import SearchStudy
from nas.search.time_limit import TimeLimit
from nas.system.interrupts import interruptible

LENGTH = 4
"""Images of a finalist's training, as a multiple of a candidate's."""

FINAL_SEED = 1
"""Added to the seed of a search: weights, order and augmentation are others."""


def final_proxy(proxy: ProxyConfig) -> ProxyConfig:
    """How finalists are trained."""
    return proxy.model_copy(update={"train_images": LENGTH * proxy.train_images})


def expected_s(study: SearchStudy, config: SearchConfig) -> float:
    """About how long the present finalists will train, in seconds; 0 where that is unknown.

    What an earlier run trained takes as long as the others on average.
    """
    train_s = study.trials.train_s()
    known = [train_s[c.number] for c in study.candidates() if train_s[c.number]]
    mean_s = statistics.fmean(known) if known else 0.0
    left = _left(study, config)
    total_s = LENGTH * sum(train_s[candidate.number] or mean_s for candidate in left)
    return total_s / max(1, min(config.workers, len(left)))


def train_finalists(
    study: SearchStudy,
    config: SearchConfig,
    time_limit: TimeLimit,
    make_executor: Callable[[int], Executor],
    listener: Listener,
) -> str | None:
    """Train the finalists that were not trained so before, the best first.

    Returns:
        Why some were not trained, or None.
    """
    if not _left(study, config):
        return None
    listener.stage("finalists")
    with study.ledger.timed():
        try:
            for _ in range(MAX_CRASHES):
                executor = make_executor(config.workers)
                try:
                    return _train(study, config, time_limit, executor, listener)
                except BrokenProcessPool:
                    continue
                finally:
                    stop_executor(executor)
        except KeyboardInterrupt:
            return CUT_OFF
    return WORKER_DIED


def _left(study: SearchStudy, config: SearchConfig) -> list[Candidate]:
    finalists = study.finalists(config.finalists)
    if len(finalists) < LEAST_COMPARED:
        return []
    return [candidate for candidate in finalists if candidate.final is None]


def _train(
    study: SearchStudy,
    config: SearchConfig,
    time_limit: TimeLimit,
    executor: Executor,
    listener: Listener,
) -> str | None:
    proxy, seed = final_proxy(config.proxy), config.seed + FINAL_SEED
    waiting, pending = _left(study, config), dict[Future[Evaluation], Candidate]()
    done, total = 0, len(waiting)
    listener.finalists(done, total)
    while waiting or pending:
        while waiting and len(pending) < config.workers and time_limit.left_s() > 0:
            candidate = waiting.pop(0)
            task = (candidate.architecture.to_json(), proxy, seed)
            pending[executor.submit(evaluate, *task)] = candidate
        if not pending:
            return OUT_OF_TIME
        with interruptible():
            finished, _ = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in finished:
            evaluation = future.result()
            study.record_final(pending.pop(future).architecture, evaluation)
            done += 1
            listener.finalists(done, total)
    return None
