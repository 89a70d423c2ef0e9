"""Runs a search from its configuration to its `SearchResult`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from nas.architecture_file import load_presets
from nas.config import SearchConfig
from nas.errors import RunError, RuntimeUnavailableError
from nas.latency.catalogue import why_not_this_machine
from nas.latency.table import TABLES_DIR
from nas.lock import locked
from nas.search.conclude import Outcome, conclude, recommend
from nas.search.executors import LocalExecutor
from nas.search.extension import more_trials, rounds_left
from nas.search.finals import train_finalists
from nas.search.interrupts import deferred_interrupt
from nas.search.listener import Listener
from nas.search.prepare import Prepared, prepare
from nas.search.reasons import CUT_OFF, EXHAUSTED, MEASURING_CUT_OFF
from nas.search.result import SearchResult
from nas.search.run import (
    RESULTS_DIR,
    create_run,
    open_study,
    read_run,
    require_writable,
    storage_errors,
    write_config,
)
from nas.search.sampler import make_sampler
from nas.search.study import SearchStudy
from nas.search.time_limit import TimeLimit
from nas.search.training import CHECKPOINTS, Crew
from nas.search.verify import (
    TO_RECOMMEND,
    devices_here,
    measure_again,
    measure_front,
    recalibrate,
)
from nas.search.warm_start import EarlierTrial, as_prior, read_earlier


def search(
    config: SearchConfig,
    output: Path | None = None,
    *,
    measure_table: bool = True,
    tables_dir: Path = TABLES_DIR,
    executor: Callable[[int], Executor] = LocalExecutor,
    listener: Listener | None = None,
) -> SearchResult:
    """Search for the most accurate architecture within a latency budget.

    Args:
        config: what to search for.
        output: the run's folder; None for a new one under ``results/``.
        measure_table: measure this machine's table first where it is missing or incomplete.
        tables_dir: where latency tables are kept.
        executor: makes the executor that trains, from the number of workers.
        listener: told about progress.

    Raises:
        UserError: something in the configuration cannot be; nothing was trained.
    """
    listener = listener or Listener()
    require_writable(output or RESULTS_DIR)
    prepared = prepare(config, measure_table, tables_dir, listener)
    earlier = read_earlier(prepared.config, prepared.space)
    run_dir = create_run(prepared.config, output)
    return _run(run_dir, prepared, earlier, executor, listener)


def resume(
    run_dir: Path,
    *,
    trials: int | None = None,
    time_limit_s: float | None = None,
    workers: int | None = None,
    finalists: int | None = None,
    tables_dir: Path = TABLES_DIR,
    executor: Callable[[int], Executor] = LocalExecutor,
    listener: Listener | None = None,
) -> SearchResult:
    """Go on with a run; every finished trial is kept, interrupted ones are queued again.

    Args:
        run_dir: the run's folder.
        trials, time_limit_s, workers, finalists: replace what the run was begun with, where given.
        tables_dir, executor, listener: as for `search`.

    Raises:
        UserError: the folder holds no run, or it cannot go on.
    """
    listener = listener or Listener()
    given = {
        "trials": trials,
        "time_limit_s": time_limit_s,
        "workers": workers,
        "finalists": finalists,
    }
    updates = {name: value for name, value in given.items() if value is not None}
    config = read_run(run_dir).changed(updates)
    require_writable(run_dir, remedy="make it writable")
    prepared = prepare(config, False, tables_dir, listener)
    return _run(run_dir, prepared, None, executor, listener, exactly=trials is not None)


def _run(
    run_dir: Path,
    prepared: Prepared,
    earlier: Sequence[EarlierTrial] | None,
    make_executor: Callable[[int], Executor],
    listener: Listener,
    exactly: bool = False,
) -> SearchResult:
    """Carry out a run; ``exactly`` forgets by how much it was extended before."""
    from nas.search.files import write_run_files

    config = prepared.config
    with locked(run_dir, RunError, "working on this run"), storage_errors(run_dir):
        with deferred_interrupt():
            study = _open(run_dir, prepared, earlier)
            write_config(run_dir, config)
            if exactly:
                study.ledger.forget_extensions()
            checkpoints = run_dir / CHECKPOINTS
            outcome = _carry_out(study, prepared, checkpoints, make_executor, listener)
            result = conclude(run_dir, prepared, study, outcome)
        listener.stage("writing")
        write_run_files(result)
    return result


def _open(run_dir: Path, prepared: Prepared, earlier: Sequence[EarlierTrial] | None) -> SearchStudy:
    """The study of a run; what earlier runs have trained is read where it is neither given nor
    known."""
    config, space = prepared.config, prepared.space
    study = SearchStudy(
        open_study(run_dir, config),
        prepared.budget,
        config.seed,
        config.rungs,
        config.size_bonus,
    )
    if not study.remembers():
        study.remember(read_earlier(config, space) if earlier is None else earlier)
    # A resumed sampler must not repeat the proposals it began with.
    seed = (config.seed + len(study.study.get_trials(deepcopy=False))) % 2**32
    prior = as_prior(study.earlier(), space, study.bonus)
    study.study.sampler = make_sampler(config.sampler, seed, space, study.load, prior)
    recalibrate(study, prepared)
    study.begin(load_presets())
    study.recover()
    return study


def _carry_out(
    study: SearchStudy,
    prepared: Prepared,
    checkpoints: Path,
    make_executor: Callable[[int], Executor],
    listener: Listener,
) -> Outcome:
    """Train, measure, and train the finalists longer, as far as time and Ctrl-C allow."""
    config = prepared.config
    time_limit = TimeLimit(config.time_limit_s)
    crew = Crew(study, prepared, time_limit, checkpoints, make_executor, listener)
    stopped = crew.train(max([config.trials, *study.ledger.extensions()]))
    stopped, unmeasured = _verify(study, prepared, crew, time_limit, listener, stopped)
    reasons = {i: why_not_this_machine(table) for i, table in enumerate(prepared.tables)}
    unverified = {index: reason for index, reason in reasons.items() if reason is not None}
    unverified |= unmeasured
    if stopped == CUT_OFF or MEASURING_CUT_OFF in unmeasured.values():
        return Outcome(stopped, unverified, CUT_OFF)
    if stopped in (None, EXHAUSTED):
        crew.clean_up()
    while True:
        undecided = train_finalists(study, config, time_limit, make_executor, listener)
        if undecided == CUT_OFF:
            return Outcome(CUT_OFF, unverified, undecided)
        try:
            with time_limit.paused(), study.ledger.timed():
                confirmed = _confirm(study, prepared, unverified, listener)
        except KeyboardInterrupt:
            return Outcome(CUT_OFF, unverified, undecided)
        if confirmed:
            return Outcome(stopped, unverified, undecided)


def _confirm(
    study: SearchStudy, prepared: Prepared, unverified: Mapping[int, str], listener: Listener
) -> bool:
    """Measure what is to be recommended once more; and whatever takes the place of what both
    measurements together show not to be sure within its budgets.

    Returns:
        Whether nothing is left to be confirmed, nor has become a finalist.
    """
    here = [index for index in devices_here(prepared) if index not in unverified]
    number = recommend(study, here, prepared.config.finalists)
    best = [c.architecture for c in study.candidates() if c.number == number]
    once = [i for i in here for a in best if study.ledger.times_measured(a, i) < TO_RECOMMEND]
    if not once:
        return True
    try:
        measure_again(study, prepared, best[0], once, listener)
    except RuntimeUnavailableError:
        return True  # it could be measured before, and that stands
    if recommend(study, here, prepared.config.finalists) == number:
        return True
    measure_front(study, prepared, listener, skipped=unverified)
    return False


def _verify(
    study: SearchStudy,
    prepared: Prepared,
    crew: Crew,
    time_limit: TimeLimit,
    listener: Listener,
    stopped: str | None,
) -> tuple[str | None, dict[int, str]]:
    """Measure, and go on with what that taught where the best was lost by it, or more fits.

    Returns:
        Why training stopped early, or None; and why devices that are here were not measured, by
        index.
    """
    unmeasured: dict[int, str] = {}
    try:
        while True:
            before, leader = study.budget, study.finalists(1)
            with time_limit.paused(), study.ledger.timed():
                shown = measure_front(study, prepared, listener, skipped=unmeasured)
            unmeasured |= shown.failed
            opened = any(study.budget.opened_since(before, c.architecture) for c in leader)
            go_on = opened if stopped == EXHAUSTED else stopped is None and (shown.missed or opened)
            if not go_on or not rounds_left(study.ledger):
                return stopped, unmeasured
            trials = study.trials.begun() + more_trials(prepared.config)
            study.ledger.extend(trials)
            stopped = crew.train(trials)
    except KeyboardInterrupt:
        return stopped, dict.fromkeys(devices_here(prepared), MEASURING_CUT_OFF)
