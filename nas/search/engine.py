"""Runs a search from its configuration to its `SearchResult`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from nas.config import SearchConfig
from nas.errors import RunError
from nas.latency.table.table import TABLES_DIR
from nas.results.values import SearchResult
from nas.search.callbacks import Listener
from nas.search.candidate_training import CHECKPOINTS
from nas.search.executors.local import LocalExecutor
from nas.search.loop import Course
from nas.search.preparation import Prepared, check, prepare
from nas.search.recommendation import conclude
from nas.search.sampler.samplers import make_sampler
from nas.search.store.run_folder import (
    RESULTS_DIR,
    create_run,
    open_study,
    read_run,
    refuse_existing,
    require_writable,
    storage_errors,
    write_config,
)
from nas.search.store.study import SearchStudy
from nas.search.verification import recalibrate
from nas.search.warm_start import EarlierTrial, as_prior, read_earlier
from nas.space.architecture_files import load_presets
from nas.system.interrupts import deferred_interrupt
from nas.system.lock import locked


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
    if output:
        refuse_existing(output)
    config, space = check(config)
    earlier = read_earlier(config, space)
    prepared = prepare(config, space, measure_table, tables_dir, listener)
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
    config, space = check(read_run(run_dir).changed(updates))
    require_writable(run_dir, remedy="make it writable")
    prepared = prepare(config, space, False, tables_dir, listener)
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
    from nas.results.files import write_run_files

    config = prepared.config
    with locked(run_dir, RunError, "working on this run"), storage_errors(run_dir):
        with deferred_interrupt():
            study = _open(run_dir, prepared, earlier)
            write_config(run_dir, config)
            if exactly:
                study.ledger.forget_extensions()
            course = Course(study, prepared, run_dir / CHECKPOINTS, make_executor, listener)
            result = conclude(run_dir, prepared, study, course.run())
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
