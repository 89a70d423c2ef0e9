"""Proposals: nothing over budget or known is evaluated, nothing finished is lost."""

from __future__ import annotations

from dataclasses import replace

from optuna.trial import TrialState

from nas.accuracy.evaluator import EvaluationFailure
from nas.results.values import SEARCHED
from nas.search.schedule.proposals import INITIAL_CANDIDATES
from nas.search.store.records import TrialStatus
from nas.space.architecture_files import load_architecture
from tests.search.conftest import every
from tests.search.runs import Run


def test_finds_every_architecture_within_budget_and_then_says_so(run, budget, space):
    fitting = {a for a in every(space) if budget.fits(a)}
    found = set()
    while (proposal := run.proposer.propose()) is not None:
        assert proposal.architecture not in found
        found.add(proposal.architecture)
        run.evaluate(0.5, proposal)
    assert found <= fitting
    assert len(found) >= 0.9 * len(fitting)
    assert run.trials.count(TrialStatus.OVER_LIMIT) > 0


def test_over_budget_proposals_carry_how_far_they_are_over(run):
    while not run.trials.count(TrialStatus.OVER_LIMIT):
        run.evaluate(0.5)
    trials = run.study.get_trials(states=[TrialState.PRUNED])
    constraints = [trial.constraints["over_limit_0"] for trial in trials]
    assert all(value > 0 for value in constraints)
    complete = run.study.get_trials(states=[TrialState.COMPLETE])
    assert all(trial.constraints["over_limit_0"] <= 0 for trial in complete)


def test_presets_that_fit_come_first_and_only_once(run, budget, space):
    inside = [a for a in every(space) if budget.fits(a)][:2]
    outside = next(a for a in every(space) if not budget.fits(a))
    presets = [
        ("first", inside[0]),
        ("too slow", outside),
        ("second", inside[1]),
        ("of another space", load_architecture("nextvit-small")),
    ]
    run.proposer.enqueue_initial(presets)
    run.proposer.enqueue_initial(presets)
    waiting = run.study.get_trials(states=[TrialState.WAITING])
    assert len(waiting) <= 2 + INITIAL_CANDIDATES
    assert [run.proposer.propose().origin for _ in range(2)] == ["first", "second"]


def test_an_interrupted_trial_runs_again(run):
    proposal = run.proposer.propose()
    run.proposer.give_up(proposal)
    again = run.proposer.propose()
    assert again.architecture == proposal.architecture
    assert run.trials.count(TrialStatus.INTERRUPTED) == 1
    assert run.trials.begun() == 0


def test_a_killed_run_is_recovered(run, budget, tmp_path):
    done = run.evaluate(0.7)
    lost = run.proposer.propose()
    revived = Run(run.study, budget, tmp_path)
    assert revived.store.trials.recover() == 1
    assert revived.proposer.propose().architecture == lost.architecture
    assert [c.architecture for c in revived.board.candidates()] == [done.architecture]
    assert revived.store.trials.recover() == 1  # the proposal above was never evaluated


def test_a_preset_killed_while_it_was_proposed_is_not_lost(run, budget, space, tmp_path):
    preset = next(a for a in every(space) if budget.fits(a))
    run.proposer.enqueue_initial([("first", preset)])
    run.study.ask()  # none of its parameters was drawn
    revived = Run(run.study, budget, tmp_path)
    assert revived.store.trials.recover() == 1
    proposals = [revived.proposer.propose() for _ in range(INITIAL_CANDIDATES + 1)]
    assert [p.architecture for p in proposals if p.origin == "first"] == [preset]


def test_a_run_killed_while_it_queued_queues_the_rest(run, budget, space):
    presets = [(str(i), a) for i, a in enumerate(a for a in every(space) if budget.fits(a))][:3]
    run.study.enqueue_trial(space.params(presets[0][1]), user_attrs={"origin": "0"})
    run.proposer.enqueue_initial(presets)
    proposals = [run.proposer.propose() for _ in range(3)]
    assert [(p.origin, p.architecture) for p in proposals] == presets


def test_what_was_over_the_limits_may_be_trained_where_it_no_longer_is(
    run, budget, space, tmp_path
):
    over = next(a for a in every(space) if not budget.fits(a))
    run.store.trials.enqueue(space.params(over), SEARCHED)
    run.evaluate(0.5)
    assert over in [r.architecture for r in run.trials.of(TrialStatus.OVER_LIMIT)]
    wider = replace(budget, devices=(replace(budget.devices[0], budget_ms=1e9),))
    again = Run(run.study, wider, tmp_path)
    again.store.trials.enqueue(space.params(over), SEARCHED)
    assert again.proposer.propose().architecture == over


def test_a_diverged_candidate_is_kept_out_of_the_front(run):
    bad, good = run.proposer.propose(), run.proposer.propose()
    run.evaluate(0.0, bad, diverged=True)
    run.evaluate(0.6, good)
    assert [c.architecture for c in run.board.front()] == [good.architecture]
    assert run.trials.count(TrialStatus.DIVERGED) == 1
    assert run.trials.begun() == 2
    pruned = len(run.study.get_trials(states=[TrialState.PRUNED]))
    assert run.trials.count(TrialStatus.OVER_LIMIT) == pruned - 1


def test_a_failed_candidate_keeps_its_message_and_is_not_tried_again(run, space):
    failed = run.proposer.propose()
    run.store.trials.fail(failed.number, EvaluationFailure("ValueError: no", "Traceback"))
    (record,) = run.trials.of(TrialStatus.FAILED)
    assert (record.architecture, record.message) == (failed.architecture, "ValueError: no")
    assert run.trials.begun() == 1 and not run.board.candidates()
    run.store.trials.enqueue(space.params(failed.architecture), SEARCHED)
    assert run.proposer.propose().architecture != failed.architecture
