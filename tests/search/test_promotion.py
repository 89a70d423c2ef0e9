"""Successive halving in a study: who goes on, once, and what a killed run makes of it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from optuna.trial import TrialState

from nas.accuracy.short_training import Evaluation
from nas.search.promotion import best_stopped, go_on, hopeless
from nas.search.store.study import SearchStudy
from nas.search.store.trials import CONTINUES
from tests.search.conftest import every


class Everything:
    """A container that holds whatever it is asked for."""

    def __contains__(self, _: object) -> bool:
        return True


@pytest.fixture
def halving(study) -> SearchStudy:
    study.rungs = 3
    return study


def quality(architecture) -> float:
    return random.Random(architecture.id).random()


def work(study: SearchStudy, trials: int) -> list[tuple[str, int]]:
    """Train until nothing is left to do: who was trained, with how many rungs to come."""
    done = []
    while True:
        over = study.trials.begun() >= trials
        stopped = best_stopped(study, Everything(), over)
        if stopped is None and over:
            return done
        proposal = go_on(study, stopped) if stopped else study.propose()
        done.append((proposal.architecture.id, proposal.left))
        accuracy = quality(proposal.architecture) + 0.01 * (2 - proposal.left)
        study.finish(proposal, Evaluation(accuracy, False, 1.0, 100 * 3 ** (2 - proposal.left)))


def test_the_best_third_of_each_rung_goes_on_and_nobody_twice(halving):
    done = work(halving, 27)
    assert len(set(done)) == len(done)
    at = {left: [name for name, trained in done if trained == left] for left in (2, 1, 0)}
    assert len(at[2]) == 27
    # Asynchronous: what was best early on went on as well.
    assert 9 <= len(at[1]) <= 14 and 3 <= len(at[0]) <= 7
    assert set(at[0]) < set(at[1]) < set(at[2])
    assert halving.trials.begun() == 27
    complete = {c.architecture.id for c in halving.candidates()}
    partly = {c.architecture.id for c in halving.partly_trained()}
    assert complete == set(at[0]) and partly == set(at[2]) - complete
    assert all(c.images in (100, 300) for c in halving.partly_trained())


def test_the_front_is_of_what_was_trained_in_full(halving):
    work(halving, 9)
    known = {c.number for c in halving.candidates()}
    assert {c.number for c in halving.front()} <= known
    assert all(c.accuracy == quality(c.architecture) + 0.02 for c in halving.candidates())


def test_seconds_of_a_training_are_those_of_all_its_parts(halving):
    work(halving, 9)  # of 1 s a part
    seconds = halving.trials.train_s()
    assert {seconds[c.number] for c in halving.candidates()} == {3.0}
    parts = {100: 1.0, 300: 2.0}
    assert all(seconds[c.number] == parts[c.images] for c in halving.partly_trained())


def test_presets_are_trained_in_full(halving, budget, space):
    preset = next(a for a in every(space) if budget.fits(a))
    halving.begin([("published", preset)])
    assert (first := halving.propose()).origin == "published"
    assert first.left == 0 and halving.propose().left == 2


def test_only_what_has_a_checkpoint_goes_on(halving):
    work(halving, 1)
    second = halving.propose()
    halving.finish(second, Evaluation(1.0, False, 1.0, 100))
    assert best_stopped(halving, {"another"}, over=True) is None
    assert best_stopped(halving, {second.architecture.id}, over=True).number == second.trial.number


def test_what_diverges_on_its_way_is_gone(halving):
    first = halving.propose()
    halving.finish(first, Evaluation(0.9, False, 1.0, 100))
    again = go_on(halving, best_stopped(halving, Everything(), over=True))
    halving.finish(again, Evaluation(0.0, True, 1.0, 120))
    assert best_stopped(halving, Everything(), over=True) is None
    assert halving.trials.begun() == 1 and halving.trials.diverged() == 1
    assert not halving.candidates() and not halving.partly_trained()


@pytest.mark.parametrize("killed", [True, False])
def test_who_was_interrupted_on_the_way_goes_on_again(halving, budget, killed):
    first = halving.propose()
    halving.finish(first, Evaluation(0.9, False, 1.0, 100))
    proposal = go_on(halving, best_stopped(halving, Everything(), over=True))
    assert best_stopped(halving, Everything(), over=True) is None
    if killed:
        halving = SearchStudy(halving.study, budget, seed=0, rungs=3)
        assert halving.recover() == 1
    else:
        halving.interrupt(proposal)
    again = go_on(halving, best_stopped(halving, Everything(), over=True))
    assert (again.architecture, again.left) == (first.architecture, 1)
    assert halving.trials.interrupted() == 1 and halving.trials.begun() == 1
    waiting = halving.study.get_trials(states=[TrialState.WAITING])
    assert not any(CONTINUES in trial.user_attrs for trial in waiting)


def test_hopeless_are_those_that_cannot_be_among_the_best(halving):
    halving.rungs = 2
    for number in range(6):
        proposal = halving.propose()
        halving.finish(proposal, Evaluation(number / 10, False, 1.0, 100))
    gone = hopeless(halving, trials=6)
    best = best_stopped(halving, Everything(), over=True).user_attrs["id"]
    assert len(gone) == 3 and best not in gone  # of 2 that go on one may diverge
    assert hopeless(halving, trials=18) == set()


def test_whoever_would_go_on_has_not_been_given_up(halving):
    """With the checkpoints that are really there."""
    kept: set[str] = set()
    for _ in range(27):
        proposal = halving.propose()
        while proposal:
            accuracy = quality(proposal.architecture) + 0.01 * (2 - proposal.left)
            images = 100 * 3 ** (2 - proposal.left)
            halving.finish(proposal, Evaluation(accuracy, False, 1.0, images))
            kept = (kept | {proposal.architecture.id}) - hopeless(halving, trials=27)
            stopped = best_stopped(halving, Everything())
            assert stopped is None or stopped.user_attrs["id"] in kept
            proposal = go_on(halving, stopped) if stopped else None


def test_where_the_one_that_was_to_go_on_diverges_the_next_best_does(halving):
    halving.rungs = 2
    for accuracy in (0.9, 0.8):
        halving.finish(halving.propose(), Evaluation(accuracy, False, 1.0, 100))
    first = go_on(halving, best_stopped(halving, Everything(), over=True))
    assert best_stopped(halving, Everything(), over=True) is None  # while that is open
    halving.finish(first, Evaluation(0.0, True, 1.0, 120))
    able = {t.user_attrs["id"] for t in halving.trials.stopped()} - hopeless(halving, trials=2)
    second = go_on(halving, best_stopped(halving, able, over=True))
    assert second.architecture != first.architecture
    halving.finish(second, Evaluation(0.8, False, 1.0, 300))
    assert len(halving.candidates()) == 1
    assert best_stopped(halving, Everything(), over=True) is None


def test_over_the_budget_nobody_goes_on(halving, budget):
    proposal = halving.propose()
    halving.finish(proposal, Evaluation(0.9, False, 1.0, 100))
    (device,) = budget.devices
    halving.budget = replace(budget, devices=(replace(device, budget_ms=1e-3),))
    assert best_stopped(halving, Everything(), over=True) is None
