"""The course of a search: candidates are trained, the front is measured, finalists trained longer.

Measuring may show that more candidates should be trained, and measuring the recommended one once
more that another is to be recommended. So this goes round until what is to be recommended was
measured twice; no network is measured more often than that, and training goes on only so often
(`nas.search.extension`).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from nas.latency.table.catalog import why_not_this_machine
from nas.search.callbacks import Listener
from nas.search.candidate_training import Crew
from nas.search.extension import more_trials, rounds_left
from nas.search.finalist_training import train_finalists
from nas.search.preparation import Prepared
from nas.search.recommendation import Outcome, recommend
from nas.search.stop_reasons import CUT_OFF, EXHAUSTED, MEASURING_CUT_OFF
from nas.search.store.study import SearchStudy
from nas.search.time_limit import TimeLimit
from nas.search.verification import (
    TO_RECOMMEND,
    devices_here,
    is_lost,
    measure_again,
    measure_front,
)


class Course:
    """Carries a search out, as far as time and Ctrl-C allow.

    Args:
        study: what was trained and measured; keeps what is.
        prepared: what was asked for.
        checkpoints: folder of trainings that stopped at a rung.
        make_executor: makes the executor that trains, from the number of workers.
        listener: told about progress.
    """

    def __init__(
        self,
        study: SearchStudy,
        prepared: Prepared,
        checkpoints: Path,
        make_executor: Callable[[int], Executor],
        listener: Listener,
    ) -> None:
        self._study = study
        self._prepared = prepared
        self._make_executor = make_executor
        self._listener = listener
        self._time_limit = TimeLimit(prepared.config.time_limit_s)
        self._crew = Crew(study, prepared, self._time_limit, checkpoints, make_executor, listener)
        self._stopped: str | None = None
        self._undecided: str | None = None
        reasons = {i: why_not_this_machine(table) for i, table in enumerate(prepared.tables)}
        self._unverified = {i: reason for i, reason in reasons.items() if reason is not None}

    def run(self) -> Outcome:
        """Train, measure and choose; says how that ended."""
        study, config = self._study, self._prepared.config
        self._stopped = self._crew.train(max([config.trials, *study.ledger.extensions()]))
        confirmed = None
        while True:
            self._verify(confirmed)
            if self._stopped == CUT_OFF or MEASURING_CUT_OFF in self._unverified.values():
                return Outcome(self._stopped, self._unverified, CUT_OFF)
            if self._undecided is None:
                self._undecided = train_finalists(
                    study, config, self._time_limit, self._make_executor, self._listener
                )
            if self._undecided == CUT_OFF:
                return Outcome(CUT_OFF, self._unverified, CUT_OFF)
            try:
                confirmed = self._confirm()
            except KeyboardInterrupt:
                return Outcome(CUT_OFF, self._unverified, self._undecided)
            if confirmed is None:
                break
        if self._stopped in (None, EXHAUSTED):
            self._crew.clean_up()
        return Outcome(self._stopped, self._unverified, self._undecided)

    def _verify(self, confirmed: int | None) -> None:
        """Measure the front, and go on training where the best was lost by measuring, or more fits.

        Args:
            confirmed: number of what was measured once more just before, or None.
        """
        study = self._study
        lost = confirmed is not None and is_lost(study, confirmed)
        try:
            while True:
                before, leader = study.budget, study.finalists(1)
                with self._time_limit.paused(), study.ledger.timed():
                    shown = measure_front(study, self._prepared, self._listener, self._unverified)
                self._unverified |= shown.failed
                lost = lost or shown.missed
                opened = any(study.budget.opened_since(before, c.architecture) for c in leader)
                # A space that is exhausted has more to offer only where more fits.
                more = opened if self._stopped == EXHAUSTED else opened or lost
                able = self._stopped in (None, EXHAUSTED) and rounds_left(study.ledger) > 0
                if not (more and able):
                    return
                lost = False
                trials = study.trials.begun() + more_trials(self._prepared.config)
                study.ledger.extend(trials)
                self._stopped = self._crew.train(trials)
        except KeyboardInterrupt:
            self._unverified |= dict.fromkeys(devices_here(self._prepared), MEASURING_CUT_OFF)

    def _confirm(self) -> int | None:
        """Measure what is to be recommended once more.

        Returns:
            Its number; None where it was measured often enough, or there is nothing to measure.
        """
        study = self._study
        here = [i for i in devices_here(self._prepared) if i not in self._unverified]
        number = recommend(study, here, self._prepared.config.finalists)
        best = [c.architecture for c in study.candidates() if c.number == number]
        once = [i for i in here for a in best if study.ledger.times_measured(a, i) < TO_RECOMMEND]
        if not once:
            return None
        with self._time_limit.paused(), study.ledger.timed():
            self._unverified |= measure_again(study, self._prepared, best[0], once, self._listener)
        return number
