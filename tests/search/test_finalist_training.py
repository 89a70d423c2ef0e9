"""The best are trained once more, longer and with another seed, before one is recommended."""

from __future__ import annotations

import json
from concurrent.futures.process import BrokenProcessPool

import pandas as pd
import pytest

from nas.accuracy.data.dataset import load_data
from nas.accuracy.short_training import Evaluation
from nas.accuracy.training import ProxyTraining
from nas.api import resume, search
from nas.config import ProxyConfig
from nas.errors import ConfigError
from nas.measurement.protocol import Timing
from nas.report.wording import final_text, warnings
from nas.results.values import SEARCHED
from nas.search.callbacks import Listener
from nas.search.finalist_training import LENGTH, expected_s, final_proxy
from nas.search.recommendation import recommend
from nas.search.time_limit import TimeLimit
from nas.search.warm_start import EarlierTrial
from nas.space.architecture import Architecture
from tests.search.conftest import every
from tests.search.runs import THREADS, run_config
from tests.tiny import TINY_PROXY


def made_up_trainings(monkeypatch, seen, fails=lambda number: None):
    """What is best after a short training is worst after a long one, and by the mean of both."""

    def accuracy(architecture):
        return int(Architecture.from_json(architecture).id, 16) % 1000 / 2000

    def short(architecture, proxy, seed):
        return Evaluation(accuracy(architecture), False, 1.0, proxy.train_images)

    def long(architecture, proxy, seed):
        fails(len(seen))
        seen.append((Architecture.from_json(architecture).id, proxy.train_images, seed))
        return Evaluation(1 - 2 * accuracy(architecture), False, 4.0, proxy.train_images)

    monkeypatch.setattr("nas.search.candidate_training.evaluate", short)
    monkeypatch.setattr("nas.search.finalist_training.evaluate", long)


def test_the_best_of_both_trainings_is_recommended(folder, tmp_path, monkeypatch):
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
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert result.recommended == min(best, key=lambda c: c.score)
    assert all(c.final and c.final.score == 1 - 2 * c.score for c in best)
    assert sum(c.final is not None for c in result.candidates) == 3
    trials = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert trials["final_score"].count() == 3
    content = json.loads((tmp_path / "run" / "best.json").read_text())
    assert content["final_score"] == pytest.approx(result.recommended.final.score)
    again = resume(tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len(seen) == 3 and again.recommended == result.recommended


def test_both_trainings_decide(study):
    """Neither what was best after the short nor what was best after the long one, but the mean."""
    for short, long in ((0.70, 0.80), (0.69, 0.84), (0.65, 0.85)):
        study.finish(proposal := study.propose(), Evaluation(short, False, 1.0, 128))
        study.record_final(proposal.architecture, Evaluation(long, False, 4.0, 512))
    short_of = {c.number: c.accuracy for c in study.candidates()}
    assert short_of[recommend(study, [], finalists=3)] == 0.69
    assert short_of[recommend(study, [], finalists=0)] == 0.70


def test_finalists_are_measured_where_that_is_possible(folder, tmp_path, monkeypatch):
    measured = []

    def measure(networks, *_):
        measured.extend(network.id for network in networks)
        return [Timing(0.5, 0.5, 1.0, 30) for _ in networks]

    made_up_trainings(monkeypatch, [])
    monkeypatch.setattr("nas.search.verification.measure_networks", measure)
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
    assert stopped.recommended.final  # of the two that were trained longer
    assert "1 of 3 finalists were not trained longer: interrupted" in " ".join(warnings(stopped))
    made_up_trainings(monkeypatch, seen)
    result = resume(tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len({entry[0] for entry in seen}) == len(seen) == 3
    best = sorted(result.candidates, key=lambda c: -c.score)[:3]
    assert result.recommended == min(best, key=lambda c: c.score)
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
    assert {c.architecture.id for c in result.candidates if c.final} == {e[0] for e in seen}
    assert len(seen) == 3

    def always(number):
        raise BrokenProcessPool

    made_up_trainings(monkeypatch, seen, always)
    result = search(config, tmp_path / "again", tables_dir=folder / "tables", **THREADS)
    assert "3 of 3 finalists were not trained longer: a training process died 3 times" in str(
        result.undecided
    )
    assert result.recommended.score == max(c.score for c in result.candidates)
    assert (tmp_path / "again" / "report.html").exists()


def test_how_long_they_take_is_told_from_their_short_training(folder, study):
    assert expected_s(study, run_config(folder, finalists=4)) == 0.0
    for train_s, accuracy in ((10.0, 0.7), (20.0, 0.6), (5.0, 0.1)):
        study.finish(study.propose(), Evaluation(accuracy, False, train_s, 128))
    assert expected_s(study, run_config(folder, finalists=2)) == LENGTH * 30.0
    assert expected_s(study, run_config(folder, finalists=4)) == LENGTH * 35.0
    assert expected_s(study, run_config(folder, finalists=2, workers=8)) == LENGTH * 15.0
    assert expected_s(study, run_config(folder, finalists=1)) == 0.0
    study.record_final(study.finalists(1)[0].architecture, Evaluation(0.9, False, 40.0, 512))
    assert expected_s(study, run_config(folder, finalists=2)) == LENGTH * 20.0


def test_what_an_earlier_run_trained_takes_as_long_as_the_others(folder, study, budget):
    inside = [a for a in every(budget.space) if budget.fits(a)]
    study.remember([EarlierTrial(inside[0], 0.9, 0, SEARCHED, 128)])
    assert expected_s(study, run_config(folder, finalists=2)) == 0.0
    while len(study.candidates()) < 3:
        proposal = study.propose()
        study.finish(proposal, Evaluation(0.5, False, 8.0 + 4.0 * len(study.candidates()), 128))
    assert expected_s(study, run_config(folder, finalists=3)) == LENGTH * (14.0 + 12.0 + 16.0)


def test_finalists_after_rungs_are_trained_in_one_part(folder, tmp_path):
    proxy = TINY_PROXY.model_copy(update={"train_images": 9 * 32})
    config = run_config(folder, trials=9, rungs=2, proxy=proxy, finalists=2)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    finalists = [c for c in result.candidates if c.final]
    assert len(finalists) == 2 and result.partly_trained
    assert {c.final.images for c in finalists} == {LENGTH * 9 * 32}
    whole = ProxyTraining(
        finalists[0].architecture, load_data(proxy), final_proxy(proxy), config.seed + 1
    )
    whole.run()
    assert finalists[0].final.accuracy == whole.result().accuracy
    assert result.recommended in finalists


class Clock:
    """Moves on by what is trained, 1 s a candidate and 4 s a finalist; else it stands still."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("nas.search.loop.TimeLimit", lambda s: TimeLimit(s, lambda: self.now))

    def listener(self) -> Listener:
        return Listener(trained=lambda _: self.move(1.0), finalists=self.finalist)

    def finalist(self, done, total) -> None:
        self.move(4.0 if done else 0.0)

    def move(self, seconds) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("limit_s", "candidates", "finalists"),
    [
        (30.0, 18, 3),  # 12 s are kept for three finalists
        (20.0, 10, 3),  # but at most half
        (10.0, 5, 2),  # so that the third does not begin
        (0.5, 1, 0),
    ],
)
def test_a_time_limit_leaves_time_for_them(
    folder, tmp_path, monkeypatch, limit_s, candidates, finalists
):
    seen: list[tuple[str, int, int]] = []
    made_up_trainings(monkeypatch, seen)
    clock = Clock(monkeypatch)
    config = run_config(folder, trials=50, finalists=3, time_limit_s=limit_s)
    result = search(
        config,
        tmp_path / "run",
        tables_dir=folder / "tables",
        listener=clock.listener(),
        **THREADS,
    )
    assert f"time limit of {limit_s:g} s" in result.stopped
    assert (len(result.candidates), len(seen)) == (candidates, finalists)
    assert (result.undecided is not None) == (finalists == 2)


def test_newcomers_are_compared_with_those_of_before(folder, tmp_path, monkeypatch):
    seen: list[tuple[str, int, int]] = []
    made_up_trainings(monkeypatch, seen)
    places = {"tables_dir": folder / "tables", **THREADS}
    config = run_config(folder, trials=4, finalists=2, size_bonus=0.0)
    first = search(config, tmp_path / "run", **places)
    more = resume(tmp_path / "run", trials=10, **places)
    compared = [c for c in more.candidates if c.final]
    assert len(compared) == len(seen) > 2
    assert more.recommended == max(compared, key=lambda c: c.score + c.final.score)
    assert first.recommended.architecture in {c.architecture for c in compared}
    by_score = resume(tmp_path / "run", finalists=0, **places)
    assert by_score.recommended.score == max(c.score for c in by_score.candidates)
    with pytest.raises(ConfigError, match="--finalists 1001: "):
        resume(tmp_path / "run", finalists=1001, **places)
    assert resume(tmp_path / "run", **places).recommended == by_score.recommended


@pytest.mark.parametrize("diverging", [1, 2, 3])
def test_what_diverges_is_not_compared(folder, tmp_path, monkeypatch, diverging):
    made_up_trainings(monkeypatch, [])
    told = iter(range(3))

    def long(architecture, proxy, seed):
        return Evaluation(0.5, next(told) < diverging, 4.0, 64)

    monkeypatch.setattr("nas.search.finalist_training.evaluate", long)
    config = run_config(folder, trials=6, finalists=3)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    diverged = [c for c in result.candidates if c.final and c.final.diverged]
    assert len(diverged) == diverging
    assert {final_text(c) for c in diverged} == {"diverged when trained longer"}
    assert result.recommended not in diverged
    sound = [c for c in result.candidates if c not in diverged]
    # With two of three there is nothing left to compare.
    assert result.recommended.final if diverging < 3 else result.recommended.final is None
    assert diverging == 1 or result.recommended == max(sound, key=lambda c: c.score)
    trials = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert trials["final_images"].count() == 3
    assert trials["final_score"].count() == 3 - diverging


def test_they_are_trained_as_candidates_but_longer():
    proxy = ProxyConfig(train_images=1_000, resolution=28)
    assert final_proxy(proxy) == ProxyConfig(train_images=LENGTH * 1_000, resolution=28)


def test_what_takes_the_place_of_a_finalist_lost_at_last_is_trained_as_well(
    folder, tmp_path, monkeypatch
):
    """The best is over the budget when it is measured once more."""
    seen: list[tuple[str, int, int]] = []
    measured: set[str] = set()
    lost: list[str] = []

    def measure(networks, *_):
        again = [network.id for network in networks if network.id in measured]
        measured.update(network.id for network in networks)
        if again and not lost:
            lost.extend(again)
            return [Timing(2.0, 0.5, 1.0, 30)]
        return [Timing(0.5, 0.5, 1.0, 30) for _ in networks]

    made_up_trainings(monkeypatch, seen)
    monkeypatch.setattr("nas.search.verification.measure_networks", measure)
    config = run_config(folder, device=None, trials=8, finalists=3)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    gone = next(c for c in result.candidates if c.architecture.id == lost[0])
    assert gone.final and gone.measured.latency_ms == pytest.approx(1.0)
    finals = [c for c in result.candidates if c.final and c != gone]
    assert len(seen) == 4 and len(finals) == 3
    assert result.recommended == max(finals, key=lambda c: c.score + c.final.score)
    assert result.recommended.measured.runs == 60
