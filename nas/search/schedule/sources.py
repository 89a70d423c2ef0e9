"""The jobs of a search: candidates, and the longer trainings of finalists.

The best of many short trainings is partly the luckiest. The candidates of the best score
are therefore trained once more, longer and with another seed, before one of them is recommended.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection
from typing import Any

from nas.accuracy.evaluator import Evaluation, EvaluationFailure, Request
from nas.accuracy.fidelity import rung_images
from nas.config import SearchConfig
from nas.errors import EvaluatorError, RunError
from nas.results.values import (
    MIN_FINALISTS,
    Candidate,
    LongerTraining,
    Provenance,
    StopReason,
)
from nas.search.callbacks import Listener, Trained
from nas.search.leaderboard import Leaderboard
from nas.search.sampler.hypervolume import hypervolume
from nas.search.schedule.promotion import best_at_rung, never_promoted
from nas.search.schedule.proposals import Proposal, Proposer
from nas.search.stopping import (
    FIRST_PATIENCE_S,
    PATIENCE_S,
    PATIENCE_SHARE,
    TimeLimit,
    extension,
    extensions_to_come,
)
from nas.search.store.records import TrialRecord
from nas.search.store.run_store import RunStore
from nas.search.store.study_notes import Clock
from nas.search.trial_runner import TRIES, Job
from nas.space.architecture import Architecture

LONGER = 4
"""Ratio of the images in a finalist's longer training to those in a candidate's full training."""

FINALIST_TRIES = 2
"""Number of failures of a finalist's longer training after which no session of the run repeats it.
"""

SEED_OFFSET = 1
"""Added to the seed of a search for the longer trainings of its finalists."""


class CandidateSource:
    """Supplies candidates, new ones and promoted ones, until enough are evaluated.

    Args:
        store, leaderboard, proposer: store, leaderboard and proposer of the run.
        config: configuration of the search.
        total: number of candidates to evaluate, including those of earlier sessions of this run.
        time_limit: time limit of the search; part of it is kept for the finalists.
        clock: clock of the run, which records the time spent.
        provenance: provenance of the first device's latencies, for the listener.
        listener: callbacks for progress.
        needs_checkpoint: `nas.accuracy.evaluator.Evaluator.needs_checkpoint` of the evaluator.
    """

    def __init__(
        self,
        store: RunStore,
        leaderboard: Leaderboard,
        proposer: Proposer,
        config: SearchConfig,
        total: int,
        time_limit: TimeLimit,
        clock: Clock,
        provenance: Provenance,
        listener: Listener,
        needs_checkpoint: bool,
    ) -> None:
        self._store = store
        self._leaderboard = leaderboard
        self._proposer = proposer
        self._config = config
        self._total = total
        self._time_limit = time_limit
        self._clock = clock
        self._provenance = provenance
        self._listener = listener
        self._needs_checkpoint = needs_checkpoint
        self._images = rung_images(config.proxy.train_images, config.rungs)
        self.stopped: StopReason | None = None

    def next(self, running: Collection[Job[Proposal]]) -> Job[Proposal] | None:
        """Return the job of a promotion if one is due, else that of a new candidate.

        None means that nothing is to be started now.
        """
        while True:
            new = sum(not job.subject.promoted for job in running)
            trials = self._store.trials.read()
            no_more = self.stopped is not None or trials.begun() + new >= self._total
            at_rung = self._best_at_rung(no_more)
            if at_rung is None and no_more:
                return None
            if self._time_is_up():
                self.stopped = StopReason.TIME_LIMIT_OF_CANDIDATES
                at_rung = at_rung or self._best_at_rung(no_more=True)
                if at_rung is None or trials.trained():
                    return None
            if at_rung is not None:
                return self._job(self._proposer.promote(at_rung))
            proposal = self._proposer.propose()
            if proposal is not None:
                return self._job(proposal)
            self.stopped = StopReason.SPACE_EXHAUSTED

    def finish(self, job: Job[Proposal], evaluation: Evaluation) -> None:
        """Record the evaluation, and remove checkpoints that will not be needed."""
        proposal, trials = job.subject, self._store.trials
        bonus = self._leaderboard.bonus.of(proposal.architecture, evaluation.images)
        latencies_ms = [latency.latency_ms for latency in proposal.latencies]
        to_come = proposal.rungs_to_come
        trials.record(proposal.number, evaluation, bonus, to_come, latencies_ms)
        done = set()
        if evaluation.diverged or not to_come:
            done.add(proposal.architecture.id)
        extensions = extensions_to_come(self._store.notes) * extension(self._config)
        done |= never_promoted(
            trials.read(), self._leaderboard, self._config.rungs, self._total + extensions
        )
        for architecture_id in done:
            self._store.remove_checkpoint(architecture_id)
        self._clock.record()
        self._listener.trained(self._trained(proposal, evaluation.seconds))

    def fail(self, job: Job[Proposal], failure: EvaluationFailure) -> None:
        """Record the error, and remove the checkpoint of the candidate."""
        self._store.trials.fail(job.subject.number, failure)
        self._store.remove_checkpoint(job.subject.architecture.id)
        self._clock.record()
        self._listener.trained(self._trained(job.subject, 0.0, failure.message))

    def give_up(self, job: Job[Proposal]) -> None:
        """End the trial of an interrupted evaluation; its architecture may be tried again."""
        self._proposer.give_up(job.subject)

    def died(self, job: Job[Proposal]) -> None:
        """End the trial; its architecture may be tried again, unless it was tried enough."""
        tries = _record_try(self._store, job)
        if tries < TRIES:
            self.give_up(job)
        else:
            self.fail(job, _died(tries))

    def hangs(self, job: Job[Proposal], running_s: float) -> bool:
        """Return whether the time for candidates is up, and this one takes unusually long."""
        return (
            running_s > PATIENCE_S and self._time_is_up() and running_s > _patience_s(self._store)
        )

    def stop(
        self, reason: StopReason, message: str, unfinished: Collection[Job[Proposal]]
    ) -> StopReason | None:
        """End the unfinished trials; their architectures may be tried again.

        Returns:
            The given reason.

        Raises:
            RunError: workers died, and no candidate was trained in full.
            EvaluatorError: evaluations failed, and no candidate was trained in full.
        """
        for job in unfinished:
            self.give_up(job)
        if not self._store.trials.read().trained():
            raise (RunError if reason is StopReason.WORKERS_DIED else EvaluatorError)(message)
        return reason

    def _best_at_rung(self, no_more: bool) -> TrialRecord | None:
        return best_at_rung(
            self._store.trials.read(),
            self._leaderboard,
            self._config.rungs,
            self._store.with_checkpoint() if self._needs_checkpoint else None,
            no_more,
        )

    def _job(self, proposal: Proposal) -> Job[Proposal]:
        halving = self._config.rungs > 1
        request = Request(
            architecture=proposal.architecture,
            images=self._images[len(self._images) - 1 - proposal.rungs_to_come],
            seed=self._config.seed,
            workload=self._leaderboard.budget.workload,
            checkpoint_folder=str(self._store.checkpoint_folder) if halving else None,
        )
        return Job(request, proposal, suspect=_tries(self._store, request) > 0)

    def _time_is_up(self) -> bool:
        """Whether only the time reserved for the finalists is left: at most half of the limit."""
        remaining_s = self._time_limit.remaining_s()
        if math.isinf(remaining_s):
            return False
        expected_s = finalists_s(self._store, self._leaderboard, self._config)
        return remaining_s <= min(expected_s, self._time_limit.limit_s / 2)

    def _trained(self, proposal: Proposal, seconds: float, failure: str | None = None) -> Trained:
        trials, front = self._store.trials.read(), self._leaderboard.front()
        known = [*self._leaderboard.candidates(), *self._leaderboard.partly_trained()]
        budget_ms = self._leaderboard.budget.devices[0].budget_ms
        rungs = self._config.rungs
        at_rung = [len(trials.at_rung(to_come)) for to_come in reversed(range(1, rungs))]
        return Trained(
            candidate=next((c for c in known if c.number == proposal.number), None),
            done=trials.begun(),
            total=self._total,
            at_rung=(*at_rung, len(trials.trained()) - trials.imported()),
            rung=rungs - proposal.rungs_to_come,
            on_front=any(c.number == proposal.number for c in front),
            best=front[-1] if front else None,
            hypervolume=hypervolume(
                [c.score for c in front],
                [c.latencies[0].latency_ms / budget_ms for c in front],
                (0.0, 1.0),
            ),
            seconds=seconds,
            provenance=self._provenance,
            failure=failure,
        )


class FinalistSource:
    """Supplies the finalists whose longer training is still to be done, the best first.

    Args:
        store, leaderboard: store and leaderboard of the run.
        config: configuration of the search.
        time_limit: time limit of the search.
        listener: callbacks for progress.
    """

    def __init__(
        self,
        store: RunStore,
        leaderboard: Leaderboard,
        config: SearchConfig,
        time_limit: TimeLimit,
        listener: Listener,
    ) -> None:
        self._store = store
        self._leaderboard = leaderboard
        self._config = config
        self._time_limit = time_limit
        self._listener = listener
        self._waiting = unfinished_finalists(leaderboard, config)
        self._done, self._count = 0, len(self._waiting)
        self.stopped: StopReason | None = None
        listener.finalists(0, self._count)

    def next(self, running: Collection[Job[Candidate]]) -> Job[Candidate] | None:
        """Return the job of the best finalist that waits for its longer training.

        None means that no finalist waits, or that the time limit was reached.
        """
        if not self._waiting:
            return None
        if self._time_limit.remaining_s() <= 0:
            self.stopped = StopReason.TIME_LIMIT
            return None
        candidate = self._waiting.pop(0)
        request = Request(
            architecture=candidate.architecture,
            images=LONGER * self._config.proxy.train_images,
            seed=self._config.seed + SEED_OFFSET,
            workload=self._leaderboard.budget.workload,
        )
        return Job(request, candidate, suspect=_tries(self._store, request) > 0)

    def finish(self, job: Job[Candidate], evaluation: Evaluation) -> None:
        """Record the longer training."""
        self._record(job.request.architecture, evaluation)

    def fail(self, job: Job[Candidate], failure: EvaluationFailure) -> None:
        """Record that the evaluator failed, with its message; a resumed run tries once more."""
        _record_try(self._store, job)
        self._record_failure(job, failure)

    def give_up(self, job: Job[Candidate]) -> None:
        """Return the finalist of an interrupted training to the queue."""
        self._waiting.insert(0, job.subject)

    def died(self, job: Job[Candidate]) -> None:
        """Return the finalist to the queue, unless its training was tried enough."""
        tries = _record_try(self._store, job)
        if tries < TRIES:
            self.give_up(job)
        else:
            self._record_failure(job, _died(tries))

    def hangs(self, job: Job[Candidate], running_s: float) -> bool:
        """Return whether the time is up, and this training takes unusually long."""
        return self._time_limit.remaining_s() <= 0 and running_s > _patience_s(self._store, LONGER)

    def stop(
        self, reason: StopReason, message: str, unfinished: Collection[Job[Candidate]]
    ) -> StopReason | None:
        """Leave the other finalists without a longer training; return the given reason."""
        return reason

    def _record_failure(self, job: Job[Candidate], failure: EvaluationFailure) -> None:
        failed = Evaluation(0.0, job.request.images, diverged=True)
        self._record(job.request.architecture, failed, failure.message)

    def _record(
        self, architecture: Architecture, evaluation: Evaluation, message: str = ""
    ) -> None:
        images, diverged = evaluation.images, evaluation.diverged
        bonus = 0.0 if diverged else self._leaderboard.bonus.of(architecture, images)
        longer = LongerTraining(evaluation.score, bonus, images, diverged, message)
        self._store.notes.record_longer(architecture, longer)
        self._done += 1
        self._listener.finalists(self._done, self._count)


def _tries(store: RunStore, request: Request[Architecture]) -> int:
    return store.notes.tries(request.architecture.id, request.images)


def _record_try(store: RunStore, job: Job[Any]) -> int:
    return store.notes.record_try(job.request.architecture.id, job.request.images)


def _died(tries: int) -> EvaluationFailure:
    message = f"its process died, or never returned, {tries} times (out of memory?)"
    return EvaluationFailure(message, "")


def _patience_s(store: RunStore, longer: int = 1) -> float:
    """Return the seconds after which an evaluation counts as one that never returns.

    Args:
        store: store of the run, which knows how long evaluations took so far.
        longer: ratio of its images to those of a full training.
    """
    longest_s = max(store.trials.read().seconds().values(), default=0.0)
    if not longest_s:
        return FIRST_PATIENCE_S
    return max(PATIENCE_S, PATIENCE_SHARE * longer * longest_s)


def unfinished_finalists(leaderboard: Leaderboard, config: SearchConfig) -> list[Candidate]:
    """Return the current finalists without a longer training, the best first.

    There are none if the finalists are fewer than `MIN_FINALISTS`, and so cannot be compared.
    """
    finalists = leaderboard.finalists(config.finalists)
    if len(finalists) < MIN_FINALISTS:
        return []
    return [candidate for candidate in finalists if candidate.longer is None]


def finalists_s(store: RunStore, leaderboard: Leaderboard, config: SearchConfig) -> float:
    """Estimate the seconds that the longer trainings of the current finalists still take.

    The estimate is based on their first trainings. A candidate of an earlier run is assumed to
    have taken the mean time of the others; if no time is known, the estimate is 0.
    """
    seconds = store.trials.read().seconds()
    known = [seconds[c.number] for c in leaderboard.candidates() if seconds[c.number]]
    mean_s = statistics.fmean(known) if known else 0.0
    unfinished = unfinished_finalists(leaderboard, config)
    total_s = LONGER * sum(seconds[candidate.number] or mean_s for candidate in unfinished)
    return total_s / max(1, min(config.workers, len(unfinished)))
