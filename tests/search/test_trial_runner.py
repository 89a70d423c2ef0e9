"""Workers: shared cores, several at once, dead ones, and the time limit."""

from __future__ import annotations

import os
import random
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

import nas
from nas.api import resume, search
from nas.errors import RunError
from nas.results.values import StopReason
from nas.search.schedule.sources import CandidateSource
from tests.search.runs import OTHER_DEVICE, THREADS, run_config
from tests.tiny import AT_64, TINY_PROXY


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


def _die(*_args):
    os._exit(9)


def test_workers_that_die_before_anything_is_trained_are_an_error(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("nas.search.trial_runner.evaluate_here", _die)
    with pytest.raises(RunError, match="a training process died 3 times"):
        search(run_config(folder, trials=1), tmp_path / "run", tables_dir=folder / "tables")
    monkeypatch.undo()
    result = resume(tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len(result.candidates) == 1


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


def test_what_every_worker_dies_of_ends_with_a_report_and_is_left_out(folder, tmp_path, dying):
    places = {"tables_dir": folder / "tables", "executor": dying}
    stopped = search(run_config(folder, trials=11), tmp_path / "run", **places)
    assert stopped.stopped is StopReason.WORKERS_DIED
    assert len(stopped.candidates) < 10 and stopped.recommended
    assert (tmp_path / "run" / "report.html").exists()
    result = resume(tmp_path / "run", **places)
    assert result.stopped is None and len(result.candidates) == 10
    assert dying.deadly not in {c.architecture.id for c in result.candidates}


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
