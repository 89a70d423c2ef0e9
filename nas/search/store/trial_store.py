"""Keeps the trials of a search in its Optuna study, and reads them back as typed records.

Optuna has fewer trial states than `TrialStatus`. PRUNED stands for over a limit, diverged or at a
rung, and FAIL for repeated, interrupted or failed. User attributes of the trials tell these apart;
no other module reads or writes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nas.accuracy.evaluator import Evaluation, EvaluationFailure
from nas.results.values import SEARCHED
from nas.search.sampler.observation import Observation
from nas.search.store.records import TrialRecord, Trials, TrialStatus
from nas.space.architecture import Architecture
from nas.space.parameter_space import Choice, Selection
from nas.space.search_space import SearchSpace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

_PROMOTED_FROM = "continues"
_AT_RUNG = "stopped"
"""Names of user attributes of trials. Studies of older runs have them, so they must not change."""

_WITH_ARCHITECTURE = (TrialStatus.TRAINED, TrialStatus.AT_RUNG, TrialStatus.DIVERGED)


@dataclass(frozen=True)
class Asked:
    """A trial that was begun.

    Attributes:
        number: number of the trial.
        architecture: the network to evaluate.
        origin: a preset's name, else `nas.results.values.SEARCHED`.
    """

    number: int
    architecture: Architecture
    origin: str


class TrialStore:
    """The trials of one search.

    Args:
        study: study of the run; it maximises the score and minimises the latency on each device.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._open: dict[int, optuna.Trial] = {}
        self._finished: dict[int, TrialRecord] = {}

    def read(self) -> Trials:
        """Read all trials, in order of number."""
        return Trials([self._record(t) for t in self._study.get_trials(deepcopy=False)])

    def use(self, sampler: BaseSampler) -> None:
        """Use this sampler for all further suggestions."""
        self._study.sampler = sampler

    def observe(self, trial: FrozenTrial, params: dict[str, Choice]) -> Observation | None:
        """Return a sampler's observation of a trial; None if the trial has no score.

        Args:
            trial: the trial.
            params: parameters of its architecture.
        """
        record = self._record(trial)
        if record.status in (TrialStatus.TRAINED, TrialStatus.AT_RUNG):
            return Observation(params, record.score, -record.rungs_to_come)
        return None

    def ask(self, space: SearchSpace) -> Asked:
        """Begin a trial: the first that is enqueued, else what the sampler suggests."""
        trial = self._study.ask()
        architecture = space.suggest(trial)
        origin = str(trial.user_attrs.get("origin", SEARCHED))
        trial.set_user_attr("id", architecture.id)
        trial.set_user_attr("architecture", architecture.to_json())
        self._open[trial.number] = trial
        return Asked(trial.number, architecture, origin)

    def enqueue(self, params: dict[str, Choice], origin: str) -> None:
        """Enqueue parameters: `ask` begins a trial with them before it asks the sampler."""
        self._study.enqueue_trial(params, user_attrs={"origin": origin})

    def set_limits(self, number: int, ratios: NDArray[np.float64]) -> None:
        """Record how far a trial is over each limit, as constraints of Optuna.

        Args:
            number: number of the trial.
            ratios: value / limit for each limit, [limits]; a limit is kept up to 1.
        """
        for index, ratio in enumerate(ratios):
            self._open[number].set_constraint(f"over_limit_{index}", float(ratio) - 1.0)

    def reject(self, number: int, status: TrialStatus) -> None:
        """End a trial without an evaluation.

        Args:
            number: number of the trial.
            status: `OVER_LIMIT` or `REPEATED`.
        """
        trial = self._open.pop(number)
        if status is TrialStatus.REPEATED:
            trial.set_user_attr("repeated", True)
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, state=TrialState.PRUNED)

    def record(
        self,
        number: int,
        evaluation: Evaluation,
        bonus: float,
        rungs_to_come: int,
        latencies_ms: Sequence[float],
    ) -> None:
        """Record an evaluation and end its trial.

        Args:
            number: number of the trial.
            evaluation: result of the evaluator.
            bonus: size bonus that is added to the accuracy.
            rungs_to_come: number of rungs after the one trained to; 0 for a full training.
            latencies_ms: predicted latencies, one per device.
        """
        trial = self._open.pop(number)
        trial.set_user_attr("train_s", round(evaluation.seconds, 2))
        trial.set_user_attr("images", evaluation.images)
        for name in ("standard_error", "weights"):
            if getattr(evaluation, name) is not None:
                trial.set_user_attr(name, getattr(evaluation, name))
        if evaluation.diverged:
            trial.set_user_attr("diverged", True)
            self._study.tell(trial, state=TrialState.PRUNED)
        elif rungs_to_come:
            at_rung = {
                "left": rungs_to_come,
                "images": evaluation.images,
                "accuracy": evaluation.score,
                "bonus": bonus,
            }
            trial.set_user_attr(_AT_RUNG, at_rung)
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("accuracy", evaluation.score)
            self._study.tell(trial, (evaluation.score + bonus, *latencies_ms))

    def fail(self, number: int, failure: EvaluationFailure) -> None:
        """Record the error that the evaluator raised; the architecture is not tried again."""
        trial = self._open.pop(number)
        trial.set_user_attr("error", failure.message)
        trial.set_user_attr("error_details", failure.details)
        self._study.tell(trial, state=TrialState.FAIL)

    def interrupt(self, number: int) -> None:
        """End the trial of an interrupted evaluation, and enqueue its architecture again.

        A promotion is not enqueued: its candidate can be promoted again.
        """
        self._open.pop(number, None)
        trial = next(t for t in self._study.get_trials(deepcopy=False) if t.number == number)
        self._try_again(trial)

    def recover(self) -> int:
        """Interrupt (`interrupt`) the trials that a killed run was evaluating.

        Returns:
            The number of these trials.
        """
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in running:
            self._try_again(trial)
        return len(running)

    def promote(self, record: TrialRecord) -> Asked:
        """Begin a trial that continues the training of a trial at a rung."""
        source = self._study.get_trials(deepcopy=False)[record.number]
        kept = ("id", "architecture", "origin")
        attrs = {name: source.user_attrs[name] for name in kept if name in source.user_attrs}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=source.params,
                distributions=source.distributions,
                user_attrs=attrs | {_PROMOTED_FROM: record.number},
            )
        )
        begun = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))[-1]
        trial = optuna.Trial(self._study, begun._trial_id)
        self._open[trial.number] = trial
        return Asked(trial.number, record.known_architecture, record.origin)

    def import_trained(
        self, selection: Selection[Architecture], record: TrialRecord, latencies_ms: Sequence[float]
    ) -> None:
        """Add a trial that an earlier run has trained in full.

        Args:
            selection: the architecture, with its parameters in this run's space.
            record: accuracy, standard error, bonus, images and origin of the trial.
            latencies_ms: predicted latencies, one per device.
        """
        distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(offered) for name, offered in selection.offered.items()
        }
        error = record.standard_error
        self._study.add_trial(
            optuna.trial.create_trial(
                params=selection.params,
                distributions=distributions,
                values=[record.score, *latencies_ms],
                user_attrs={
                    "id": selection.architecture.id,
                    "architecture": selection.architecture.to_json(),
                    "origin": record.origin,
                    "images": record.images,
                    "accuracy": record.accuracy,
                    "imported": True,
                    **({} if error is None else {"standard_error": error}),
                },
            )
        )

    def _try_again(self, trial: FrozenTrial) -> None:
        if _PROMOTED_FROM not in trial.user_attrs:  # promotions are chosen again anyway
            # A trial that was killed while it was proposed has not drawn all parameters yet.
            params = trial.system_attrs.get("fixed_params", {}) | trial.params
            self.enqueue(params, trial.user_attrs.get("origin", SEARCHED))
        self._study.tell(trial.number, state=TrialState.FAIL)

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        known = self._finished.get(trial.number)
        if known is not None:
            return known
        record = _record_of(trial)
        if trial.state.is_finished():
            self._finished[trial.number] = record
        return record


def _status_of(trial: FrozenTrial) -> TrialStatus:
    attrs = trial.user_attrs
    if trial.state == TrialState.COMPLETE:
        return TrialStatus.TRAINED
    if trial.state == TrialState.PRUNED:
        if _AT_RUNG in attrs:
            return TrialStatus.AT_RUNG
        return TrialStatus.DIVERGED if "diverged" in attrs else TrialStatus.OVER_LIMIT
    if trial.state == TrialState.FAIL:
        if "error" in attrs:
            return TrialStatus.FAILED
        return TrialStatus.REPEATED if "repeated" in attrs else TrialStatus.INTERRUPTED
    return TrialStatus.RUNNING if trial.state == TrialState.RUNNING else TrialStatus.WAITING


def _record_of(trial: FrozenTrial) -> TrialRecord:
    """Read a trial.

    Raises:
        Exception: of any type, if a value in the study is damaged.
    """
    attrs, status = trial.user_attrs, _status_of(trial)
    architecture = attrs.get("architecture")
    accuracy, bonus, to_come = _scores_of(trial, status)
    if not (math.isfinite(accuracy) and math.isfinite(bonus)):
        raise ValueError(f"trial {trial.number} has the score {accuracy + bonus}")
    if status in _WITH_ARCHITECTURE and not architecture:
        raise ValueError(f"trial {trial.number} has no architecture")
    return TrialRecord(
        number=trial.number,
        status=status,
        params=dict(trial.system_attrs.get("fixed_params", {}) | trial.params),
        architecture=Architecture.from_json(architecture) if architecture else None,
        origin=str(attrs.get("origin", SEARCHED)),
        accuracy=accuracy,
        bonus=bonus,
        images=_converted(int, attrs.get("images")),
        seconds=float(attrs.get("train_s", 0.0)),
        rungs_to_come=to_come,
        promoted_from=_converted(int, attrs.get(_PROMOTED_FROM)),
        imported="imported" in attrs,
        standard_error=_converted(float, attrs.get("standard_error")),
        weights=_converted(str, attrs.get("weights")),
        message=_converted(str, attrs.get("error")),
    )


def _converted(kind: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else kind(value)


def _scores_of(trial: FrozenTrial, status: TrialStatus) -> tuple[float, float, int]:
    """Return accuracy, size bonus and number of rungs to come; zeros for a trial without score."""
    attrs: dict[str, Any] = trial.user_attrs
    if status is TrialStatus.AT_RUNG:
        at_rung = attrs[_AT_RUNG]
        bonus = float(at_rung.get("bonus", 0.0))
        return float(at_rung["accuracy"]), bonus, int(at_rung["left"])
    if status is TrialStatus.TRAINED:
        score = trial.values[0]
        # Runs older than the bonus kept no other score.
        accuracy = float(attrs.get("accuracy", score))
        return accuracy, score - accuracy, 0
    return 0.0, 0.0, 0
