"""What the trials of a search's study stand for.

COMPLETE was trained in full, or taken over from an earlier run. PRUNED broke a limit and was not
trained, diverged, or stopped at a rung; what goes on from a rung is a trial of its own. FAIL was
repeated or interrupted (what was interrupted is tried again). WAITING is to be run.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

STOPPED = "stopped"
"""User attribute of a trial that stopped at a rung: a `Stopped` as a mapping."""

ACCURACY = "accuracy"
"""User attribute of a trial that was trained in full: its proxy validation accuracy, 0..1; its
first value is its score."""

CONTINUES = "continues"
"""User attribute of a trial that goes on from a rung: the number of the one that stopped there."""


@dataclass(frozen=True)
class Stopped:
    """How far a training came that stopped at a rung.

    Attributes:
        left: rungs that come after this one.
        images: seen so far.
        accuracy: proxy validation accuracy there, 0..1.
        bonus: what is added to it for size.
    """

    left: int
    images: int
    accuracy: float
    bonus: float = 0.0

    @property
    def score(self) -> float:
        """What it is compared by with others at the same rung."""
        return self.accuracy + self.bonus

    def keep(self, trial: optuna.Trial) -> None:
        """Write it into a trial."""
        trial.set_user_attr(STOPPED, asdict(self))

    @staticmethod
    def of(attrs: dict[str, Any]) -> Stopped | None:
        """Read it from a trial's user attributes, None if it did not stop."""
        found = attrs.get(STOPPED)
        return Stopped(**found) if found else None


class Trials:
    """The trials of a study, counted and sorted by what they stand for.

    Args:
        study: of one search.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def of(self, *states: TrialState) -> list[FrozenTrial]:
        """Trials in these states, in any by default, by number."""
        return self._study.get_trials(deepcopy=False, states=states or None)

    def complete(self) -> list[FrozenTrial]:
        """What was trained in full."""
        return self.of(TrialState.COMPLETE)

    def stopped(self, left: int | None = None) -> list[FrozenTrial]:
        """What stopped at a rung, gone on since or not; at the one with ``left`` to come."""
        found = [t for t in self.of(TrialState.PRUNED) if STOPPED in t.user_attrs]
        return [t for t in found if left is None or t.user_attrs[STOPPED]["left"] == left]

    def gone_on(self) -> set[int]:
        """Numbers of the stopped trials that have gone on."""
        alive = self.of(TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
        return {t.user_attrs[CONTINUES] for t in alive if CONTINUES in t.user_attrs}

    def trained(self) -> list[FrozenTrial]:
        """What was trained, in full or not, diverged or not."""
        return [*self.complete(), *self.stopped(), *self._diverged()]

    def begun(self) -> int:
        """Candidates trained so far, in full or not, diverged ones included."""
        trained = sum(CONTINUES not in trial.user_attrs for trial in self.trained())
        return trained - self.imported()

    def train_s(self) -> dict[int, float]:
        """Seconds of training by number, with those up to the rung that a trial goes on from."""
        seconds: dict[int, float] = {}
        for trial in sorted(self.trained(), key=lambda trial: trial.number):
            before_s = seconds.get(trial.user_attrs.get(CONTINUES, -1), 0.0)
            seconds[trial.number] = before_s + float(trial.user_attrs.get("train_s", 0.0))
        return seconds

    def imported(self) -> int:
        """Candidates that an earlier run trained."""
        return sum("imported" in trial.user_attrs for trial in self.complete())

    def diverged(self) -> int:
        """Candidates whose training was stopped because its loss exploded."""
        return len(self._diverged())

    def untrained(self) -> int:
        """Proposals over a limit."""
        return len(self.of(TrialState.PRUNED)) - self.diverged() - len(self.stopped())

    def interrupted(self) -> int:
        """Trainings that were cut off."""
        return sum("repeated" not in trial.user_attrs for trial in self.of(TrialState.FAIL))

    def _diverged(self) -> list[FrozenTrial]:
        return [t for t in self.of(TrialState.PRUNED) if "diverged" in t.user_attrs]
