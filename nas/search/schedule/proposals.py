"""Proposes architectures to evaluate: they keep every limit and were not evaluated before.

A suggestion of the sampler that breaks a limit is never evaluated. Its trial is pruned at once, and
a constraint tells Optuna how far it is over the limit.
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
"""Number of initial candidates, spread over the budget, before the sampler is asked. Fully trained
candidates of earlier runs count; presets are evaluated in addition."""

REJECTIONS_BEFORE_CHANGE = 10
"""A mutation of a good candidate is evaluated after this many rejected suggestions in a row."""

CHANGES = 50
"""Number of mutations of good candidates, from which one within the limits is drawn."""

REJECTIONS_UNTIL_EXHAUSTED = 300
"""The space counts as exhausted after this many rejected suggestions in a row."""


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate, and its trial.

    Attributes:
        number: number of the trial, which is running.
        architecture: the network.
        latencies: predicted latencies, one per device.
        origin: a preset's name, else `nas.results.values.SEARCHED`.
        rungs_to_come: number of rungs after the one to train to; 0 for a full training.
        promoted: whether the trial continues a training that stopped at a rung.
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
        leaderboard: leaderboard of the run, for the budget and the front.
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
        """Enqueue the presets within the limits, then candidates spread over the budget.

        This happens once per run. If the run is killed meanwhile, it enqueues the rest when it is
        resumed.

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
        """Begin a trial of a new architecture within the limits; return None if none is found."""
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
        """Begin a trial that trains a candidate from the rung at which it stopped to the next."""
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
        """End the trial of an interrupted evaluation; its architecture may be tried again."""
        if not proposal.promoted:
            self._evaluated.discard(proposal.architecture.id)
        self._store.trials.interrupt(proposal.number)

    def _change(self, number: int) -> Architecture:
        """Mutate candidates of the front, and return one of the results within the limits.

        Random candidates take the place of an empty front. If no result is within the limits, the
        fastest architecture is returned.

        Args:
            number: number of the rejected trial, on which the random numbers depend.
        """
        budget, rng = self._leaderboard.budget, self._rng(number)
        generator = CandidateGenerator(budget.space, self._leaderboard.latency_ratio, rng)
        params = [budget.space.params(c.architecture) for c in self._leaderboard.front()]
        parents = [generator.select(p) for p in params] or generator.random(CHANGES)
        new, _ = generator.fitting(
            generator.offspring(parents, CHANGES), {key(parent) for parent in parents}
        )
        return rng.choice(new).architecture if new else budget.fastest()

    def _spread(self, count: int) -> list[Architecture]:
        """Find up to ``count`` different architectures with latency ratios from about 0.5 to 1.

        If none is found, return the fastest architecture alone.
        """
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
