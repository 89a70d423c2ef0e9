"""Callbacks by which a search reports its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas.accuracy.data.source import DataSummary
from nas.latency.collect.tables import Progress
from nas.results.values import Candidate, Provenance


@dataclass(frozen=True)
class Trained:
    """Report of one evaluation, to a rung or in full; `Listener.trained` receives it.

    Attributes:
        candidate: the evaluated candidate; None if its training diverged or the evaluator failed.
        done: number of candidates that this run has evaluated so far, in full or not.
        total: number of candidates to evaluate.
        at_rung: for each rung, the number of candidates that have completed it so far; the last
            rung is a full training.
        rung: the rung that this evaluation was for, from 1.
        on_front: whether the candidate is on the first device's front so far.
        best: the candidate within every limit that has the best score so far; None if there is
            none.
        hypervolume: hypervolume of the first device's front so far, with the reference point at
            score 0 and latency ratio 1; about 0 to 1.
        seconds: duration of the evaluation in seconds; 0 if the evaluator failed.
        provenance: provenance of the first device's latencies: ``predicted`` or ``estimated``.
        failure: message of the error that the evaluator raised; None if it raised none.
    """

    candidate: Candidate | None
    done: int
    total: int
    at_rung: tuple[int, ...]
    rung: int
    on_front: bool
    best: Candidate | None
    hypervolume: float
    seconds: float
    provenance: Provenance
    failure: str | None = None


@dataclass(frozen=True)
class Listener:
    """Callbacks of a search; each of them is optional.

    Attributes:
        stage: called with the name of each stage as it begins.
        data: called once before candidates are trained, with what the data are.
        measuring: called while a table is measured, see `nas.latency.collect.tables.Progress`.
        training: called before candidates are evaluated, with the number evaluated already and the
            total number.
        trained: called after each evaluation.
        verifying: called with the number of networks measured so far and the total number.
        finalists: called with the number of finalists trained longer so far and the total number.
    """

    stage: Callable[[str], None] = lambda _: None
    data: Callable[[DataSummary], None] = lambda _: None
    measuring: Progress = lambda *_: None
    training: Callable[[int, int], None] = lambda *_: None
    trained: Callable[[Trained], None] = lambda _: None
    verifying: Callable[[int, int], None] = lambda *_: None
    finalists: Callable[[int, int], None] = lambda *_: None
