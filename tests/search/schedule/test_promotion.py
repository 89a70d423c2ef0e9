"""Successive halving in a study: who goes on, once, and what a killed run makes of it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from optuna.trial import TrialState

from nas.search.store.records import TrialStatus
from tests.search.conftest import every
from tests.search.runs import Run


@pytest.fixture
def halving(run, budget) -> Run:
    return Run(run.study, budget, run.store.folder, rungs=3)


@pytest.fixture
def two_rungs(run, budget) -> Run:
    return Run(run.study, budget, run.store.folder, rungs=2)


def quality(architecture) -> float:
    return random.Random(architecture.id).random()


def work(run: Run, total: int) -> list[tuple[str, int]]:
    """Evaluate until nothing is due: who was evaluated, with how many rungs to come."""
    done = []
    while True:
        no_more = run.trials.begun() >= total
        at_rung = run.best_at_rung(no_more=no_more)
        if at_rung is None and no_more:
            return done
        proposal = run.proposer.promote(at_rung) if at_rung else run.proposer.propose()
        to_come = proposal.rungs_to_come
        done.append((proposal.architecture.id, to_come))
        accuracy = quality(proposal.architecture) + 0.01 * (2 - to_come)
        run.evaluate(accuracy, proposal, images=100 * 3 ** (2 - to_come))


def test_the_best_third_of_each_rung_goes_on_and_nobody_twice(halving):
    done = work(halving, 27)
    assert len(set(done)) == len(done)
    at = {to_come: [name for name, rung in done if rung == to_come] for to_come in (2, 1, 0)}
    assert len(at[2]) == 27
    # Asynchronous: what was best early on went on as well.
    assert 9 <= len(at[1]) <= 14 and 3 <= len(at[0]) <= 7
    assert set(at[0]) < set(at[1]) < set(at[2])
    assert halving.trials.begun() == 27
    complete = {c.architecture.id for c in halving.board.candidates()}
    partly = {c.architecture.id for c in halving.board.partly_trained()}
    assert complete == set(at[0]) and partly == set(at[2]) - complete
    assert all(c.images in (100, 300) for c in halving.board.partly_trained())


def test_the_front_is_of_what_was_trained_in_full(halving):
    work(halving, 9)
    known = {c.number for c in halving.board.candidates()}
    assert {c.number for c in halving.board.front()} <= known
    assert all(c.accuracy == quality(c.architecture) + 0.02 for c in halving.board.candidates())


def test_seconds_of_a_training_are_those_of_all_its_parts(halving):
    work(halving, 9)  # of 1 s a part
    seconds = halving.trials.seconds()
    assert {seconds[c.number] for c in halving.board.candidates()} == {3.0}
    parts = {100: 1.0, 300: 2.0}
    assert all(seconds[c.number] == parts[c.images] for c in halving.board.partly_trained())


def test_presets_are_trained_in_full(halving, budget, space):
    preset = next(a for a in every(space) if budget.fits(a))
    halving.proposer.enqueue_initial([("published", preset)])
    assert (first := halving.proposer.propose()).origin == "published"
    assert first.rungs_to_come == 0 and halving.proposer.propose().rungs_to_come == 2


def test_only_what_has_a_checkpoint_goes_on(halving):
    work(halving, 1)
    second = halving.evaluate(1.0)
    assert halving.best_at_rung({"another"}, no_more=True) is None
    only = {second.architecture.id}
    assert halving.best_at_rung(only, no_more=True).number == second.number


def test_what_diverges_on_its_way_is_gone(halving):
    halving.evaluate(0.9)
    again = halving.proposer.promote(halving.best_at_rung(no_more=True))
    halving.evaluate(0.0, again, diverged=True)
    assert halving.best_at_rung(no_more=True) is None
    assert halving.trials.begun() == 1 and halving.trials.count(TrialStatus.DIVERGED) == 1
    assert not halving.board.candidates() and not halving.board.partly_trained()


@pytest.mark.parametrize("killed", [True, False])
def test_who_was_interrupted_on_the_way_goes_on_again(halving, budget, killed):
    first = halving.evaluate(0.9)
    proposal = halving.proposer.promote(halving.best_at_rung(no_more=True))
    assert halving.best_at_rung(no_more=True) is None
    if killed:
        halving = Run(halving.study, budget, halving.store.folder, rungs=3)
        assert halving.store.trials.recover() == 1
    else:
        halving.proposer.give_up(proposal)
    again = halving.proposer.promote(halving.best_at_rung(no_more=True))
    assert (again.architecture, again.rungs_to_come) == (first.architecture, 1)
    assert halving.trials.count(TrialStatus.INTERRUPTED) == 1 and halving.trials.begun() == 1
    waiting = halving.study.get_trials(states=[TrialState.WAITING])
    assert not any("continues" in trial.user_attrs for trial in waiting)


def test_never_promoted_are_those_that_cannot_be_among_the_best(two_rungs):
    for number in range(6):
        two_rungs.evaluate(number / 10)
    never = two_rungs.never_promoted(6)
    best = two_rungs.best_at_rung(no_more=True).architecture.id
    assert len(never) == 3 and best not in never  # of 2 promoted one may diverge
    assert two_rungs.never_promoted(18) == set()


def test_whoever_would_be_promoted_still_has_a_checkpoint(halving):
    """With the checkpoints that are really there."""
    kept: set[str] = set()
    for _ in range(27):
        proposal = halving.proposer.propose()
        while proposal:
            to_come = proposal.rungs_to_come
            accuracy = quality(proposal.architecture) + 0.01 * (2 - to_come)
            halving.evaluate(accuracy, proposal, images=100 * 3 ** (2 - to_come))
            kept = (kept | {proposal.architecture.id}) - halving.never_promoted(27)
            at_rung = halving.best_at_rung()
            assert at_rung is None or at_rung.architecture.id in kept
            proposal = halving.proposer.promote(at_rung) if at_rung else None


def test_where_the_promoted_one_diverges_the_next_best_is_promoted(two_rungs):
    for accuracy in (0.9, 0.8):
        two_rungs.evaluate(accuracy)
    first = two_rungs.proposer.promote(two_rungs.best_at_rung(no_more=True))
    assert two_rungs.best_at_rung(no_more=True) is None  # while that is open
    two_rungs.evaluate(0.0, first, diverged=True)
    able = {r.architecture.id for r in two_rungs.trials.at_rung()} - two_rungs.never_promoted(2)
    second = two_rungs.proposer.promote(two_rungs.best_at_rung(able, no_more=True))
    assert second.architecture != first.architecture
    two_rungs.evaluate(0.8, second)
    assert len(two_rungs.board.candidates()) == 1
    assert two_rungs.best_at_rung(no_more=True) is None


def test_over_the_budget_nobody_is_promoted(halving, budget):
    halving.evaluate(0.9)
    (device,) = budget.devices
    halving.board.budget = replace(budget, devices=(replace(device, budget_ms=1e-3),))
    assert halving.best_at_rung(no_more=True) is None
