"""Chooses the candidates at a rung to promote, and finds those that never will be promoted."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import TYPE_CHECKING

import numpy as np

from nas.search.leaderboard import Leaderboard
from nas.search.schedule.rungs import next_promotion, promotions_of, ranking
from nas.search.store.records import TrialRecord, Trials, TrialStatus

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PROMOTED = 0.5
"""Share of a rung's candidates that is assumed to reach the next rung. It is more than the best
third, as promotion is asynchronous (measured by `benchmarks/multi_fidelity.py`)."""

SPARE = 1
"""Number of candidates of a rung that keep their checkpoints in addition to those to promote, in
case one of these diverges."""


def best_at_rung(
    trials: Trials,
    leaderboard: Leaderboard,
    rungs: int,
    with_checkpoint: Container[str] | None,
    no_more: bool = False,
) -> TrialRecord | None:
    """Return the candidate to promote next; None if none should be promoted.

    The highest rung comes first, as its candidates are nearest to a full training.

    Args:
        trials: all trials so far.
        leaderboard: leaderboard of the run, for latency ratios.
        rungs: number of rungs of a full training.
        with_checkpoint: ids of the architectures whose training can go on; None for all.
        no_more: whether no new candidate will start. At least one candidate of each rung is then
            promoted, however few it has.
    """
    promoted = trials.promoted()
    for to_come in range(1, rungs):
        at_rung, score, ratio = _reached(trials, leaderboard, to_come)
        place = next_promotion(
            score,
            ratio,
            promoted={i for i, record in enumerate(at_rung) if record.number in promoted},
            able={i for i, record in enumerate(at_rung) if _can_go_on(record, with_checkpoint)},
            no_more=no_more,
        )
        if place is not None:
            return at_rung[place]
    if no_more and not trials.trained() and not trials.of(TrialStatus.RUNNING):
        return _next_best(trials, leaderboard, rungs, with_checkpoint)
    return None


def _next_best(
    trials: Trials, leaderboard: Leaderboard, rungs: int, with_checkpoint: Container[str] | None
) -> TrialRecord | None:
    """Return the best candidate at the highest rung that has one to promote; None if none has.

    It is used if all promoted candidates diverged. The arguments are those of `best_at_rung`.
    """
    promoted = trials.promoted()
    for to_come in range(1, rungs):
        at_rung, score, ratio = _reached(trials, leaderboard, to_come)
        for place in ranking(score, ratio):
            record = at_rung[place]
            if _can_go_on(record, with_checkpoint) and record.number not in promoted:
                return record
    return None


def _can_go_on(record: TrialRecord, with_checkpoint: Container[str] | None) -> bool:
    return with_checkpoint is None or record.known_architecture.id in with_checkpoint


def never_promoted(trials: Trials, leaderboard: Leaderboard, rungs: int, total: int) -> set[str]:
    """Return ids of the architectures at a rung that will hardly ever be promoted.

    Args:
        trials: all trials so far.
        leaderboard: leaderboard of the run, for latency ratios.
        rungs: number of rungs of a full training.
        total: largest number of candidates that the search can have.
    """
    promoted, found = trials.promoted(), set()
    for to_come in reversed(range(1, rungs)):
        at_rung, score, ratio = _reached(trials, leaderboard, to_come)
        kept = promotions_of(max(total, len(at_rung)), no_more=True) + SPARE
        worst = [at_rung[place] for place in ranking(score, ratio)[kept:]]
        total = math.ceil(total * MAX_PROMOTED)
        found |= {r.known_architecture.id for r in worst if r.number not in promoted}
    return found


def _reached(
    trials: Trials, leaderboard: Leaderboard, to_come: int
) -> tuple[list[TrialRecord], NDArray[np.float64], NDArray[np.float64]]:
    """Return the candidates within the limits that stopped at one rung.

    Args:
        trials: all trials so far.
        leaderboard: leaderboard of the run, for latency ratios.
        to_come: number of rungs after that one.

    Returns:
        The records [n], their scores [n], and their latency ratios [n, devices].
    """
    at_rung = trials.at_rung(to_come)
    if not at_rung:
        return [], np.empty(0), np.empty((0, len(leaderboard.budget.devices)))
    ratio = leaderboard.latency_ratio([record.known_architecture for record in at_rung])
    fits = np.all(ratio <= 1.0, axis=1)
    kept = [record for record, fit in zip(at_rung, fits, strict=True) if fit]
    return kept, np.array([record.score for record in kept]), ratio[fits]
