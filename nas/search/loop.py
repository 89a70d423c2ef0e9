"""The search loop: evaluate candidates, measure the front, train finalists longer, confirm.

A measurement may show that more candidates should be evaluated. A second measurement of the
recommended network may show that another network is better. So these steps repeat until the
recommended network was measured twice. No network is measured more than twice on a device, and the
search is extended at most `nas.search.stopping.MAX_EXTENSIONS` times.
"""

from __future__ import annotations

from nas.accuracy.evaluators import make_evaluator
from nas.config import TRAINING
from nas.latency.table.catalog import why_not_this_machine
from nas.results.values import SearchResult, StopReason
from nas.search.callbacks import Listener
from nas.search.leaderboard import Leaderboard
from nas.search.preparation import Prepared
from nas.search.recommendation import Outcome, conclude, recommend
from nas.search.schedule.proposals import Proposer
from nas.search.schedule.sources import CandidateSource, FinalistSource, unfinished_finalists
from nas.search.stopping import TimeLimit, extension, extensions_to_come
from nas.search.store.run_store import RunStore
from nas.search.trial_runner import MakeExecutor, TrialRunner
from nas.search.verification import MEASUREMENTS_TO_RECOMMEND, Verifier
from nas.system.interrupts import told_to_end

GOES_ON = (None, StopReason.SPACE_EXHAUSTED)
"""Stop reasons of the evaluation of candidates after which the search is complete, or may still be
extended; None means that all candidates were evaluated."""


class SearchLoop:
    """Runs a search until it is done, its time limit is reached, or Ctrl-C is pressed.

    Args:
        store: store of the run.
        leaderboard: leaderboard of the run.
        proposer: proposer of the run.
        prepared: the checked configuration and its tables.
        make_executor: makes the executor on which candidates are evaluated.
        listener: callbacks for progress.
    """

    def __init__(
        self,
        store: RunStore,
        leaderboard: Leaderboard,
        proposer: Proposer,
        prepared: Prepared,
        make_executor: MakeExecutor,
        listener: Listener,
    ) -> None:
        config = prepared.config
        self._store = store
        self._leaderboard = leaderboard
        self._proposer = proposer
        self._prepared = prepared
        self._listener = listener
        self._time_limit = TimeLimit(config.time_limit_s)
        data = prepared.data
        self._evaluator = make_evaluator(config, data.fingerprint if data else None)
        self._runner = TrialRunner(self._evaluator, make_executor, config.workers)
        self._verifier = Verifier(store, leaderboard, prepared, listener)
        self._stopped: StopReason | None = None
        self._finalists_stopped: StopReason | None = None
        self._unverified: dict[int, str | StopReason] = {
            index: reason
            for index, table in enumerate(prepared.tables)
            if (reason := why_not_this_machine(table)) is not None
        }

    def run(self) -> SearchResult:
        """Evaluate candidates, measure the best, and return the result with a recommendation."""
        if self._measure_session():
            self._evaluate(max([self._prepared.config.trials, *self._store.notes.extensions()]))
        if self._verify_until_confirmed() and self._stopped in GOES_ON:
            self._store.remove_checkpoints()
        outcome = Outcome(self._stopped, self._unverified, self._finalists_stopped)
        return conclude(
            self._store,
            self._leaderboard,
            self._prepared,
            outcome,
            self._verifier.devices_here,
        )

    def _measure_session(self) -> bool:
        """Measure some networks of the tables once more; return False after Ctrl-C."""
        try:
            with self._time_limit.paused(), self._store.notes.timed():
                self._verifier.measure_session()
        except KeyboardInterrupt:
            self._stopped = StopReason.INTERRUPTED
            return False
        return True

    def _verify_until_confirmed(self) -> bool:
        """Repeat measuring, training finalists and confirming until nothing is left to confirm.

        Returns:
            True at the end; False if the user interrupted the search before.
        """
        confirmed: int | None = None
        if self._stopped is StopReason.INTERRUPTED and told_to_end():
            reason = StopReason.VERIFICATION_INTERRUPTED
            self._unverified |= dict.fromkeys(self._verifier.devices_here, reason)
            self._finalists_stopped = StopReason.INTERRUPTED
            return False
        while True:
            self._verify(confirmed)
            interrupted = StopReason.VERIFICATION_INTERRUPTED in self._unverified.values()
            if self._stopped is StopReason.INTERRUPTED or interrupted:
                self._finalists_stopped = StopReason.INTERRUPTED
                return False
            if self._finalists_stopped is None:
                self._finalists_stopped = self._train_finalists()
            if self._finalists_stopped is StopReason.INTERRUPTED:
                self._stopped = StopReason.INTERRUPTED
                return False
            try:
                confirmed = self._confirm()
            except KeyboardInterrupt:
                self._stopped = StopReason.INTERRUPTED
                return False
            if confirmed is None:
                return True

    def _evaluate(self, total: int) -> None:
        """Evaluate candidates until the run has evaluated ``total``, earlier sessions included."""
        store, config = self._store, self._prepared.config
        self._listener.stage("training" if config.evaluator == TRAINING else "evaluating")
        self._listener.training(store.trials.read().begun(), total)
        with store.notes.timed() as clock:
            source = CandidateSource(
                store,
                self._leaderboard,
                self._proposer,
                config,
                total,
                self._time_limit,
                clock,
                self._prepared.tables[0].latency_kind,
                self._listener,
                self._evaluator.needs_checkpoint,
            )
            self._stopped = self._runner.run(source)

    def _train_finalists(self) -> StopReason | None:
        """Train the finalists longer; return why some were not trained, or None if all were."""
        config = self._prepared.config
        if not unfinished_finalists(self._leaderboard, config):
            return None
        self._listener.stage("finalists")
        with self._store.notes.timed():
            source = FinalistSource(
                self._store, self._leaderboard, config, self._time_limit, self._listener
            )
            return self._runner.run(source)

    def _verify(self, confirmed: int | None) -> None:
        """Measure the front, and extend the search while measurements call for it.

        They do if the best candidate is lost (`Verifier.is_lost`), or if larger networks fit than
        was predicted.

        Args:
            confirmed: number of the candidate that `_confirm` measured just before, or None.
        """
        notes = self._store.notes
        lost = confirmed is not None and self._verifier.is_lost(confirmed)
        try:
            while True:
                before, best = self._leaderboard.budget, self._leaderboard.finalists(1)
                with self._time_limit.paused(), notes.timed():
                    found = self._verifier.measure_front(self._unverified)
                self._unverified |= found.failed
                lost = lost or found.lost
                budget = self._leaderboard.budget
                more_fits = any(budget.allows_more_than(before, c.architecture) for c in best)
                # An exhausted space has further candidates only if larger networks fit now.
                wanted = more_fits or (lost and self._stopped is None)
                possible = self._stopped in GOES_ON and extensions_to_come(notes) > 0
                if not (wanted and possible):
                    return
                lost = False
                total = self._store.trials.read().begun() + extension(self._prepared.config)
                notes.extend(total)
                self._evaluate(total)
        except KeyboardInterrupt:
            reason = StopReason.VERIFICATION_INTERRUPTED
            self._unverified |= dict.fromkeys(self._verifier.devices_here, reason)

    def _confirm(self) -> int | None:
        """Measure the network to recommend once more, on devices where it was measured too rarely.

        Returns:
            The number of its trial. None if nothing was measured: either there is no network to
            recommend, or every device that can measure it has done so often enough.
        """
        here = [i for i in self._verifier.devices_here if i not in self._unverified]
        best = recommend(self._leaderboard, here, self._prepared.config.finalists)
        if best is None:
            return None
        notes, architecture = self._store.notes, best.architecture
        devices = [
            index
            for index in here
            if notes.times_measured(architecture, index) < MEASUREMENTS_TO_RECOMMEND
        ]
        if not devices:
            return None
        with self._time_limit.paused(), notes.timed():
            self._unverified |= self._verifier.measure_again(architecture, devices)
        return best.number
