"""Runs a search from its configuration to its `SearchResult`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from nas.accuracy.evaluators import read_data
from nas.config import SearchConfig
from nas.results.files import write_run_files
from nas.results.values import SearchResult
from nas.search.callbacks import Listener
from nas.search.executors.local import LocalExecutor
from nas.search.leaderboard import Leaderboard
from nas.search.loop import SearchLoop
from nas.search.preparation import Prepared, check, prepare
from nas.search.sampler.samplers import make_sampler
from nas.search.schedule.proposals import Proposer
from nas.search.schedule.sources import FINALIST_TRIES
from nas.search.store.run_folder import (
    create_run,
    read_run,
    require_empty,
    require_writable,
)
from nas.search.store.run_store import RunStore
from nas.search.store.study_notes import EarlierTrial
from nas.search.trial_runner import MakeExecutor
from nas.search.warm_start import as_observations, read_earlier, take_over
from nas.space.architecture_files import load_presets
from nas.system import folders
from nas.system.interrupts import deferred_interrupt


def search(
    config: SearchConfig,
    output: Path | None = None,
    *,
    measure_table: bool = True,
    tables_dir: Path | None = None,
    executor: MakeExecutor = LocalExecutor,
    listener: Listener | None = None,
    write: Callable[[SearchResult], None] = write_run_files,
) -> SearchResult:
    """Search for the most accurate architecture within a latency budget.

    Args:
        config: configuration of the search.
        output: the run's folder, new or empty; None for a new one under ``results/``.
        measure_table: whether to measure this machine's table first if it is missing or incomplete.
        tables_dir: folder of the latency tables; None for the usual folders.
        executor: function that makes an executor from the number of workers; candidates are
            evaluated on this executor.
        listener: callbacks for progress; None for none.
        write: writes the files of the result.

    Raises:
        UserError: the configuration is wrong, no network keeps the limits, or the evaluator fails.
    """
    listener = listener or Listener()
    require_writable(output or folders.results())
    if output:
        require_empty(output)
    config, space = check(config)
    data = read_data(config)
    earlier = read_earlier(config, space, data.fingerprint if data else None)
    prepared = prepare(config, space, measure_table, tables_dir, listener, data)
    run_dir = create_run(prepared.config, output)
    return _run(run_dir, prepared, earlier, executor, listener, write)


def resume(
    run_dir: Path,
    *,
    trials: int | None = None,
    time_limit_s: float | None = None,
    workers: int | None = None,
    finalists: int | None = None,
    tables_dir: Path | None = None,
    executor: MakeExecutor = LocalExecutor,
    listener: Listener | None = None,
    write: Callable[[SearchResult], None] = write_run_files,
) -> SearchResult:
    """Resume a run: keep its finished trials, and enqueue its interrupted ones again.

    Args:
        run_dir: the run's folder.
        trials, time_limit_s, workers, finalists: new values for the run's configuration; None
            keeps the present value. A given ``trials`` also replaces earlier extensions.
        tables_dir, executor, listener, write: see `search`.

    Raises:
        UserError: the folder holds no run, or the run cannot go on.
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
    data = read_data(config)
    prepared = prepare(config, space, False, tables_dir, listener, data)
    exactly = trials is not None
    return _run(run_dir, prepared, None, executor, listener, write, exactly)


def _run(
    run_dir: Path,
    prepared: Prepared,
    earlier: Sequence[EarlierTrial] | None,
    make_executor: MakeExecutor,
    listener: Listener,
    write: Callable[[SearchResult], None],
    exactly: bool = False,
) -> SearchResult:
    """Run a new or resumed search, and write the files of its result.

    Args:
        run_dir: the run's folder.
        prepared: the checked configuration and its tables.
        earlier: trials of earlier runs to begin with; None to read them, if the study does not
            hold them yet.
        make_executor, listener, write: see `search`.
        exactly: whether to forget earlier extensions of the run.
    """
    config = prepared.config
    with RunStore.opened(run_dir, config) as store:
        with deferred_interrupt():
            leaderboard, proposer = _begin(store, prepared, earlier)
            store.write_config(config)
            if exactly:
                store.notes.forget_extensions()
            if prepared.data is not None:
                listener.data(prepared.data)
            loop = SearchLoop(store, leaderboard, proposer, prepared, make_executor, listener)
            result = loop.run()
        listener.stage("writing")
        write(result)
    return result


def _begin(
    store: RunStore, prepared: Prepared, earlier: Sequence[EarlierTrial] | None
) -> tuple[Leaderboard, Proposer]:
    """Prepare the study of a new or resumed run; return the run's leaderboard and proposer."""
    config, space, data = prepared.config, prepared.space, prepared.data
    fingerprint = data.fingerprint if data else None
    if fingerprint:
        store.notes.require_data(fingerprint, config.proxy.data)
    store.notes.forget_failed_longer(FINALIST_TRIES)
    leaderboard = Leaderboard(store, prepared.budget, config.size_bonus)
    if not store.notes.has_prior():
        found = read_earlier(config, space, fingerprint) if earlier is None else earlier
        take_over(store, leaderboard, found)
    # The sampler of a resumed run must not repeat its first suggestions.
    seed = (config.seed + len(store.trials.read())) % 2**32
    prior = as_observations(store.notes.prior(), space, leaderboard.bonus)
    store.trials.use(
        make_sampler(
            config.sampler, seed, space, leaderboard.latency_ratio, prior, store.trials.observe
        )
    )
    leaderboard.calibrate()
    proposer = Proposer(store, leaderboard, config.seed, config.rungs)
    proposer.enqueue_initial(load_presets(space))
    store.trials.recover()
    return leaderboard, proposer
