"""Runs a search from its configuration to its `SearchResult`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from nas.architecture_file import load_presets
from nas.config import SearchConfig
from nas.errors import RunError
from nas.latency.catalogue import why_not_this_machine
from nas.latency.table import TABLES_DIR
from nas.lock import locked
from nas.search.conclude import Outcome, conclude
from nas.search.executors import LocalExecutor
from nas.search.finals import train_finalists
from nas.search.listener import Listener
from nas.search.prepare import Prepared, prepare
from nas.search.result import SearchResult
from nas.search.run import (
    RESULTS_DIR,
    create_run,
    open_study,
    read_run,
    require_writable,
    write_config,
)
from nas.search.sampler import make_sampler
from nas.search.study import SearchStudy
from nas.search.training import CHECKPOINTS, CUT_OFF, EXHAUSTED, Crew
from nas.search.verify import devices_here, measure_front, recalibrate
from nas.search.warm_start import EarlierTrial, as_prior, read_earlier

MORE_ROUNDS = 2
"""How often a search goes on because the most accurate candidate was measured over a budget, or
because more fits than it seemed."""

INTERRUPTED = "measuring the front was interrupted; go on with --resume"
"""Why nothing was measured after Ctrl-C."""

MORE_TRIALS = 0.25
"""Candidates it then trains, as a share of what was asked for."""


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
    tables_dir: Path = TABLES_DIR,
    executor: Callable[[int], Executor] = LocalExecutor,
    listener: Listener | None = None,
) -> SearchResult:
    """Go on with a run; every finished trial is kept, interrupted ones run again.

    Args:
        run_dir: the run's folder.
        trials, time_limit_s, workers: replace what the run was begun with, where given.
        tables_dir, executor, listener: as for `search`.

    Raises:
        UserError: the folder holds no run, or it cannot go on.
    """
    listener = listener or Listener()
    given = {"trials": trials, "time_limit_s": time_limit_s, "workers": workers}
    updates = {name: value for name, value in given.items() if value is not None}
    config = read_run(run_dir).model_copy(update=updates)
    require_writable(run_dir, remedy="make it writable")
    prepared = prepare(config, False, tables_dir, listener)
    return _run(run_dir, prepared, None, executor, listener)


def _run(
    run_dir: Path,
    prepared: Prepared,
    earlier: Sequence[EarlierTrial] | None,
    make_executor: Callable[[int], Executor],
    listener: Listener,
) -> SearchResult:
    from nas.search.files import write_run_files

    config = prepared.config
    with locked(run_dir, RunError, "working on this run"):
        write_config(run_dir, config)
        study = _open(run_dir, prepared, earlier)
        crew = Crew(study, prepared, run_dir / CHECKPOINTS, make_executor, listener)
        outcome = _carry_out(study, prepared, crew, make_executor, listener)
        if outcome.stopped in (None, EXHAUSTED) and INTERRUPTED not in outcome.unverified.values():
            crew.clean_up()
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
    crew: Crew,
    make_executor: Callable[[int], Executor],
    listener: Listener,
) -> Outcome:
    """Train, measure, and train the finalists longer, as far as time and Ctrl-C allow."""
    stopped = crew.train(prepared.config.trials)
    reasons = {i: why_not_this_machine(table) for i, table in enumerate(prepared.tables)}
    unverified = {index: reason for index, reason in reasons.items() if reason is not None}
    undecided = None
    try:
        stopped = _verify(study, prepared, crew, listener, stopped)
    except KeyboardInterrupt:
        unverified |= dict.fromkeys(devices_here(prepared), INTERRUPTED)
        undecided = INTERRUPTED
    if len(study.finalists(prepared.config.finalists)) < 2:
        return Outcome(stopped, unverified, None)
    if undecided is None and stopped == CUT_OFF:
        undecided = CUT_OFF
    if undecided is None and crew.out_of_time():
        undecided = "the time limit was reached"
    if undecided is None:
        try:
            train_finalists(study, prepared, make_executor, listener)
        except KeyboardInterrupt:
            stopped = undecided = CUT_OFF
    return Outcome(stopped, unverified, undecided)


def _verify(
    study: SearchStudy,
    prepared: Prepared,
    crew: Crew,
    listener: Listener,
    stopped: str | None,
) -> str | None:
    """Measure, and go on with what that taught where the budget was missed, or is larger than it
    seemed.

    Returns:
        Why training stopped early, or None.

    Raises:
        KeyboardInterrupt: while measuring.
    """
    config = prepared.config
    for more in range(MORE_ROUNDS + 1):
        before, leader = study.budget, study.finalists(1)
        missed = measure_front(study, prepared, listener)
        opened = bool(leader) and study.budget.opened_since(before, leader[0].architecture)
        if stopped or more == MORE_ROUNDS or not (missed or opened):
            break
        stopped = crew.train(study.trials.begun() + math.ceil(MORE_TRIALS * config.trials))
    return stopped
