"""Trains the best candidates once more, longer and with another seed, before one is recommended.

The best of many short trainings is partly the luckiest. Those of the best score are therefore
compared by a training that did not choose them, and that is long enough to say what short ones
cannot.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Executor, as_completed
from concurrent.futures.process import BrokenProcessPool

from nas.config import ProxyConfig, SearchConfig
from nas.errors import RunError
from nas.search.evaluate import evaluate
from nas.search.executors import MAX_CRASHES, WORKER_DIED, stop_executor
from nas.search.listener import Listener
from nas.search.prepare import Prepared
from nas.search.result import Candidate
from nas.search.study import SearchStudy

LENGTH = 4
"""Images of a finalist's training, as a multiple of a candidate's."""

FINAL_SEED = 1
"""Added to the seed of a search: weights, order and augmentation are others."""


def final_proxy(proxy: ProxyConfig) -> ProxyConfig:
    """How finalists are trained."""
    return proxy.model_copy(update={"train_images": LENGTH * proxy.train_images})


def expected_s(study: SearchStudy, config: SearchConfig) -> float:
    """About how long the finalists will take, in seconds; 0 where that is unknown."""
    attrs = [trial.user_attrs for trial in study.trials.complete()]
    train_s = [found["train_s"] for found in attrs if "train_s" in found]
    if config.finalists < 2 or not train_s:
        return 0.0
    return LENGTH * statistics.fmean(train_s) * math.ceil(config.finalists / config.workers)


def train_finalists(
    study: SearchStudy,
    prepared: Prepared,
    make_executor: Callable[[int], Executor],
    listener: Listener,
) -> None:
    """Train what `SearchStudy.finalists` names and has not been trained so before.

    Raises:
        KeyboardInterrupt: what was not finished is trained when the run goes on.
        RunError: training processes died again and again.
    """
    finalists = study.finalists(prepared.config.finalists)
    left = [candidate for candidate in finalists if candidate.final is None]
    if len(finalists) < 2 or not left:
        return
    listener.stage("finalists")
    started, before = time.monotonic(), study.wall_s()
    for _ in range(MAX_CRASHES):
        executor = make_executor(min(prepared.config.workers, len(left)))
        try:
            _train(study, prepared.config, left, executor, listener)
            return
        except BrokenProcessPool:
            known = {c.number for c in study.candidates() if c.final is not None}
            left = [candidate for candidate in left if candidate.number not in known]
        finally:
            stop_executor(executor)
            study.record_wall_s(before + time.monotonic() - started)
    raise RunError(WORKER_DIED)


def _train(
    study: SearchStudy,
    config: SearchConfig,
    candidates: list[Candidate],
    executor: Executor,
    listener: Listener,
) -> None:
    proxy, seed = final_proxy(config.proxy), config.seed + FINAL_SEED
    futures = {
        executor.submit(evaluate, candidate.architecture.to_json(), proxy, seed): candidate
        for candidate in candidates
    }
    for done, future in enumerate(as_completed(futures), start=1):
        study.record_final(futures[future].architecture, future.result())
        listener.finalists(done, len(candidates))
