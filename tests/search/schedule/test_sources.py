"""The best are trained once more, longer and with another seed, before one is recommended."""

from __future__ import annotations

import json
from concurrent.futures.process import BrokenProcessPool

import pandas as pd
import pytest

from nas.accuracy.data.dataset import load_data
from nas.accuracy.evaluator import Evaluation
from nas.accuracy.training import ProxyTraining
from nas.api import resume, search
from nas.errors import ConfigError
from nas.measurement.protocol import Timing
from nas.report.score_wording import longer_text
from nas.report.wording import warnings
from nas.results.values import SEARCHED, LongerTraining, StopReason
from nas.search import trial_runner
from nas.search.callbacks import Listener
from nas.search.recommendation import recommend
from nas.search.schedule.sources import (
    LONGER,
    CandidateSource,
    FinalistSource,
    finalists_s,
)
from nas.search.stopping import PATIENCE_S, PATIENCE_SHARE, TimeLimit
from nas.search.store.study_notes import EarlierTrial
from nas.search.warm_start import take_over
from tests.search.conftest import every
from tests.search.runs import THREADS, is_longer, made_up, measured_of, run_config
from tests.tiny import TINY_PROXY


def made_up_trainings(monkeypatch, seen, fails=lambda number: None):
    """What is best after a short training is worst after a long one, and by the mean of both."""

    def evaluate(request):
        accuracy = int(request.architecture.id, 16) % 1000 / 2000
        if not is_longer(request):
            return Evaluation(accuracy, request.images, seconds=1.0)
        fails(len(seen))
        seen.append((request.architecture.id, request.images, request.seed))
        return Evaluation(1 - 2 * accuracy, request.images, seconds=4.0)

    monkeypatch.setattr("nas.search.trial_runner.evaluate_here", made_up(evaluate))


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
    assert {entry[1:] for entry in seen} == {(LONGER * TINY_PROXY.train_images, 6)}
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert result.recommended == min(best, key=lambda c: c.score)
    assert all(c.longer and c.longer.score == 1 - 2 * c.score for c in best)
    assert sum(c.longer is not None for c in result.candidates) == 3
    trials = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert trials["longer_score"].count() == 3
    content = json.loads((tmp_path / "run" / "best.json").read_text())
    assert content["longer_score"] == pytest.approx(result.recommended.longer.score)
    again = resume(tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len(seen) == 3 and again.recommended == result.recommended


def test_both_trainings_decide(run):
    """Neither what was best after the short nor what was best after the long one, but the mean."""
    for short, long in ((0.70, 0.80), (0.69, 0.84), (0.65, 0.85)):
        proposal = run.evaluate(short)
        run.store.notes.record_longer(proposal.architecture, LongerTraining(long, 0.0, 512))
    assert recommend(run.board, [], finalists=3).accuracy == 0.69
    assert recommend(run.board, [], finalists=0).accuracy == 0.70


def test_finalists_are_measured_where_that_is_possible(folder, tmp_path, monkeypatch):
    measured = []

    def measure(networks, *_):
        measured.extend(network.id for network in networks)
        return [Timing(0.5, 0.5, 1.0, 30) for _ in networks]

    made_up_trainings(monkeypatch, [])
    monkeypatch.setattr("nas.search.verification.measure_networks", measure)
    config = run_config(folder, device=None, trials=6, finalists=6)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    finalists = {c.architecture.id for c in result.candidates if c.longer}
    assert len(finalists) == 6 and finalists <= set(measured)


def test_ctrl_c_leaves_the_best_score_and_the_rest_goes_on_later(folder, tmp_path, monkeypatch):
    def interrupt(number):
        if number == 2:
            raise KeyboardInterrupt

    seen: list[tuple[str, int, int]] = []
    made_up_trainings(monkeypatch, seen, interrupt)
    config = run_config(folder, trials=6, finalists=3, size_bonus=0.0)
    stopped = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert stopped.stopped is StopReason.INTERRUPTED
    assert stopped.recommended.longer  # of the two that were trained longer
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
        if number == 1 and not deaths:
            deaths.append(number)
            raise BrokenProcessPool

    seen: list[tuple[str, int, int]] = []
    made_up_trainings(monkeypatch, seen, die)
    config = run_config(folder, trials=6, finalists=3)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len(deaths) == 1 and result.recommended.longer
    assert {c.architecture.id for c in result.candidates if c.longer} == {e[0] for e in seen}
    assert len(seen) == 3

    def always(number):
        raise BrokenProcessPool

    made_up_trainings(monkeypatch, seen, always)
    result = search(config, tmp_path / "again", tables_dir=folder / "tables", **THREADS)
    failed = [c for c in result.candidates if c.longer]
    assert len(failed) == 3
    assert {longer_text(c).partition(", ")[0] for c in failed} == {
        "failed when trained longer: its process died"
    }
    assert "failed in the longer training of 3 finalists" in " ".join(warnings(result))
    assert result.recommended.score == max(c.score for c in result.candidates if c not in failed)
    assert (tmp_path / "again" / "report.html").exists()


def test_how_long_they_take_is_told_from_their_short_training(folder, run):
    def expected_s(**changes) -> float:
        return finalists_s(run.store, run.board, run_config(folder, **changes))

    assert expected_s(finalists=4) == 0.0
    for seconds, accuracy in ((10.0, 0.7), (20.0, 0.6), (5.0, 0.1)):
        run.evaluate(accuracy, seconds=seconds)
    assert expected_s(finalists=2) == LONGER * 30.0
    assert expected_s(finalists=4) == LONGER * 35.0
    assert expected_s(finalists=2, workers=8) == LONGER * 15.0
    assert expected_s(finalists=1) == 0.0
    best = run.board.finalists(1)[0].architecture
    run.store.notes.record_longer(best, LongerTraining(0.9, 0.0, 512))
    assert expected_s(finalists=2) == LONGER * 20.0


def test_what_an_earlier_run_trained_takes_as_long_as_the_others(folder, run, budget):
    def expected_s(finalists: int) -> float:
        return finalists_s(run.store, run.board, run_config(folder, finalists=finalists))

    inside = [a for a in every(budget.space) if budget.fits(a)]
    take_over(run.store, run.board, [EarlierTrial(inside[0], 0.9, 0, SEARCHED, 128)])
    assert expected_s(2) == 0.0
    while len(run.board.candidates()) < 3:
        run.evaluate(0.5, seconds=8.0 + 4.0 * len(run.board.candidates()))
    assert expected_s(3) == LONGER * (14.0 + 12.0 + 16.0)


@pytest.mark.parametrize(
    ("longest_s", "patience_s"), [(1.0, PATIENCE_S), (100.0, PATIENCE_SHARE * 100.0)]
)
def test_what_takes_unusually_long_hangs_once_the_time_is_up(folder, run, longest_s, patience_s):
    now, config = [0.0], run_config(folder, finalists=2, time_limit_s=1000.0)
    limit = TimeLimit(config.time_limit_s, lambda: now[0])
    for _ in range(2):
        run.evaluate(0.5, seconds=longest_s)
    finalists = FinalistSource(run.store, run.board, config, limit, Listener())
    final = finalists.next([])
    with run.store.notes.timed() as clock:
        places = (run.store, run.board, run.proposer, config, 9, limit, clock, "predicted")
        candidates = CandidateSource(*places, Listener(), False)
        job = candidates.next([])
        assert not candidates.hangs(job, 1e6) and not finalists.hangs(final, 1e6)
        now[0] = 999.0  # what is left is for the finalists
        assert not finalists.hangs(final, 1e6)
        assert candidates.hangs(job, patience_s + 1) and not candidates.hangs(job, patience_s - 1)
    now[0] = 1001.0
    longer_s = max(PATIENCE_S, PATIENCE_SHARE * LONGER * longest_s)
    assert finalists.hangs(final, longer_s + 1) and not finalists.hangs(final, longer_s - 1)


def test_while_nothing_has_finished_an_evaluation_may_take_ten_minutes(folder, run):
    now, config = [0.0], run_config(folder, time_limit_s=10.0)
    limit = TimeLimit(config.time_limit_s, lambda: now[0])
    with run.store.notes.timed() as clock:
        places = (run.store, run.board, run.proposer, config, 9, limit, clock, "predicted")
        candidates = CandidateSource(*places, Listener(), False)
        job = candidates.next([])
        now[0] = 11.0
        assert not candidates.hangs(job, 599.0) and candidates.hangs(job, 601.0)


def test_finalists_after_rungs_are_trained_in_one_part(folder, tmp_path):
    proxy = TINY_PROXY.model_copy(update={"train_images": 9 * 16, "batch_size": 16})
    config = run_config(folder, trials=9, rungs=2, proxy=proxy, finalists=2)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    finalists = [c for c in result.candidates if c.longer]
    assert len(finalists) == 2 and result.partly_trained
    assert {c.longer.images for c in finalists} == {LONGER * 9 * 16}
    longer = proxy.model_copy(update={"train_images": LONGER * 9 * 16})
    whole = ProxyTraining(finalists[0].architecture, load_data(proxy), longer, config.seed + 1)
    whole.run()
    assert finalists[0].longer.accuracy == whole.result().accuracy
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
    assert result.stopped is StopReason.TIME_LIMIT_OF_CANDIDATES
    assert f"time limit of {limit_s:g} s" in " ".join(warnings(result))
    assert (len(result.candidates), len(seen)) == (candidates, finalists)
    assert (result.unfinished_finalists is not None) == (finalists == 2)


def test_newcomers_are_compared_with_those_of_before(folder, tmp_path, monkeypatch):
    seen: list[tuple[str, int, int]] = []
    made_up_trainings(monkeypatch, seen)
    places = {"tables_dir": folder / "tables", **THREADS}
    config = run_config(folder, trials=4, finalists=2, size_bonus=0.0)
    first = search(config, tmp_path / "run", **places)
    more = resume(tmp_path / "run", trials=10, **places)
    compared = [c for c in more.candidates if c.longer]
    assert len(compared) == len(seen) > 2
    assert more.recommended == max(compared, key=lambda c: c.score + c.longer.score)
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
    short = trial_runner.evaluate_here

    def evaluate(evaluator, requests):
        if is_longer(requests[0]):
            return [Evaluation(0.5, 64, 4.0, diverged=next(told) < diverging)]
        return short(evaluator, requests)

    monkeypatch.setattr("nas.search.trial_runner.evaluate_here", evaluate)
    config = run_config(folder, trials=6, finalists=3)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    diverged = [c for c in result.candidates if c.longer and c.longer.diverged]
    assert len(diverged) == diverging
    assert {longer_text(c) for c in diverged} == {"diverged when trained longer"}
    assert result.recommended not in diverged
    sound = [c for c in result.candidates if c not in diverged]
    # With two of three there is nothing left to compare.
    assert result.recommended.longer if diverging < 3 else result.recommended.longer is None
    assert diverging == 1 or result.recommended == max(sound, key=lambda c: c.score)
    trials = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert trials["longer_images"].count() == 3
    assert trials["longer_score"].count() == 3 - diverging


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
    assert gone.longer and measured_of(gone).latency_ms == pytest.approx(1.0)
    finals = [c for c in result.candidates if c.longer and c != gone]
    assert len(seen) == 4 and len(finals) == 3
    assert result.recommended == max(finals, key=lambda c: c.score + c.longer.score)
    assert measured_of(result.recommended).runs == 60
