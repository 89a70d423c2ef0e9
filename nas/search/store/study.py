"""The Optuna study of a search: which architecture is trained next, and what came of it.

A proposal that breaks a limit is told to Optuna at once, with how far it is over, and never
trained. What the states of trials mean is said in `nas.search.store.trials`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.accuracy.short_training import Evaluation
from nas.accuracy.size_bonus import SizeBonus
from nas.errors import RunError
from nas.latency.predict.intervals import measured_again
from nas.measurement.protocol import Timing
from nas.results.pareto import pareto_front
from nas.results.values import SEARCHED, Candidate, Final, Latency
from nas.search.limits import Budget
from nas.search.sampler.candidates import Candidates, Key, key
from nas.search.store.ledger import Ledger
from nas.search.store.trials import ACCURACY, CONTINUES, Stopped, Trials
from nas.search.warm_start import EarlierTrial
from nas.space.architecture import Architecture
from nas.space.parameter_space import picked_from

if TYPE_CHECKING:
    from numpy.typing import NDArray

INITIAL_CANDIDATES = 8
"""Spread over the budget before the sampler takes over."""

FRUITLESS_LIMIT = 10
"""Proposals in a row that may come to nothing before a change of a good candidate is tried."""

CHANGES = 50
"""Changes of good candidates of which one that fits is tried."""

EXHAUSTED_LIMIT = 300
"""Proposals in a row that come to nothing before the space counts as exhausted."""


@dataclass(frozen=True)
class Proposal:
    """An architecture to train, and its trial.

    Attributes:
        trial: is told what comes of it.
        architecture: the network.
        latencies: predicted, one a device.
        origin: a preset's name, else ``searched``.
        left: rungs that come after the one to train to; 0 trains in full.
    """

    trial: optuna.Trial
    architecture: Architecture
    latencies: tuple[Latency, ...]
    origin: str
    left: int


class SearchStudy:
    """Proposes, and keeps, the trials of one search.

    Args:
        study: maximises the score (proxy accuracy, and what is added to it for size) and minimises
            the latency on each device.
        budget: what may be trained; may be replaced by a better calibrated one.
        seed: of the candidates made without the sampler.
        rungs: in how many parts a candidate is trained; presets are trained in one.
        size_bonus: see `nas.config.SearchConfig`.
    """

    def __init__(
        self,
        study: optuna.Study,
        budget: Budget,
        seed: int,
        rungs: int = 1,
        size_bonus: float = 0.0,
    ) -> None:
        self.study = study
        self.trials = Trials(study)
        self.ledger = Ledger(study)
        self.budget = self._uncalibrated = budget
        self.seed = seed
        self.rungs = rungs
        self.bonus = SizeBonus(size_bonus, budget.workload)
        self._seen = {trial.user_attrs["id"] for trial in self.trials.trained()}

    def remember(self, earlier: Sequence[EarlierTrial]) -> None:
        """Begin with what earlier runs have trained; the study keeps it.

        What was trained as this run trains, and is within the limits, becomes finished trials.
        One that was killed while it did so does the rest.
        """
        kept = []
        for trial in earlier:
            known = trial.architecture.id in self._seen
            if trial.group == 0 and not known and self.budget.fits(trial.architecture):
                self._import(trial)
            elif not (trial.group == 0 and known):
                kept.append(asdict(trial) | {"architecture": trial.architecture.to_json()})
        self.study.set_user_attr("earlier", kept)

    def remembers(self) -> bool:
        """Whether `remember` has been done, if only with nothing."""
        return "earlier" in self.study.user_attrs

    def earlier(self) -> list[EarlierTrial]:
        """What earlier runs have trained in another way, or what is over the limits."""
        return [
            EarlierTrial(**entry | {"architecture": Architecture.from_json(entry["architecture"])})
            for entry in self.study.user_attrs.get("earlier", ())
        ]

    def begin(self, presets: Sequence[tuple[str, Architecture]]) -> None:
        """Queue the presets that fit and an initial spread; once in a run's life.

        A run that was killed while it queued them queues the rest.

        Args:
            presets: names and architectures, tried in this order.

        Raises:
            RunError: the search space is not the one the run was begun with.
        """
        space = self.budget.space.id
        if self.study.user_attrs.get("space", space) != space:
            raise RunError(
                f"the search space {self.budget.space.name!r} has changed since this run was "
                f"begun: undo the change, or start a new run"
            )
        self.study.set_user_attr("space", space)
        if self.study.user_attrs.get("begun"):
            return
        known = len(self.trials.complete())
        spread = self._spread(INITIAL_CANDIDATES - known) if known < INITIAL_CANDIDATES else []
        wanted = [
            (name, preset)
            for name, preset in presets
            if preset in self.budget.space
            and preset.id not in self._seen
            and self.budget.fits(preset)
        ]
        wanted += [(SEARCHED, architecture) for architecture in spread]
        queued = [_queued_params(trial) for trial in self.trials.of()]
        for origin, architecture in wanted:
            if self.budget.space.params(architecture) not in queued:
                self._enqueue(architecture, origin)
        self.study.set_user_attr("begun", True)

    def recover(self) -> int:
        """Queue again what a killed run left unfinished.

        Returns:
            How many trials were interrupted.
        """
        left = self.trials.of(TrialState.RUNNING)
        for trial in left:
            if CONTINUES in trial.user_attrs:  # goes on from its rung once more
                self.study.tell(trial.number, state=TrialState.FAIL)
                continue
            # One killed while it was proposed has not drawn all of its queued parameters yet.
            params = _queued_params(trial) | trial.params
            self._requeue(trial.number, trial.user_attrs, params)
        return len(left)

    def propose(self) -> Proposal | None:
        """The next architecture to train, None where nothing new within budget turns up."""
        for attempt in range(1, EXHAUSTED_LIMIT + 1):
            trial = self.study.ask()
            architecture = self.budget.space.suggest(trial)
            origin = str(trial.user_attrs.get("origin", SEARCHED))
            trial.set_user_attr("id", architecture.id)
            trial.set_user_attr("architecture", architecture.to_json())
            shares = self.budget.shares([architecture])[0]
            set_constraints(trial, shares)
            if shares.max() > 1.0:
                self.study.tell(trial, state=TrialState.PRUNED)
            elif architecture.id in self._seen:
                trial.set_user_attr("repeated", True)
                self.study.tell(trial, state=TrialState.FAIL)
            else:
                self._seen.add(architecture.id)
                latencies = self.budget.latencies(architecture)
                left = self.rungs - 1 if origin == SEARCHED else 0
                return Proposal(trial, architecture, latencies, origin, left)
            if attempt % FRUITLESS_LIMIT == 0:
                self._enqueue(self._change(trial.number), SEARCHED)
        return None

    def finish(self, proposal: Proposal, evaluation: Evaluation) -> None:
        """Record a training run."""
        trial = proposal.trial
        trial.set_user_attr("train_s", round(evaluation.train_s, 2))
        trial.set_user_attr("images", evaluation.images)
        if evaluation.diverged:
            trial.set_user_attr("diverged", True)
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        accuracy, images = evaluation.accuracy, evaluation.images
        bonus = self.bonus.of(proposal.architecture, images)
        if proposal.left:
            Stopped(proposal.left, images, accuracy, bonus).keep(trial)
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr(ACCURACY, accuracy)
            latencies = (latency.latency_ms for latency in proposal.latencies)
            self.study.tell(trial, (accuracy + bonus, *latencies))

    def interrupt(self, proposal: Proposal) -> None:
        """Give up a training run; its architecture is tried again."""
        trial = proposal.trial
        if CONTINUES in trial.user_attrs:
            self.study.tell(trial, state=TrialState.FAIL)
            return
        self._seen.discard(proposal.architecture.id)
        self._requeue(trial.number, trial.user_attrs, trial.params)

    def load(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """`Budget.load` of the present budget, for a sampler that lives longer."""
        return self.budget.load(architectures)

    def candidates(self, device: int = 0) -> list[Candidate]:
        """Every fully trained candidate with its latency on one device, by trial number."""
        return [self._candidate(trial, device) for trial in self.trials.complete()]

    def partly_trained(self, device: int = 0) -> list[Candidate]:
        """Every candidate that stopped at a rung and has not gone on, as above."""
        gone = self.trials.gone_on()
        stopped = [trial for trial in self.trials.stopped() if trial.number not in gone]
        return [self._candidate(trial, device) for trial in stopped]

    def front(self, device: int = 0) -> list[Candidate]:
        """Pareto-optimal candidates within every budget, fastest on one device first.

        By measured latency where there is one, else by predicted latency.
        """
        within = self.within()
        candidates = [c for c in self.candidates(device) if c.number in within]
        return pareto_front(candidates, [(c.score, c.latency_ms) for c in candidates])

    def within(self) -> set[int]:
        """Numbers of the candidates within every budget, with the upper end of the interval.

        That is of measuring again, or where nothing was measured, of the prediction.
        """
        broken = set()
        for index, device in enumerate(self.budget.devices):
            for candidate in self.candidates(index):
                if candidate.high_ms > device.budget_ms:
                    broken.add(candidate.number)
        return {trial.number for trial in self.trials.complete()} - broken

    def finalists(self, count: int) -> list[Candidate]:
        """The ``count`` candidates within every budget of the best score, best first."""
        within = self.within()
        candidates = [c for c in self.candidates() if c.number in within]
        return sorted(candidates, key=lambda c: -c.score)[:count]

    def record_final(self, architecture: Architecture, evaluation: Evaluation) -> None:
        """Keep what a finalist's longer training gave."""
        accuracy, images, diverged = evaluation.accuracy, evaluation.images, evaluation.diverged
        bonus = 0.0 if diverged else self.bonus.of(architecture, images)
        self.ledger.record_final(architecture, Final(accuracy, bonus, images, diverged))

    def _import(self, earlier: EarlierTrial) -> None:
        """Add a trial that another run has finished."""
        architecture, space = earlier.architecture, self.budget.space
        walk = space.walk(picked_from(space.params(architecture)))
        latencies = [latency.latency_ms for latency in self.budget.latencies(architecture)]
        self.study.add_trial(
            optuna.trial.create_trial(
                params=walk.params,
                distributions={
                    name: CategoricalDistribution(offered) for name, offered in walk.offered.items()
                },
                values=[earlier.accuracy + self.bonus.of(architecture, earlier.images), *latencies],
                user_attrs={
                    "id": architecture.id,
                    "architecture": architecture.to_json(),
                    "origin": earlier.origin,
                    "images": earlier.images,
                    ACCURACY: earlier.accuracy,
                    "imported": True,
                },
            )
        )
        self._seen.add(architecture.id)

    def _enqueue(self, architecture: Architecture, origin: str) -> None:
        params = self.budget.space.params(architecture)
        self.study.enqueue_trial(params, user_attrs={"origin": origin})

    def _requeue(self, number: int, attrs: dict[str, Any], params: dict[str, Any]) -> None:
        origin = attrs.get("origin", SEARCHED)
        self.study.enqueue_trial(params, user_attrs={"origin": origin})
        self.study.tell(number, state=TrialState.FAIL)

    def _change(self, number: int) -> Architecture:
        """A change of a candidate of the front that is within the limits."""
        rng = self._rng(number)
        candidates = Candidates(self.budget.space, self.load, rng)
        params = [self.budget.space.params(c.architecture) for c in self.front()]
        parents = [candidates.walk(p) for p in params] or candidates.fresh(CHANGES)
        new, _ = candidates.fitting(
            candidates.children(parents, CHANGES), {key(p) for p in parents}
        )
        return rng.choice(new).architecture if new else self.budget.fastest()

    def _spread(self, count: int) -> list[Architecture]:
        """Up to ``count`` different architectures that use much of the budget; or the fastest."""
        rng = self._rng(0)
        candidates = Candidates(self.budget.space, self.load, rng)
        known: dict[Key, Architecture] = {}
        for _ in range(count):
            walk = candidates.near(rng.uniform(0.5, 1.0), known)
            if walk is not None:
                known[key(walk)] = walk.architecture
        return list(known.values()) or [self.budget.fastest()]

    def _candidate(self, trial: FrozenTrial, device: int) -> Candidate:
        architecture = Architecture.from_json(trial.user_attrs["architecture"])
        stopped = Stopped.of(trial.user_attrs)
        score = stopped.score if stopped else trial.values[0]
        accuracy = stopped.accuracy if stopped else trial.user_attrs.get(ACCURACY, score)
        measured = self.ledger.measured(architecture, device)
        times = self.ledger.times_measured(architecture, device)
        # A measurement is shown beside what was predicted before it, not beside what it taught.
        budget = self._uncalibrated if measured else self.budget
        return Candidate(
            number=trial.number,
            architecture=architecture,
            accuracy=accuracy,
            bonus=score - accuracy,
            images=trial.user_attrs.get("images"),
            predicted=budget.latencies(architecture)[device],
            measured=measured,
            again_high_ms=self._again_high_ms(measured, times) if measured else None,
            origin=trial.user_attrs.get("origin", SEARCHED),
            final=self.ledger.final(architecture),
        )

    def _again_high_ms(self, measured: Timing, times: int) -> float:
        """Upper end of the interval of measuring it again."""
        again = measured_again(measured.ci_pct, times)
        return measured.latency_ms * again.factor(self.budget.confidence)

    def _rng(self, number: int) -> random.Random:
        return random.Random(self.seed * 1_000_003 + number)


def set_constraints(trial: optuna.Trial, shares: NDArray[np.float64]) -> None:
    """Tell Optuna how far each limit is broken."""
    for index, share in enumerate(shares):
        trial.set_constraint(f"over_limit_{index}", float(share) - 1.0)


def _queued_params(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters a trial was queued with; empty where the sampler chose them."""
    return dict(trial.system_attrs.get("fixed_params", {}))
