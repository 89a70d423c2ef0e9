"""Runs a search from its configuration to its `SearchResult`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from nas.architecture import Architecture
from nas.architecture_file import load_architecture, preset_names
from nas.config import SearchConfig
from nas.errors import ArchitectureError, RunError, TableError
from nas.latency.catalogue import (
    remeasure_command,
    why_not_this_machine,
)
from nas.latency.collect import measure_networks
from nas.latency.table import TABLES_DIR, LatencyTable
from nas.lock import locked
from nas.search.budget import Budget
from nas.search.evaluate import Evaluation, evaluate
from nas.search.executors import LocalExecutor, stop_executor
from nas.search.listener import Listener, Trained
from nas.search.pareto import pareto_front
from nas.search.prepare import Prepared, prepare
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
from nas.search.study import Proposal, SearchStudy

PUBLISHED_TOP1 = {"nextvit-small": 82.5, "nextvit-base": 83.2, "nextvit-large": 83.6}
"""ImageNet-1k top-1 in percent at 224 pixels (arXiv 2207.05501, table 5)."""

MAX_CRASHES = 3


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
    updates = {name: value for name, value in given.items() if value is not None}
    config = read_run(run_dir).model_copy(update=updates)
    require_writable(run_dir, remedy="make it writable")
    prepared = prepare(config, False, tables_dir, listener)
    return _run(run_dir, prepared, executor, listener)


def _run(
    run_dir: Path,
    prepared: Prepared,
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
    prepared: Prepared,
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
    study: SearchStudy, proposal: Proposal, evaluation: Evaluation, prepared: Prepared
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
    prepared: Prepared,
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
    front: list[Candidate], candidates: list[Candidate], prepared: Prepared, listener: Listener
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


def _replace_command(prepared: Prepared) -> str:
    config = prepared.config
    return remeasure_command(prepared.table, config.space, config.resolution, config.num_classes)


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
