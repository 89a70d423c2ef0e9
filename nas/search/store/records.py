"""The trials of a search as typed records, with filters and counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from nas.results.values import SEARCHED
from nas.space.architecture import Architecture
from nas.space.parameter_space import Choice


class TrialStatus(Enum):
    """State or outcome of a trial."""

    WAITING = "waiting"
    """Enqueued."""
    RUNNING = "running"
    """Being proposed or evaluated."""
    TRAINED = "trained"
    """Trained in full, in this run or in an earlier one."""
    AT_RUNG = "at rung"
    """Stopped at a rung; a promotion is a trial of its own."""
    DIVERGED = "diverged"
    """Training was stopped because its loss exploded."""
    OVER_LIMIT = "over limit"
    """Breaks a limit; was not trained."""
    REPEATED = "repeated"
    """Was trained before; was not trained again."""
    INTERRUPTED = "interrupted"
    """Was interrupted; the architecture is enqueued again."""
    FAILED = "failed"
    """The evaluator raised an error."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: number of the trial in the study.
        status: state or outcome of the trial.
        params: parameters of the architecture; incomplete while the trial is being proposed.
        architecture: the network; None while the trial is enqueued or being proposed.
        origin: a preset's name, else `nas.results.values.SEARCHED`.
        accuracy: accuracy of the evaluation, 0..1; 0 without one.
        bonus: size bonus that is added to the accuracy.
        images: total number of images seen in training; None if unknown.
        seconds: duration of this trial's evaluation; a promotion does not include earlier rungs.
        rungs_to_come: number of rungs after the one at which the trial stopped, else 0.
        promoted_from: number of the trial whose training this trial continues; None for none.
        imported: whether an earlier run trained the candidate.
        standard_error, weights: see `nas.accuracy.evaluator.Evaluation`.
        message: error message of a failed trial; None for others.
    """

    number: int
    status: TrialStatus
    params: dict[str, Choice] = field(hash=False)
    architecture: Architecture | None = None
    origin: str = SEARCHED
    accuracy: float = 0.0
    bonus: float = 0.0
    images: int | None = None
    seconds: float = 0.0
    rungs_to_come: int = 0
    promoted_from: int | None = None
    imported: bool = False
    standard_error: float | None = None
    weights: str | None = None
    message: str | None = None

    @property
    def score(self) -> float:
        """Accuracy plus bonus."""
        return self.accuracy + self.bonus

    @property
    def known_architecture(self) -> Architecture:
        """The architecture; fails for a trial that is enqueued or still being proposed."""
        assert self.architecture is not None
        return self.architecture


class Trials:
    """The trials of a run, in order of number; its methods select and count them by status.

    Args:
        records: records of all trials, in order of number.
    """

    def __init__(self, records: Sequence[TrialRecord]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self._records)

    def of(self, *statuses: TrialStatus) -> list[TrialRecord]:
        """Return the trials that have one of these statuses."""
        return [record for record in self._records if record.status in statuses]

    def trained(self) -> list[TrialRecord]:
        """Return the trials that were trained in full."""
        return self.of(TrialStatus.TRAINED)

    def at_rung(self, rungs_to_come: int | None = None) -> list[TrialRecord]:
        """Return the trials that stopped at a rung, including those that were promoted since.

        Args:
            rungs_to_come: number of rungs after that rung; None for any rung.
        """
        return [
            record
            for record in self.of(TrialStatus.AT_RUNG)
            if rungs_to_come is None or record.rungs_to_come == rungs_to_come
        ]

    def promoted(self) -> set[int]:
        """Return the numbers of the trials at a rung that were promoted.

        A trial whose promotion was interrupted counts as not promoted.
        """
        alive = self.of(
            TrialStatus.RUNNING, TrialStatus.TRAINED, TrialStatus.AT_RUNG, TrialStatus.DIVERGED
        )
        # A promotion that failed is final: it would fail again.
        alive += self.of(TrialStatus.FAILED)
        return {r.promoted_from for r in alive if r.promoted_from is not None}

    def evaluated(self) -> list[TrialRecord]:
        """Return the trials that were trained in full or to a rung, diverged, or failed."""
        return self.of(
            TrialStatus.TRAINED, TrialStatus.AT_RUNG, TrialStatus.DIVERGED, TrialStatus.FAILED
        )

    def begun(self) -> int:
        """Return the number of candidates that this run has evaluated, at least to a first rung.

        Those that diverged or failed count too.
        """
        return sum(
            record.promoted_from is None and not record.imported for record in self.evaluated()
        )

    def seconds(self) -> dict[int, float]:
        """Return the seconds of evaluation of each evaluated trial, by number.

        The seconds of a promotion include those of the trials that it continues.
        """
        seconds: dict[int, float] = {}
        for record in sorted(self.evaluated(), key=lambda record: record.number):
            before = record.promoted_from
            before_s = 0.0 if before is None else seconds.get(before, 0.0)
            seconds[record.number] = before_s + record.seconds
        return seconds

    def imported(self) -> int:
        """Return the number of candidates that an earlier run trained."""
        return sum(record.imported for record in self._records)

    def count(self, *statuses: TrialStatus) -> int:
        """Return the number of trials that have one of these statuses."""
        return len(self.of(*statuses))
