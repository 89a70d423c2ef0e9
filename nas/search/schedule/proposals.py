"""Which architecture a search evaluates next: new, within every limit, never evaluated before.

A suggestion of the sampler that breaks a limit is told to Optuna at once, with how far it is over
the limit, and never evaluated.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from nas.results.values import SEARCHED, Latency
from nas.search.leaderboard import Leaderboard
from nas.search.sampler.candidates import CandidateGenerator, Key, key
from nas.search.store.records import TrialRecord, TrialStatus
from nas.search.store.run_store import RunStore
from nas.space.architecture import Architecture

INITIAL_CANDIDATES = 8
"""Number of initial candidates, spread over the budget, before the sampler is asked."""

REJECTIONS_BEFORE_CHANGE = 10
"""Rejected suggestions in a row before a mutation of a good candidate is evaluated."""

CHANGES = 50
"""Changes of good candidates of which one within the limits is chosen."""

REJECTIONS_UNTIL_EXHAUSTED = 300
"""Rejected suggestions in a row before the space counts as exhausted."""


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate, and its trial.

    Attributes:
        number: number of its trial, which is running.
        architecture: the network.
        latencies: predicted latencies, one per device.
        origin: a preset's name, else `nas.results.values.SEARCHED`.
        rungs_to_come: rungs after the one to train to; 0 trains in full.
        promoted: whether it continues a training that stopped at a rung.
    """

    number: int
    architecture: Architecture
    latencies: tuple[Latency, ...]
    origin: str
    rungs_to_come: int
    promoted: bool = False


class Proposer:
    """Proposes the trials of one search.

    Args:
        store: store of the run.
        leaderboard: knows the budget and the candidates so far.
        seed: seed of the candidates that are made without the sampler.
        rungs: number of rungs of a full training; presets are trained without rungs.
    """

    def __init__(
        self, store: RunStore, leaderboard: Leaderboard, seed: int, rungs: int = 1
    ) -> None:
        self._store = store
        self._leaderboard = leaderboard
        self._seed = seed
        self._rungs = rungs
        self._evaluated = {r.known_architecture.id for r in store.trials.read().evaluated()}

    def enqueue_initial(self, presets: Sequence[tuple[str, Architecture]]) -> None:
        """Enqueue the presets that fit and candidates spread over the budget, once per run.

        A run that was killed meanwhile enqueues the rest when it is resumed.

        Args:
            presets: names and architectures, in the order to evaluate them.

        Raises:
            RunError: the search space is not the one that the run was begun with.
        """
        budget, notes = self._leaderboard.budget, self._store.notes
        notes.require_space(budget.space)
        if notes.initial_enqueued():
            return
        trials = self._store.trials.read()
        missing = INITIAL_CANDIDATES - len(trials.trained())
        wanted = [
            (name, preset)
            for name, preset in presets
            if preset in budget.space and preset.id not in self._evaluated and budget.fits(preset)
        ]
        wanted += [(SEARCHED, architecture) for architecture in self._spread(missing)]
        enqueued = [record.params for record in trials.of(*TrialStatus)]
        for origin, architecture in wanted:
            params = budget.space.params(architecture)
            if params not in enqueued:
                self._store.trials.enqueue(params, origin)
        notes.set_initial_enqueued()

    def propose(self) -> Proposal | None:
        """The next architecture to evaluate; None if no new one within the limits is found."""
        budget, trials = self._leaderboard.budget, self._store.trials
        for attempt in range(1, REJECTIONS_UNTIL_EXHAUSTED + 1):
            asked = trials.ask(budget.space)
            ratios = budget.ratios([asked.architecture])[0]
            trials.set_limits(asked.number, ratios)
            if ratios.max() > 1.0:
                trials.reject(asked.number, TrialStatus.OVER_LIMIT)
            elif asked.architecture.id in self._evaluated:
                trials.reject(asked.number, TrialStatus.REPEATED)
            else:
                self._evaluated.add(asked.architecture.id)
                return Proposal(
                    number=asked.number,
                    architecture=asked.architecture,
                    latencies=budget.latencies(asked.architecture),
                    origin=asked.origin,
                    rungs_to_come=self._rungs - 1 if asked.origin == SEARCHED else 0,
                )
            if attempt % REJECTIONS_BEFORE_CHANGE == 0:
                changed = self._change(asked.number)
                trials.enqueue(budget.space.params(changed), SEARCHED)
        return None

    def promote(self, record: TrialRecord) -> Proposal:
        """Promote a candidate that stopped at a rung: train it to the next rung."""
        asked, budget = self._store.trials.promote(record), self._leaderboard.budget
        self._store.trials.set_limits(asked.number, budget.ratios([asked.architecture])[0])
        return Proposal(
            number=asked.number,
            architecture=asked.architecture,
            latencies=budget.latencies(asked.architecture),
            origin=asked.origin,
            rungs_to_come=record.rungs_to_come - 1,
            promoted=True,
        )

    def give_up(self, proposal: Proposal) -> None:
        """The evaluation was interrupted; the architecture is tried again."""
        if not proposal.promoted:
            self._evaluated.discard(proposal.architecture.id)
        self._store.trials.interrupt(proposal.number)

    def _change(self, number: int) -> Architecture:
        """A mutation of a candidate of the front that is within the limits."""
        budget, rng = self._leaderboard.budget, self._rng(number)
        generator = CandidateGenerator(budget.space, self._leaderboard.latency_ratio, rng)
        params = [budget.space.params(c.architecture) for c in self._leaderboard.front()]
        parents = [generator.select(p) for p in params] or generator.random(CHANGES)
        new, _ = generator.fitting(
            generator.offspring(parents, CHANGES), {key(parent) for parent in parents}
        )
        return rng.choice(new).architecture if new else budget.fastest()

    def _spread(self, count: int) -> list[Architecture]:
        """Up to ``count`` different architectures that use much of the budget; or the fastest."""
        if count < 1:
            return []
        budget, rng = self._leaderboard.budget, self._rng(0)
        generator = CandidateGenerator(budget.space, self._leaderboard.latency_ratio, rng)
        known: dict[Key, Architecture] = {}
        for _ in range(count):
            found = generator.near(rng.uniform(0.5, 1.0), known)
            if found is not None:
                known[key(found)] = found.architecture
        return list(known.values()) or [budget.fastest()]

    def _rng(self, number: int) -> random.Random:
        return random.Random(self._seed * 1_000_003 + number)
