"""Which candidates that stopped at a rung are trained further, and which never will be."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.results.values import SEARCHED
from nas.search.rungs import next_to_go_on, ranking, share_of
from nas.search.store.study import Proposal, SearchStudy, set_constraints
from nas.search.store.trials import CONTINUES, STOPPED, Stopped
from nas.space.architecture import Architecture

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_GO_ON = 0.5
"""Share of a rung's candidates taken to reach the next: as nobody waits for the others, more than
the best third (two fifths to half of 18: benchmarks/multi_fidelity.py)."""

SPARE = 1
"""Candidates of a rung that could go on beside those that are to: one of these may diverge."""


def best_stopped(
    study: SearchStudy, able: Container[str], over: bool = False
) -> FrozenTrial | None:
    """What is to be trained further, None if nothing should be.

    The highest rung comes first: what is nearest to its end.

    Args:
        study: what was trained so far.
        able: ids of the architectures whose training can go on.
        over: no further candidate will begin; of each rung one goes on however few there are.
    """
    gone = study.trials.gone_on()
    for left in range(1, study.rungs):
        stopped, score, load = _reached(study, left)
        place = next_to_go_on(
            score,
            load,
            gone={i for i, trial in enumerate(stopped) if trial.number in gone},
            able={i for i, trial in enumerate(stopped) if trial.user_attrs["id"] in able},
            over=over,
        )
        if place is not None:
            return stopped[place]
    trials = study.trials
    if over and not trials.complete() and not trials.of(TrialState.RUNNING):
        return _best_left(study, able)
    return None


def _best_left(study: SearchStudy, able: Container[str]) -> FrozenTrial | None:
    """The best that can go on, where those whose place it was diverged when they did."""
    gone = study.trials.gone_on()
    for left in range(1, study.rungs):
        stopped, score, load = _reached(study, left)
        for place in ranking(score, load):
            if stopped[place].number not in gone and stopped[place].user_attrs["id"] in able:
                return stopped[place]
    return None


def go_on(study: SearchStudy, stopped: FrozenTrial) -> Proposal:
    """Train to the next rung what stopped at one: a trial of its own, begun."""
    kept = ("id", "architecture", "origin")
    attrs = {name: stopped.user_attrs[name] for name in kept if name in stopped.user_attrs}
    study.study.add_trial(
        optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=stopped.params,
            distributions=stopped.distributions,
            user_attrs=attrs | {CONTINUES: stopped.number},
        )
    )
    trial = optuna.Trial(study.study, study.trials.of(TrialState.RUNNING)[-1]._trial_id)
    architecture = Architecture.from_json(attrs["architecture"])
    set_constraints(trial, study.budget.shares([architecture])[0])
    return Proposal(
        trial=trial,
        architecture=architecture,
        latencies=study.budget.latencies(architecture),
        origin=attrs.get("origin", SEARCHED),
        left=stopped.user_attrs[STOPPED]["left"] - 1,
    )


def hopeless(study: SearchStudy, trials: int) -> set[str]:
    """Ids of the architectures that stopped at a rung and can hardly be among its best.

    Args:
        study: what was trained so far.
        trials: candidates that there will be, at most.
    """
    gone, found = study.trials.gone_on(), set()
    for left in reversed(range(1, study.rungs)):
        stopped, score, load = _reached(study, left)
        kept = share_of(max(trials, len(stopped)), over=True) + SPARE
        worst = [stopped[place] for place in ranking(score, load)[kept:]]
        trials = math.ceil(trials * MOST_GO_ON)
        found |= {trial.user_attrs["id"] for trial in worst if trial.number not in gone}
    return found


def _reached(
    study: SearchStudy, left: int
) -> tuple[list[FrozenTrial], NDArray[np.float64], NDArray[np.float64]]:
    """What stopped at a rung and is within the limits: trials, score [n], load [n, devices].

    Args:
        study: what was trained so far.
        left: rungs that come after that one.
    """
    stopped = study.trials.stopped(left)
    architectures = [Architecture.from_json(t.user_attrs["architecture"]) for t in stopped]
    load = study.load(architectures) if stopped else np.empty((0, len(study.budget.devices)))
    fits = np.all(load <= 1.0, axis=1)
    stopped = [trial for trial, fit in zip(stopped, fits, strict=True) if fit]
    reached = [Stopped.of(trial.user_attrs) for trial in stopped]
    score = np.array([state.score for state in reached if state is not None])
    return stopped, score, load[fits]
