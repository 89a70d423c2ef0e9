"""Functions that run, resume or plan a search; after a run its report is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas.config import SearchConfig
from nas.results.files import write_each, writers_of
from nas.results.values import SearchResult
from nas.search import engine
from nas.search.callbacks import Listener
from nas.search.executors.local import LocalExecutor
from nas.search.trial_runner import MakeExecutor

if TYPE_CHECKING:
    from nas.search.plan import Plan


def search(
    config: SearchConfig,
    output: Path | None = None,
    *,
    measure_table: bool = True,
    tables_dir: Path | None = None,
    executor: MakeExecutor = LocalExecutor,
    listener: Listener | None = None,
) -> SearchResult:
    """Search for the most accurate architecture within a latency budget, and write its report.

    Args and errors: see `nas.search.engine.search`.
    """
    return engine.search(
        config,
        output,
        measure_table=measure_table,
        tables_dir=tables_dir,
        executor=executor,
        listener=listener,
        write=_write_files,
    )


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
) -> SearchResult:
    """Resume a run, and write its report again.

    Args and errors: see `nas.search.engine.resume`.
    """
    return engine.resume(
        run_dir,
        trials=trials,
        time_limit_s=time_limit_s,
        workers=workers,
        finalists=finalists,
        tables_dir=tables_dir,
        executor=executor,
        listener=listener,
        write=_write_files,
    )


def plan(
    config: SearchConfig,
    output: Path | None = None,
    *,
    measure_table: bool = True,
    tables_dir: Path | None = None,
) -> Plan:
    """Compute what `search` would do, without running it.

    Args and errors: see `nas.search.plan.plan`.
    """
    from nas.search.plan import plan as plan_search

    return plan_search(config, output, measure_table=measure_table, tables_dir=tables_dir)


def _write_files(result: SearchResult) -> None:
    from nas.report.page import write_report

    report = result.run_dir / "report.html"
    write_each(result.run_dir, [*writers_of(result), lambda: write_report(result, report)])
