"""Which candidates at a rung are promoted to the next, and which never will be."""

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
"""Share of a rung's candidates assumed to reach the next. Promotion is asynchronous, so more than
the best third is promoted (measured by `benchmarks/multi_fidelity.py`)."""

SPARE = 1
"""Candidates of a rung that are kept in addition to those to promote, in case one diverges."""


def best_at_rung(
    trials: Trials,
    leaderboard: Leaderboard,
    rungs: int,
    with_checkpoint: Container[str] | None,
    no_more: bool = False,
) -> TrialRecord | None:
    """The candidate to promote next; None if none should be promoted.

    The highest rung comes first: it is nearest to the end.

    Args:
        trials: all trials so far.
        leaderboard: knows the budget.
        rungs: number of rungs of a full training.
        with_checkpoint: ids of the architectures whose training can go on; None for all.
        no_more: whether all candidates have started. One of each rung is then promoted, however
            few there are.
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
    """The best candidate that can be promoted, used if all promoted candidates diverged."""
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
    """Ids of the architectures at a rung that can hardly be among its best.

    Args:
        trials: all trials so far.
        leaderboard: knows the budget.
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
    """Candidates within the limits that stopped at a rung.

    Args:
        trials: all trials so far.
        leaderboard: knows the budget.
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
