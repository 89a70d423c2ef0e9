"""The best are trained once more, longer and with another seed, before one is recommended."""

from __future__ import annotations

import json
from concurrent.futures.process import BrokenProcessPool

import pandas as pd
import pytest

from nas.architecture import Architecture
from nas.config import ProxyConfig
from nas.errors import RunError
from nas.latency.measure import Timing
from nas.report.wording import warnings
from nas.search.engine import resume, search
from nas.search.evaluate import Evaluation
from nas.search.finals import LENGTH, expected_s, final_proxy
from nas.search.listener import Listener
from tests.search.runs import THREADS, run_config
from tests.tiny import TINY_PROXY


def made_up_trainings(monkeypatch, seen, fails=lambda number: None):
    """What is best after a short training is worst after a long one."""

    def accuracy(architecture):
        return int(Architecture.from_json(architecture).id, 16) % 1000 / 1000

    def short(architecture, proxy, seed):
        return Evaluation(accuracy(architecture), False, 1.0, proxy.train_images)

    def long(architecture, proxy, seed):
        fails(len(seen))
        seen.append((Architecture.from_json(architecture).id, proxy.train_images, seed))
        return Evaluation(1 - accuracy(architecture), False, 4.0, proxy.train_images)

    monkeypatch.setattr("nas.search.training.evaluate", short)
    monkeypatch.setattr("nas.search.finals.evaluate", long)


def test_the_best_after_longer_training_is_recommended(folder, tmp_path, monkeypatch):
    seen, told = [], []
    made_up_trainings(monkeypatch, seen)
    result = search(
        run_config(folder, trials=8, finalists=3, seed=5, size_bonus=0.0),
        tmp_path / "run",
        tables_dir=folder / "tables",
        listener=Listener(finalists=lambda *event: told.append(event)),
        **THREADS,
    )
    best = sorted(result.candidates, key=lambda c: -c.score)[:3]
    assert {entry[0] for entry in seen} == {c.architecture.id for c in best}
    assert {entry[1:] for entry in seen} == {(LENGTH * TINY_PROXY.train_images, 6)}
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert result.recommended == min(best, key=lambda c: c.score)
    assert all(c.final and c.final.score == 1 - c.score for c in best)
    assert sum(c.final is not None for c in result.candidates) == 3
    trials = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert trials["final_score"].count() == 3
    content = json.loads((tmp_path / "run" / "best.json").read_text())
    assert content["final_score"] == pytest.approx(result.recommended.final.score)
    again = resume(tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len(seen) == 3 and again.recommended == result.recommended


def test_finalists_are_measured_where_that_is_possible(folder, tmp_path, monkeypatch):
    measured = []

    def measure(networks, *_):
        measured.extend(network.id for network in networks)
        return [Timing(0.5, 0.5, 1.0, 30) for _ in networks]

    made_up_trainings(monkeypatch, [])
    monkeypatch.setattr("nas.search.verify.measure_networks", measure)
    config = run_config(folder, device=None, trials=6, finalists=6)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    finalists = {c.architecture.id for c in result.candidates if c.final}
    assert len(finalists) == 6 and finalists <= set(measured)


def test_ctrl_c_leaves_the_best_score_and_the_rest_goes_on_later(folder, tmp_path, monkeypatch):
    def interrupt(number):
        if number == 2:
            raise KeyboardInterrupt

    seen: list[tuple[str, int, int]] = []
    made_up_trainings(monkeypatch, seen, interrupt)
    config = run_config(folder, trials=6, finalists=3, size_bonus=0.0)
    stopped = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert stopped.stopped == "interrupted; go on with --resume"
    assert stopped.recommended.score == max(c.score for c in stopped.candidates)
    assert any("finalists were not trained longer (interrupted" in w for w in warnings(stopped))
    made_up_trainings(monkeypatch, seen)
    result = resume(tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len({entry[0] for entry in seen}) == len(seen) == 3
    assert result.recommended.score < stopped.recommended.score
    assert not any("finalists" in w for w in warnings(result))


def test_a_worker_that_dies_is_replaced_and_the_rest_is_trained(folder, tmp_path, monkeypatch):
    deaths = []

    def die(number):
        if number == 1 and len(deaths) < 2:
            deaths.append(number)
            raise BrokenProcessPool

    seen: list[tuple[str, int, int]] = []
    made_up_trainings(monkeypatch, seen, die)
    config = run_config(folder, trials=6, finalists=3)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len(deaths) == 2 and result.recommended.final
    assert {c.architecture.id for c in result.candidates if c.final} <= {e[0] for e in seen}

    def always(number):
        raise BrokenProcessPool

    made_up_trainings(monkeypatch, seen, always)
    with pytest.raises(RunError, match="a training process died 3 times"):
        search(config, tmp_path / "again", tables_dir=folder / "tables", **THREADS)


def test_how_long_they_take_is_told_from_the_candidates(folder, study):
    assert expected_s(study, run_config(folder, finalists=4)) == 0.0
    for train_s in (10.0, 20.0):
        study.finish(study.propose(), Evaluation(0.5, False, train_s, 128))
    assert expected_s(study, run_config(folder, finalists=4)) == 4 * LENGTH * 15.0
    assert expected_s(study, run_config(folder, finalists=4, workers=3)) == 2 * LENGTH * 15.0
    assert expected_s(study, run_config(folder, finalists=1)) == 0.0


def test_a_time_limit_ends_the_candidates_early_enough(folder, tmp_path, monkeypatch):
    """By their 1 s each, three finalists take 12 s: more than half of the limit is not kept."""
    seen: list[tuple[str, int, int]] = []
    made_up_trainings(monkeypatch, seen)
    clock = iter(range(10_000))
    monkeypatch.setattr("nas.search.training.time.monotonic", lambda: float(next(clock)))
    config = run_config(folder, trials=1_000, finalists=3, time_limit_s=100)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert "time limit of 100 s reached" in result.stopped
    assert 2 < len(result.candidates) < 100 and len(seen) == 3
    assert result.recommended.final


def test_they_are_trained_as_candidates_but_longer():
    proxy = ProxyConfig(train_images=1_000, resolution=28)
    assert final_proxy(proxy) == ProxyConfig(train_images=LENGTH * 1_000, resolution=28)
