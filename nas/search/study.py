"""The Optuna study of a search: which architecture is trained next, and what came of it.

A proposal whose predicted latency breaks the budget is told to Optuna at once, with how far it
is over, and never trained. Trial states: COMPLETE trained; PRUNED over budget or diverged;
FAIL repeated or interrupted (an interrupted one is queued again); WAITING to be run.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.architecture import Architecture, short_id
from nas.errors import RunError
from nas.search.budget import Budget
from nas.search.evaluate import Evaluation
from nas.search.pareto import pareto_front
from nas.search.result import Candidate, Latency

INITIAL_CANDIDATES = 8
"""Spread over the budget before the sampler takes over."""

FRUITLESS_LIMIT = 10
"""Proposals in a row that may come to nothing before a change of a good candidate is tried."""

EXHAUSTED_LIMIT = 300
"""Proposals in a row that come to nothing before the space counts as exhausted."""


@dataclass(frozen=True)
class Proposal:
    """An architecture to train, and its trial."""

    trial: optuna.Trial
    architecture: Architecture
    latency: Latency
    origin: str


class SearchStudy:
    """Proposes, and keeps, the trials of one search.

    Args:
        study: maximises accuracy and minimises latency.
        budget: what may be trained.
        seed: of the candidates made without the sampler.
    """

    def __init__(self, study: optuna.Study, budget: Budget, seed: int) -> None:
        self.study = study
        self.budget = budget
        self.seed = seed
        self._seen = {
            trial.user_attrs["id"]
            for trial in self._trials(TrialState.COMPLETE, TrialState.PRUNED)
            if "id" in trial.user_attrs
        }

    def begin(self, presets: Sequence[tuple[str, Architecture]]) -> None:
        """Queue the presets that fit and an initial spread; once in a run's life.

        A run that was killed while it queued them queues the rest.

        Args:
            presets: names and architectures, tried in this order.

        Raises:
            RunError: the search space is not the one the run was begun with.
        """
        space = short_id(asdict(self.budget.space))
        if self.study.user_attrs.get("space", space) != space:
            raise RunError(
                f"the search space {self.budget.space.name!r} has changed since this run was "
                f"begun: undo the change, or start a new run"
            )
        self.study.set_user_attr("space", space)
        if self.study.user_attrs.get("begun"):
            return
        spread = self.budget.initial(INITIAL_CANDIDATES, self._rng(0))
        wanted = [
            (name, preset)
            for name, preset in presets
            if preset in self.budget.space and self.budget.fits(preset)
        ]
        wanted += [("searched", architecture) for architecture in spread]
        queued = [_queued_params(trial) for trial in self._trials()]
        for origin, architecture in wanted:
            if self.budget.space.params(architecture) not in queued:
                self._enqueue(architecture, origin)
        self.study.set_user_attr("begun", True)

    def recover(self) -> int:
        """Queue again what a killed run left unfinished.

        Returns:
            How many trials were interrupted.
        """
        left = self._trials(TrialState.RUNNING)
        for trial in left:
            # One killed while it was proposed has not drawn all of its queued parameters yet.
            params = _queued_params(trial) | trial.params
            self._requeue(trial.number, trial.user_attrs, params)
        return len(left)

    def propose(self) -> Proposal | None:
        """The next architecture to train, None where nothing new within budget turns up."""
        for attempt in range(1, EXHAUSTED_LIMIT + 1):
            trial = self.study.ask()
            architecture = self.budget.space.suggest(trial)
            latency = self.budget.latency(architecture)
            origin = str(trial.user_attrs.get("origin", "searched"))
            record = {**asdict(latency), "architecture": architecture.to_json()}
            trial.set_user_attr("id", architecture.id)
            trial.set_user_attr("record", record)
            over_ms = latency.latency_ms - self.budget.budget_ms
            trial.set_constraint("over_budget_ms", over_ms)
            if over_ms > 0:
                self.study.tell(trial, state=TrialState.PRUNED)
            elif architecture.id in self._seen:
                trial.set_user_attr("repeated", True)
                self.study.tell(trial, state=TrialState.FAIL)
            else:
                self._seen.add(architecture.id)
                return Proposal(trial, architecture, latency, origin)
            if attempt % FRUITLESS_LIMIT == 0:
                self._enqueue(self._change(trial.number), "searched")
        return None

    def finish(self, proposal: Proposal, evaluation: Evaluation) -> None:
        """Record a training run."""
        proposal.trial.set_user_attr("train_s", round(evaluation.train_s, 2))
        if evaluation.diverged:
            proposal.trial.set_user_attr("diverged", True)
            self.study.tell(proposal.trial, state=TrialState.PRUNED)
        else:
            values = (evaluation.accuracy, proposal.latency.latency_ms)
            self.study.tell(proposal.trial, values)

    def interrupt(self, proposal: Proposal) -> None:
        """Give up a training run; its architecture is queued again."""
        trial = proposal.trial
        self._seen.discard(proposal.architecture.id)
        self._requeue(trial.number, trial.user_attrs, trial.params)

    def candidates(self) -> list[Candidate]:
        """Every trained candidate, by trial number."""
        return [_candidate(trial) for trial in self._trials(TrialState.COMPLETE)]

    def front(self) -> list[Candidate]:
        """Pareto-optimal candidates by predicted latency, fastest first."""
        candidates = self.candidates()
        points = [(c.accuracy, c.predicted.latency_ms) for c in candidates]
        return pareto_front(candidates, points)

    def trained(self) -> int:
        """Candidates trained so far, diverged ones included."""
        return len(self._trials(TrialState.COMPLETE)) + self.diverged()

    def diverged(self) -> int:
        """Candidates whose training was stopped."""
        return sum("diverged" in trial.user_attrs for trial in self._trials(TrialState.PRUNED))

    def untrained(self) -> int:
        """Proposals over budget."""
        return len(self._trials(TrialState.PRUNED)) - self.diverged()

    def interrupted(self) -> int:
        """Trainings that were cut off; each was queued again."""
        return sum("repeated" not in trial.user_attrs for trial in self._trials(TrialState.FAIL))

    def wall_s(self) -> float:
        """Seconds spent in earlier sessions of this run."""
        return float(self.study.user_attrs.get("wall_s", 0.0))

    def record_wall_s(self, seconds: float) -> None:
        """Keep the time spent, earlier sessions included."""
        self.study.set_user_attr("wall_s", round(seconds, 1))

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _enqueue(self, architecture: Architecture, origin: str) -> None:
        params = self.budget.space.params(architecture)
        self.study.enqueue_trial(params, user_attrs={"origin": origin})

    def _requeue(self, number: int, attrs: dict[str, Any], params: dict[str, Any]) -> None:
        origin = attrs.get("origin", "searched")
        self.study.enqueue_trial(params, user_attrs={"origin": origin})
        self.study.tell(number, state=TrialState.FAIL)

    def _change(self, number: int) -> Architecture:
        """A change of a candidate of the front that stays within budget."""
        rng = self._rng(number)
        front = self.front()
        start = rng.choice(front).architecture if front else self.budget.fastest()
        return self.budget.wander(start, rng, steps=rng.randint(1, 6))

    def _rng(self, number: int) -> random.Random:
        return random.Random(self.seed * 1_000_003 + number)


def _queued_params(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters a trial was queued with; empty where the sampler chose them."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def _candidate(trial: FrozenTrial) -> Candidate:
    record = trial.user_attrs["record"]
    return Candidate(
        number=trial.number,
        architecture=Architecture.from_json(record["architecture"]),
        accuracy=trial.values[0],
        predicted=Latency(record["latency_ms"], record["low_ms"], record["high_ms"]),
        origin=trial.user_attrs.get("origin", "searched"),
    )
