"""Workers: shared cores, several at once, dead and hanging ones, and the time limit."""

from __future__ import annotations

import math
import random
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

import nas
from nas.accuracy.evaluator import Evaluation, EvaluationFailure, Evaluator, Request
from nas.api import resume, search
from nas.errors import DataError, RunError
from nas.results.values import StopReason
from nas.search.schedule.sources import CandidateSource
from nas.search.store.records import TrialStatus
from nas.search.store.run_store import RunStore
from nas.search.trial_runner import TRIES, Job, TrialRunner
from nas.system.interrupts import deferred_interrupt
from tests.search.runs import OTHER_DEVICE, THREADS, run_config
from tests.tiny import AT_64, TINY_PROXY

DONE = Evaluation(0.5)
DEAD = BrokenProcessPool("killed")

Answer = Evaluation | EvaluationFailure | BaseException | None
"""Outcome of an evaluation, the error in its future, or None for one that never returns."""


class Jobs:
    """A source of numbered jobs, which notes what becomes of each."""

    def __init__(self, count: int, hanging_s: float = math.inf) -> None:
        self.waiting = [Job(Request(n, images=1, seed=0), n) for n in range(count)]
        self.finished: list[int] = []
        self.failed: list[int] = []
        self.deaths: list[int] = []
        self.given_up: list[int] = []
        self.hanging_s = hanging_s
        self.stopped: StopReason | None = None

    def next(self, running):
        return self.waiting.pop(0) if self.waiting else None

    def finish(self, job, evaluation):
        self.finished.append(job.subject)

    def fail(self, job, failure):
        self.failed.append(job.subject)

    def give_up(self, job):
        self.given_up.append(job.subject)

    def died(self, job):
        self.deaths.append(job.subject)
        if self.deaths.count(job.subject) < TRIES:
            self.waiting.append(Job(job.request, job.subject, suspect=True))

    def hangs(self, job, running_s):
        return running_s > self.hanging_s

    def stop(self, reason, message, unfinished):
        self.given_up += [job.subject for job in unfinished]
        return reason


class Numbers(Evaluator):
    """Is never asked: the executor answers."""

    def evaluate(self, request):
        raise NotImplementedError


class Answering(Executor):
    """Answers at once with what a function says of a number and of how often it came before."""

    def __init__(self, answer: Callable[[int, int], Answer]) -> None:
        self._answer = answer
        self.batches: list[list[int]] = []

    def submit(self, function, evaluator, requests):
        numbers = [request.architecture for request in requests]  # or architectures
        before = [n for batch in self.batches for n in batch]
        self.batches.append(numbers)
        answers = [self._answer(n, before.count(n)) for n in numbers]
        future: Future[Any] = Future()
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        if errors:
            future.set_exception(errors[0])
        elif None not in answers:
            future.set_result(answers)
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        pass


def run_jobs(
    jobs: Jobs,
    answer: Callable[[int, int], Answer],
    workers: int = 2,
    evaluator: Evaluator | None = None,
) -> tuple[StopReason | None, list[list[int]]]:
    """Run the jobs; return the stop reason, and the numbers that each call was given."""
    executor = Answering(answer)
    runner = TrialRunner(evaluator or Numbers(), lambda _: executor, workers)
    with deferred_interrupt():
        return runner.run(jobs), executor.batches


def test_a_worker_dies_while_another_finishes_keeps_what_finished():
    jobs = Jobs(2)
    stopped, batches = run_jobs(jobs, lambda n, before: DEAD if (n, before) == (0, 0) else DONE)
    assert stopped is None and jobs.finished == [1, 0] and jobs.deaths == [0]
    assert batches == [[0], [1], [0]]


@pytest.mark.usefixtures("sigint_raises")
def test_ctrl_c_while_one_of_two_is_running_keeps_the_finished_one():
    def answer(n, before):
        if n == 1:
            signal.raise_signal(signal.SIGINT)  # deferred: the main process is at work
        return None if n == 1 else DONE

    jobs = Jobs(4)
    stopped, _ = run_jobs(jobs, answer)
    assert stopped is StopReason.INTERRUPTED
    assert jobs.finished == [0] and jobs.given_up == [1]


def test_an_error_that_ends_the_search_keeps_what_finished_beside_it():
    jobs = Jobs(2)
    with pytest.raises(DataError, match="no data"):
        run_jobs(jobs, lambda n, before: DataError("no data") if n == 0 else DONE)
    assert jobs.finished == [1] and jobs.given_up == [0]


def test_unrelated_deaths_with_results_between_them_do_not_stop_a_run():
    jobs = Jobs(20)
    stopped, _ = run_jobs(jobs, lambda n, before: DONE if n % 2 or before else DEAD)
    assert stopped is None
    assert sorted(jobs.finished) == list(range(20)) and jobs.deaths == list(range(0, 20, 2))


@pytest.mark.parametrize(("workers", "deaths"), [(1, 9), (2, 9), (3, 12)])
def test_deaths_without_a_result_between_them_stop_a_run(workers, deaths):
    jobs = Jobs(20)
    stopped, batches = run_jobs(jobs, lambda n, before: DEAD, workers)
    assert stopped is StopReason.WORKERS_DIED and not jobs.finished
    assert deaths <= len(batches) < deaths + workers


def test_lacks_of_memory_stop_a_run_as_deaths_do():
    short = EvaluationFailure("MemoryError", "", out_of_memory=True)
    jobs = Jobs(20)
    stopped, _ = run_jobs(jobs, lambda n, before: DONE if n % 5 == 4 else short)
    assert stopped is None and len(jobs.failed) == 16
    stopped, batches = run_jobs(Jobs(20), lambda n, before: short)
    assert stopped is StopReason.WORKERS_DIED and len(batches) == 10  # in pairs, from nine on


def test_an_executor_that_takes_no_jobs_stops_a_run():
    class Broken(Answering):
        def submit(self, function, evaluator, requests):
            raise DEAD

    jobs = Jobs(20)
    runner = TrialRunner(Numbers(), lambda _: Broken(lambda n, before: DONE), workers=1)
    assert runner.run(jobs) is StopReason.WORKERS_DIED


def test_what_a_worker_died_of_is_evaluated_in_a_batch_of_its_own():
    @dataclass(frozen=True)
    class Batches(Numbers):
        batch_size: ClassVar[int] = 3

    jobs = Jobs(3)
    _, batches = run_jobs(jobs, lambda n, before: DEAD if n == 1 else DONE, 1, Batches())
    assert batches == [[0, 1, 2], [0], [1], [2], [1]]
    assert jobs.finished == [0, 2] and jobs.deaths.count(1) == TRIES


def test_an_evaluation_that_hangs_counts_as_a_death_and_the_run_ends():
    jobs = Jobs(2, hanging_s=0.1)
    stopped, _ = run_jobs(jobs, lambda n, before: None if n == 0 and not before else DONE)
    assert stopped is None and sorted(jobs.finished) == [0, 1] and jobs.deaths == [0]


def test_any_executor_will_do_and_several_workers(folder, tmp_path):
    result = search(
        run_config(folder, workers=2, trials=3),
        tmp_path / "run",
        tables_dir=folder / "tables",
        **THREADS,
    )
    assert len(result.candidates) == 3


def test_two_worker_processes(folder, tmp_path):
    result = search(
        run_config(folder, workers=2, trials=4), tmp_path / "run", tables_dir=folder / "tables"
    )
    assert len(result.candidates) == 4


def test_time_limit_starts_no_further_candidate(folder, tmp_path):
    result = search(
        run_config(folder, trials=50, time_limit_s=1e-3),
        tmp_path / "run",
        tables_dir=folder / "tables",
        **THREADS,
    )
    assert len(result.candidates) <= 1
    assert result.stopped is StopReason.TIME_LIMIT_OF_CANDIDATES


def test_a_time_limit_that_stops_nothing_is_not_reported(folder, tmp_path):
    config = run_config(folder, trials=1, time_limit_s=0.5)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len(result.candidates) == 1
    assert result.stopped is None


def test_a_time_limit_leaves_one_candidate_trained_in_full(folder, tmp_path):
    proxy = TINY_PROXY.model_copy(update={"train_images": 27 * 32})
    config = run_config(folder, trials=50, rungs=3, time_limit_s=0.2, proxy=proxy)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert result.stopped is StopReason.TIME_LIMIT_OF_CANDIDATES
    assert len(result.candidates) == 1 and result.recommended


def test_a_search_that_runs_out_of_networks_leaves_no_checkpoints(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("nas.search.schedule.proposals.REJECTIONS_UNTIL_EXHAUSTED", 40)
    table = nas.load_table("onnxruntime", device=OTHER_DEVICE, tables_dir=folder / "tables")
    space = nas.load_space(str(folder / "tiny.yaml"))
    networks = {space.sample(random.Random(seed)) for seed in range(999)}
    high_ms = nas.LatencyPredictor.fit(table).predict(list(networks), AT_64).high_ms
    budget_ms = float(sorted(high_ms)[3])
    proxy = TINY_PROXY.model_copy(update={"train_images": 9 * 32})
    config = run_config(folder, budget_ms=budget_ms, trials=50, rungs=2, proxy=proxy)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert result.stopped is StopReason.SPACE_EXHAUSTED
    assert result.candidates and result.partly_trained
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_workers_that_die_before_anything_is_trained_are_an_error(folder, tmp_path):
    places = {"tables_dir": folder / "tables"}
    with pytest.raises(RunError, match="a training process died, or .*, 9 times in a row"):
        search(
            run_config(folder, trials=4),
            tmp_path / "run",
            executor=lambda _: Answering(lambda *_: DEAD),
            **places,
        )
    result = resume(tmp_path / "run", **places, **THREADS)
    assert len(result.candidates) == 4  # only one worker has died of each


class Dying(ThreadPoolExecutor):
    """Dies of the third network, or when something is handed to it."""

    deadly: str | None = None
    handed = 0
    dies_at = 0

    def submit(self, function, evaluator, requests):
        Dying.handed += 1
        if Dying.handed == Dying.dies_at:
            raise BrokenProcessPool
        network = requests[0].architecture.id
        if Dying.handed == 3 and not Dying.dies_at:
            Dying.deadly = network
        if network != Dying.deadly:
            return super().submit(function, evaluator, requests)
        future: Future = Future()
        future.set_exception(BrokenProcessPool())
        return future


@pytest.fixture
def dying(monkeypatch):
    for name, value in {"deadly": None, "handed": 0, "dies_at": 0}.items():
        monkeypatch.setattr(Dying, name, value)
    return Dying


def test_a_candidate_that_every_worker_dies_of_fails_and_the_search_goes_on(
    folder, tmp_path, dying
):
    places = {"tables_dir": folder / "tables", "executor": dying}
    result = search(run_config(folder, trials=11), tmp_path / "run", **places)
    assert result.stopped is None and len(result.candidates) == 10
    with RunStore.opened_for_reading(tmp_path / "run") as store:
        (failed,) = store.trials.read().of(TrialStatus.FAILED)
        assert not store.trials.read().of(TrialStatus.DIVERGED)
    assert failed.known_architecture.id == dying.deadly
    assert failed.message == "its process died, or never returned, 3 times (out of memory?)"
    again = resume(tmp_path / "run", trials=12, **places)
    assert dying.handed == 14 and len(again.candidates) == 11  # not tried again


def test_a_worker_that_dies_while_another_is_given_work_is_replaced(folder, tmp_path, dying):
    dying.dies_at = 3
    config = run_config(folder, trials=5, workers=2)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", executor=dying)
    assert result.stopped is None and len(result.candidates) == 5


@pytest.mark.usefixtures("sigint_raises")
def test_ctrl_c_while_a_trial_is_written_waits_for_it(folder, tmp_path, monkeypatch):
    finish = CandidateSource.finish

    def pressed(source, job, evaluation):
        if len(source._leaderboard.candidates()) == 1:
            signal.raise_signal(signal.SIGINT)
        finish(source, job, evaluation)

    monkeypatch.setattr(CandidateSource, "finish", pressed)
    places = {"tables_dir": folder / "tables", **THREADS}
    stopped = search(run_config(folder, trials=4), tmp_path / "run", **places)
    assert stopped.stopped is StopReason.INTERRUPTED and len(stopped.candidates) == 2
    monkeypatch.undo()
    assert len(resume(tmp_path / "run", **places).candidates) == 4
