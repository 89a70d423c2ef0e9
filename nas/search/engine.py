"""Runs a search from its configuration to its `SearchResult`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from nas.architecture import Architecture, load_architecture, preset_names
from nas.config import SearchConfig
from nas.errors import ArchitectureError, RunError, TableError
from nas.latency.catalogue import TableKey, find_table, measure_command, own_key
from nas.latency.collect import Progress, collect_table, measure_networks, missing_for
from nas.latency.predictor import LatencyPredictor
from nas.latency.table import TABLES_DIR, LatencyTable
from nas.proxy.source import check_source
from nas.search.budget import Budget
from nas.search.evaluate import Evaluation, evaluate
from nas.search.executors import local_executor, stop_executor
from nas.search.pareto import pareto_front
from nas.search.result import Candidate, Reference, SearchResult
from nas.search.run import create_run, open_study, read_run, require_writable
from nas.search.sampler import make_sampler
from nas.search.study import Proposal, SearchStudy
from nas.search.verify import recommend, why_not
from nas.space import SearchSpace
from nas.space_file import load_space

PUBLISHED_TOP1 = {"nextvit-small": 82.5, "nextvit-base": 83.2, "nextvit-large": 83.6}
"""ImageNet-1k top-1 in percent at 224 pixels (arXiv 2207.05501, table 5)."""

MAX_CRASHES = 3


@dataclass(frozen=True)
class Trained:
    """Told to the listener after every training run.

    Attributes:
        candidate: None where the training diverged.
        done, total: candidates trained so far, and asked for.
        on_front: whether the candidate is Pareto-optimal so far.
        train_s: seconds it took.
    """

    candidate: Candidate | None
    done: int
    total: int
    on_front: bool
    train_s: float


@dataclass(frozen=True)
class Listener:
    """What a caller wants to be told while a search runs; every entry may be left out."""

    stage: Callable[[str], None] = lambda _: None
    measuring: Progress = lambda *_: None
    trained: Callable[[Trained], None] = lambda _: None
    verifying: Callable[[int, int], None] = lambda *_: None


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
    executor: Callable[[int], Executor] = local_executor,
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
    if output is not None:
        require_writable(output)
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
    executor: Callable[[int], Executor] = local_executor,
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
    require_writable(run_dir)
    prepared = _prepare(config, False, tables_dir, listener)
    return _run(run_dir, prepared, executor, listener)


def _prepare(
    config: SearchConfig, measure_table: bool, tables_dir: Path, listener: Listener
) -> _Prepared:
    """Everything that can be wrong is found here, before anything is spent."""
    space = load_space(config.space)
    make_sampler(config.sampler, config.seed)
    check_source(config.proxy.data)
    space.check_resolution(config.resolution)
    try:
        space.check_resolution(config.proxy.resolution)
    except ArchitectureError as error:
        raise ArchitectureError(f"proxy training: {error}") from None
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
    if table is not None and table.meta.kind == "published":
        return table
    missing = missing_for(table, space, config.resolution, config.num_classes) if table else None
    if table is not None and not missing:
        return table
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
    command = measure_command(key, config.space, config.resolution)
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

    study = SearchStudy(open_study(run_dir, prepared.config), prepared.budget, prepared.config.seed)
    study.recover()
    study.begin(_presets())
    listener.stage("training")
    stopped = _train(study, prepared.config, make_executor, listener)
    result = _conclude(run_dir, prepared, study, stopped, listener)
    listener.stage("writing")
    write_run_files(result)
    return result


def _train(
    study: SearchStudy,
    config: SearchConfig,
    make_executor: Callable[[int], Executor],
    listener: Listener,
) -> str | None:
    """Train until there are enough trials. Returns why it stopped early, or None."""
    started, before = time.monotonic(), study.wall_s()
    executor = make_executor(config.workers)
    pending: dict[Future[Evaluation], Proposal] = {}
    stopped = None
    crashes = 0
    try:
        while True:
            spent_s = time.monotonic() - started
            late = config.time_limit_s is not None and spent_s >= config.time_limit_s
            if late and study.trained() < config.trials:
                stopped = f"time limit of {config.time_limit_s:g} s reached"
            while (
                not stopped
                and len(pending) < config.workers
                and study.trained() + len(pending) < config.trials
            ):
                proposal = study.propose()
                if proposal is None:
                    stopped = "nothing new within budget was found in the space"
                    break
                future = executor.submit(
                    evaluate, proposal.architecture.to_json(), config.proxy, config.seed
                )
                pending[future] = proposal
            if not pending:
                return stopped
            finished, _ = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in finished:
                proposal = pending.pop(future)
                try:
                    evaluation = future.result()
                except BrokenProcessPool:
                    crashes += 1
                    for lost in (proposal, *pending.values()):
                        study.interrupt(lost)
                    pending.clear()
                    if crashes >= MAX_CRASHES:
                        raise RunError(
                            f"a training process died {crashes} times (out of memory?): "
                            f"try fewer --workers, then --resume"
                        ) from None
                    stop_executor(executor)
                    executor = make_executor(config.workers)
                    break
                study.finish(proposal, evaluation)
                study.record_wall_s(before + time.monotonic() - started)
                listener.trained(_trained(study, proposal, evaluation, config.trials))
    except KeyboardInterrupt:
        return "interrupted; go on with --resume"
    finally:
        for proposal in pending.values():
            study.interrupt(proposal)
        study.record_wall_s(before + time.monotonic() - started)
        stop_executor(executor)


def _trained(study: SearchStudy, proposal: Proposal, evaluation: Evaluation, total: int) -> Trained:
    number = proposal.trial.number
    candidate = next((c for c in study.candidates() if c.number == number), None)
    on_front = any(c.number == number for c in study.front())
    return Trained(candidate, study.trained(), total, on_front, evaluation.train_s)


def _conclude(
    run_dir: Path,
    prepared: _Prepared,
    study: SearchStudy,
    stopped: str | None,
    listener: Listener,
) -> SearchResult:
    config, table = prepared.config, prepared.table
    candidates, front = study.candidates(), study.front()
    reason = why_not(table)
    verified = reason is None and bool(front)
    if verified:
        listener.stage("verifying")
        networks = [candidate.architecture for candidate in front]
        timings = measure_networks(
            networks, table, config.resolution, config.num_classes, listener.verifying
        )
        front = [replace(c, measured=t) for c, t in zip(front, timings, strict=True)]
        measured = {candidate.number: candidate for candidate in front}
        candidates = [measured.get(c.number, c) for c in candidates]
        # Measuring may change the order of neighbours, and put some over the budget.
        within = [c for c in front if c.latency_ms <= config.budget_ms]
        front = pareto_front(within, [(c.accuracy, c.latency_ms) for c in within])
    published = table.meta.kind == "published"
    best = recommend(front, config.budget_ms, verified)
    return SearchResult(
        run_dir=run_dir,
        config=config,
        table_name=table.name,
        table_provenance=table.provenance(),
        provenance="estimated" if published else "predicted",
        replace_command=_replace_command(prepared) if published else None,
        candidates=tuple(candidates),
        front=tuple(front),
        recommended=best,
        breakdown_ms=prepared.budget.breakdown(best.architecture) if best else (),
        verified=verified,
        verification_note=_verification_note(table, reason, bool(candidates)),
        references=_references(prepared.budget, candidates),
        untrained=study.untrained(),
        failed=study.diverged() + study.interrupted(),
        wall_s=study.wall_s(),
        stopped=stopped,
    )


def _replace_command(prepared: _Prepared) -> str:
    meta = prepared.table.meta
    key = TableKey(meta.target, None, meta.precision, meta.batch_size)
    return measure_command(key, prepared.config.space, prepared.config.resolution)


def _verification_note(table: LatencyTable, reason: str | None, front: bool) -> str:
    word = "estimated" if table.meta.kind == "published" else "predicted"
    if reason is not None:
        return f"Latencies are {word}, not verified: {reason}."
    if not front:
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
