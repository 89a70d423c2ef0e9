"""Workers: shared cores, several at once, dead ones, and the time limit."""

from __future__ import annotations

import os
import random

import pytest

import nas
from nas.errors import RunError
from nas.search.engine import resume, search
from nas.search.reasons import EXHAUSTED
from tests.search.runs import ELSEWHERE, THREADS, run_config
from tests.tiny import TINY_PROXY


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
    assert "time limit" in result.stopped


def test_a_time_limit_that_stops_nothing_is_not_reported(folder, tmp_path):
    config = run_config(folder, trials=1, time_limit_s=0.5)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len(result.candidates) == 1
    assert result.stopped is None


def test_a_time_limit_leaves_one_candidate_trained_in_full(folder, tmp_path):
    proxy = TINY_PROXY.model_copy(update={"train_images": 27 * 32})
    config = run_config(folder, trials=50, rungs=3, time_limit_s=0.2, proxy=proxy)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert "time limit" in result.stopped
    assert len(result.candidates) == 1 and result.recommended


def test_a_search_that_runs_out_of_networks_leaves_no_checkpoints(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("nas.search.study.EXHAUSTED_LIMIT", 40)
    table = nas.load_table("onnxruntime", device=ELSEWHERE, tables_dir=folder / "tables")
    space = nas.load_space(str(folder / "tiny.yaml"))
    networks = {space.sample(random.Random(seed)) for seed in range(999)}
    high_ms = nas.LatencyPredictor.fit(table).predict(list(networks), 64).high_ms
    budget_ms = float(sorted(high_ms)[3])
    proxy = TINY_PROXY.model_copy(update={"train_images": 9 * 32})
    config = run_config(folder, budget_ms=budget_ms, trials=50, rungs=2, proxy=proxy)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert result.stopped == EXHAUSTED
    assert result.candidates and result.partly_trained
    assert not (tmp_path / "run" / "checkpoints").exists()


def _die(*_args):
    os._exit(9)


def test_workers_that_die_are_replaced_and_then_reported(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("nas.search.training.evaluate", _die)
    with pytest.raises(RunError, match="a training process died 3 times"):
        search(run_config(folder, trials=1), tmp_path / "run", tables_dir=folder / "tables")
    monkeypatch.undo()
    result = resume(tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len(result.candidates) == 1
