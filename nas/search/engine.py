"""Runs a search from its configuration to its `SearchResult`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from nas.architecture import Architecture
from nas.architecture_file import load_architecture, preset_names
from nas.config import SearchConfig
from nas.errors import ArchitectureError, RunError, TableError
from nas.latency.catalogue import (
    TableKey,
    find_table,
    measure_command,
    own_key,
    why_not_this_machine,
)
from nas.latency.collect import collect_table, measure_networks, missing_for
from nas.latency.completion import with_interpolated
from nas.latency.predictor import LatencyPredictor
from nas.latency.table import TABLES_DIR, LatencyTable
from nas.lock import locked
from nas.paths import is_file
from nas.proxy.imagefolder import read_source
from nas.proxy.source import absolute_source, check_source
from nas.search.budget import Budget
from nas.search.evaluate import Evaluation, evaluate
from nas.search.executors import LocalExecutor, stop_executor
from nas.search.listener import Listener, Trained
from nas.search.pareto import pareto_front
from nas.search.recommend import recommend
from nas.search.result import Candidate, Reference, SearchResult
from nas.search.run import (
    RESULTS_DIR,
    create_run,
    open_study,
    read_run,
    require_writable,
    write_config,
)
from nas.search.sampler import make_sampler
from nas.search.study import Proposal, SearchStudy
from nas.space import SearchSpace
from nas.space_file import load_space, space_names

PUBLISHED_TOP1 = {"nextvit-small": 82.5, "nextvit-base": 83.2, "nextvit-large": 83.6}
"""ImageNet-1k top-1 in percent at 224 pixels (arXiv 2207.05501, table 5)."""

MAX_CRASHES = 3


@dataclass(frozen=True)
class _Prepared:
    config: SearchConfig
    space: SearchSpace
    table: LatencyTable
    budget: Budget


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
    prepared = _prepare(config, measure_table, tables_dir, listener)
    run_dir = create_run(prepared.config, output)
    return _run(run_dir, prepared, executor, listener)


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
    changes = {name: value for name, value in given.items() if value is not None}
    config = read_run(run_dir).model_copy(update=changes)
    require_writable(run_dir, remedy="make it writable")
    prepared = _prepare(config, False, tables_dir, listener)
    return _run(run_dir, prepared, executor, listener)


def _prepare(
    config: SearchConfig, measure_table: bool, tables_dir: Path, listener: Listener
) -> _Prepared:
    """Everything that can be wrong is found here, before anything is spent."""
    config = _with_absolute_paths(config)
    space = load_space(config.space)
    make_sampler(config.sampler, config.seed)
    check_source(config.proxy)
    space.check_resolution(config.resolution)
    try:
        space.check_resolution(config.proxy.resolution)
    except ArchitectureError as error:
        raise ArchitectureError(f"proxy training: {error}") from None
    read_source(config.proxy)
    table = _table(config, space, measure_table, tables_dir, listener)
    meta = table.meta
    config = config.model_copy(
        update={
            "device": meta.device,
            "precision": meta.precision,
            "batch_size": meta.batch_size,
        }
    )
    predictor = LatencyPredictor.fit(table)
    budget = Budget(space, predictor, config.budget_ms, config.resolution, config.num_classes)
    budget.require_feasible()
    return _Prepared(config, space, table, budget)


def _with_absolute_paths(config: SearchConfig) -> SearchConfig:
    """The run can then be gone on with from any folder."""
    space = config.space
    if space not in space_names() and is_file(Path(space)):
        space = str(Path(space).absolute())
    proxy = config.proxy.model_copy(update={"data": absolute_source(config.proxy.data)})
    return config.model_copy(update={"space": space, "proxy": proxy})


def _table(
    config: SearchConfig,
    space: SearchSpace,
    measure_table: bool,
    tables_dir: Path,
    listener: Listener,
) -> LatencyTable:
    """The table the options mean, measured first where this machine can and may."""
    options = (config.target, config.device, config.precision, config.batch_size)
    table = find_table(*options, tables_dir)
    own = own_key(config.target, config.precision, config.batch_size)
    if table is not None and table.meta.kind != "measured":
        return table
    missing = missing_for(table, space, config.resolution, config.num_classes) if table else None
    if table is not None and not missing:
        return table
    if table is not None and config.interpolate and table.networks:
        return with_interpolated(table, space.blocks(config.resolution, config.num_classes))
    mine = own is not None and (table is None or table.meta.folder == own.folder)
    if mine and measure_table:
        listener.stage("measuring")
        return collect_table(
            space,
            config.target,
            precision=config.precision,
            batch_size=config.batch_size,
            resolution=config.resolution,
            num_classes=config.num_classes,
            tables_dir=tables_dir,
            progress=listener.measuring,
        )
    key = own or TableKey(*options)
    command = measure_command(key, config.space, config.resolution, config.num_classes, tables_dir)
    if table is None or missing is None:
        assert own is not None
        raise TableError(
            f"no latency table for {config.target} on this machine ({own.folder}); "
            f"measure one: {command}"
        )
    if not missing.blocks:
        return table
    named = "; ".join(str(block) for block in missing.blocks[:3])
    where = "" if mine else f" on {table.meta.device_description}"
    raise TableError(
        f"table {table.name} lacks {len(missing.blocks)} of the "
        f"{len(space.blocks(config.resolution, config.num_classes))} blocks of space "
        f"{space.name!r} at {config.resolution} pixels ({named}"
        f"{'; ...' if len(missing.blocks) > 3 else ''}): run{where}: {command}"
    )


def _run(
    run_dir: Path,
    prepared: _Prepared,
    make_executor: Callable[[int], Executor],
    listener: Listener,
) -> SearchResult:
    from nas.search.files import write_run_files

    config = prepared.config
    with locked(run_dir, RunError, "working on this run"):
        write_config(run_dir, config)
        study = SearchStudy(open_study(run_dir, config), prepared.budget, config.seed)
        study.begin(_presets())
        study.recover()
        listener.stage("training")
        stopped = _train(study, prepared, make_executor, listener)
        result = _conclude(run_dir, prepared, study, stopped, listener)
        listener.stage("writing")
        write_run_files(result)
    return result


def _train(
    study: SearchStudy,
    prepared: _Prepared,
    make_executor: Callable[[int], Executor],
    listener: Listener,
) -> str | None:
    """Train until there are enough trials. Returns why it stopped early, or None."""
    config = prepared.config
    started, before = time.monotonic(), study.wall_s()
    executor = make_executor(config.workers)
    pending: dict[Future[Evaluation], Proposal] = {}
    stopped = None
    crashes = 0
    try:
        while True:
            while not stopped and len(pending) < config.workers:
                if study.trained() + len(pending) >= config.trials:
                    break
                limit_s = config.time_limit_s
                if limit_s is not None and time.monotonic() - started >= limit_s:
                    stopped = f"time limit of {limit_s:g} s reached"
                    break
                proposal = study.propose()
                if proposal is None:
                    stopped = "nothing new within budget was found in the space"
                    break
                task = (proposal.architecture.to_json(), config.proxy, config.seed)
                pending[executor.submit(evaluate, *task)] = proposal
            if not pending:
                return stopped
            finished, _ = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in finished:
                try:
                    evaluation = future.result()
                except BrokenProcessPool:
                    crashes += 1
                    _give_up(study, pending)
                    if crashes >= MAX_CRASHES:
                        raise RunError(
                            f"a training process died {crashes} times (out of memory?): "
                            f"try fewer --workers, then --resume"
                        ) from None
                    stop_executor(executor)
                    executor = make_executor(config.workers)
                    break
                proposal = pending.pop(future)
                study.finish(proposal, evaluation)
                study.record_wall_s(before + time.monotonic() - started)
                listener.trained(_trained(study, proposal, evaluation, prepared))
    except KeyboardInterrupt:
        return "interrupted; go on with --resume"
    finally:
        _give_up(study, pending)
        study.record_wall_s(before + time.monotonic() - started)
        stop_executor(executor)


def _give_up(study: SearchStudy, pending: dict[Future[Evaluation], Proposal]) -> None:
    """Queue again what is being trained."""
    for proposal in pending.values():
        study.interrupt(proposal)
    pending.clear()


def _trained(
    study: SearchStudy, proposal: Proposal, evaluation: Evaluation, prepared: _Prepared
) -> Trained:
    number = proposal.trial.number
    return Trained(
        candidate=next((c for c in study.candidates() if c.number == number), None),
        done=study.trained(),
        total=prepared.config.trials,
        on_front=any(c.number == number for c in study.front()),
        train_s=evaluation.train_s,
        provenance=prepared.table.latency_kind,
    )


def _conclude(
    run_dir: Path,
    prepared: _Prepared,
    study: SearchStudy,
    stopped: str | None,
    listener: Listener,
) -> SearchResult:
    config, table = prepared.config, prepared.table
    candidates, front = study.candidates(), study.front()
    unverified = why_not_this_machine(table)
    if unverified is None and front:
        listener.stage("verifying")
        try:
            front, candidates = _verify(front, candidates, prepared, listener)
        except KeyboardInterrupt:
            unverified = "measuring the front was interrupted; go on with --resume"
    verified = unverified is None and any(c.measured for c in candidates)
    best = recommend(front, config.budget_ms, verified)
    return SearchResult(
        run_dir=run_dir,
        config=config,
        table_name=table.name,
        table_provenance=table.provenance(),
        provenance=table.latency_kind,
        replace_command=_replace_command(prepared) if table.latency_kind == "estimated" else None,
        candidates=tuple(candidates),
        front=tuple(front),
        recommended=best,
        breakdown_ms=prepared.budget.breakdown(best.architecture) if best else (),
        verified=verified,
        verification_note=_verification_note(table, unverified, bool(candidates)),
        references=_references(prepared.budget, candidates),
        untrained=study.untrained(),
        failed=study.diverged() + study.interrupted(),
        wall_s=study.wall_s(),
        stopped=stopped,
    )


def _verify(
    front: list[Candidate], candidates: list[Candidate], prepared: _Prepared, listener: Listener
) -> tuple[list[Candidate], list[Candidate]]:
    """Measure the front: it again by measured latency, and all candidates with what was found."""
    config = prepared.config
    timings = measure_networks(
        [candidate.architecture for candidate in front],
        prepared.table,
        config.resolution,
        config.num_classes,
        listener.verifying,
    )
    front = [replace(c, measured=t) for c, t in zip(front, timings, strict=True)]
    measured = {candidate.number: candidate for candidate in front}
    # Measuring may change the order of neighbours, and put some over the budget.
    within = [c for c in front if c.latency_ms <= config.budget_ms]
    return (
        pareto_front(within, [(c.accuracy, c.latency_ms) for c in within]),
        [measured.get(c.number, c) for c in candidates],
    )


def _replace_command(prepared: _Prepared) -> str:
    meta = prepared.table.meta
    key = TableKey(meta.target, None, meta.precision, meta.batch_size)
    config = prepared.config
    return measure_command(key, config.space, config.resolution, config.num_classes)


def _verification_note(table: LatencyTable, unverified: str | None, trained: bool) -> str:
    if unverified is not None:
        return f"Latencies are {table.latency_kind}, not verified: {unverified}."
    if not trained:
        return "Nothing was verified: no candidate was trained."
    return (
        f"The front was measured whole on this machine ({table.meta.device_description}, "
        f"{table.meta.target} {table.meta.runtime_version})."
    )


def _presets() -> list[tuple[str, Architecture]]:
    return [(name, load_architecture(name)) for name in preset_names()]


def _references(budget: Budget, candidates: Sequence[Candidate]) -> tuple[Reference, ...]:
    """The published family, as far as the table can tell its latency."""
    trained = {c.architecture: c.accuracy for c in candidates}
    references = []
    for name, architecture in _presets():
        try:
            latency = budget.latency(architecture)
        except (TableError, ArchitectureError):
            continue
        top1 = PUBLISHED_TOP1[name]
        references.append(Reference(name, architecture, top1, latency, trained.get(architecture)))
    return tuple(references)
