"""`run_search.py tables ...`: measure, list and show latency tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.options import (
    NUM_CLASSES,
    RESOLUTION,
    SPACE,
    BatchSize,
    NumClasses,
    PrecisionOption,
    Resolution,
    Space,
    TablesDir,
    checked_precision,
    make_console,
    progress_printer,
    tables_folder,
    workload_of,
)
from nas.errors import TableError, unknown
from nas.system import folders

if TYPE_CHECKING:
    from rich.console import Console

    from nas.latency.collect.recheck import Recheck
    from nas.latency.table.table import LatencyTable
    from nas.space.workload import Workload

tables_app = typer.Typer(help="Latency tables: measure one for this machine, list and show them.")


@tables_app.command("measure")
def tables_measure(
    target: Annotated[str, typer.Option(help="Runtime to measure.")],
    space: Space = SPACE,
    precision: PrecisionOption = None,
    batch_size: BatchSize = None,
    resolution: Resolution = RESOLUTION,
    num_classes: NumClasses = NUM_CLASSES,
    tables_dir: TablesDir = None,
) -> None:
    """Measure every block of a space on this machine; an interrupted run goes on."""
    from nas.latency.collect.tables import collect_table
    from nas.space.space_files import load_space

    console = make_console()
    with progress_printer(console) as printer:
        table = collect_table(
            load_space(space),
            target,
            precision=checked_precision(precision),
            workload=workload_of(resolution, num_classes, batch_size),
            tables_dir=tables_folder(tables_dir),
            progress=printer.progress,
        )
    print_table(console, table)


@tables_app.command("runtimes")
def tables_runtimes() -> None:
    """Show which targets can be measured here, and what the others need."""
    from rich.table import Table

    from nas.measurement.runtimes import RUNTIMES

    table = Table("target", "measures here", "precisions", box=None, pad_edge=False)
    for name, runtime in RUNTIMES.items():
        reason = runtime.unavailable()
        shown = f"no: {reason}" if reason else f"yes, version {runtime.version()}"
        if not reason:
            shown += f", on {runtime.device().description}"
        table.add_row(name, shown, ", ".join(runtime.precisions), style="dim" if reason else "")
    make_console().print(table)


@tables_app.command("list")
def tables_list(tables_dir: TablesDir = None) -> None:
    """List the latency tables."""
    from nas.latency.table.catalog import list_tables
    from nas.latency.table.files import read_table

    tables, broken = [], []
    for path in list_tables(tables_folder(tables_dir, must_exist=True)):
        try:
            tables.append(read_table(path))
        except TableError as error:
            broken.append(error)
    width = max((len(table.name) for table in tables), default=0)
    console = make_console()
    for table in tables:
        meta = table.meta
        console.print(
            f"{table.name:<{width}}  {meta.kind:<9}  {len(table.blocks):>4} blocks  "
            f"{len(table.networks):>3} networks  error {_error_text(table)}  "
            f"{meta.runtime_version or '-':<8}  {meta.updated} ({_age_text(meta.updated)})",
            soft_wrap=True,
        )
        _print_changes(console, table)
    if not tables and not broken:
        _print_no_tables(console, tables_dir)
    _exit_for(broken)


@tables_app.command("show")
def tables_show(
    name: Annotated[
        str | None, typer.Argument(help="<target>/<device>.<precision>.b<batch>; default: all.")
    ] = None,
    tables_dir: TablesDir = None,
) -> None:
    """Show where a table comes from and how well its predictor does on networks left out."""
    from nas.latency.table.files import read_table

    folders = _table_folders(tables_dir)
    if name is not None and name not in folders:
        raise TableError(unknown("table", name, folders))
    console = make_console()
    if not folders:
        _print_no_tables(console, tables_dir)
    broken = []
    for path in [folders[name]] if name else folders.values():
        try:
            table = read_table(path)
            print_table(console, table)
        except TableError as error:
            broken.append(error)
    _exit_for(broken)


@tables_app.command("verify")
def tables_verify(
    name: Annotated[str, typer.Argument(help="<target>/<device>.<precision>.b<batch>.")],
    networks: Annotated[int, typer.Option(min=3, help="Networks to measure.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Which random networks.")] = 0,
    space: Space = SPACE,
    tables_dir: TablesDir = None,
) -> None:
    """Measure some networks now and say whether a table of this machine still holds.

    They are measured at every image size that the table has networks of. Exits 1 where the table no
    longer holds, or where the machine is too busy to tell.
    """
    from nas.latency.collect.recheck import measured_workloads, recheck
    from nas.latency.table.catalog import why_not_this_machine
    from nas.latency.table.files import read_table
    from nas.space.space_files import load_space

    folders = _table_folders(tables_dir)
    if name not in folders:
        raise TableError(unknown("table", name, folders))
    table = read_table(folders[name])
    reason = why_not_this_machine(table)
    if reason:
        raise TableError(f"table {name} cannot be verified here: {reason}")
    console = make_console()
    _print_changes(console, table)
    holds = True
    for workload in measured_workloads(table):
        with progress_printer(console) as printer:
            result = recheck(
                *(table, load_space(space), networks, seed, workload),
                partial(printer.progress, "networks"),
            )
        _print_recheck(console, f"{name} at {workload.resolution} pixels", result)
        holds = holds and result.steady and result.holds
    if not holds:
        raise typer.Exit(1)


def _print_recheck(console: Console, name: str, result: Recheck) -> None:
    from nas.report.console import shown_text

    for network, (latency_ms, low_ms, high_ms), timing in result.networks:
        inside = low_ms <= timing.latency_ms <= high_ms
        line = (
            f"{network.id}  measured {timing.latency_ms:.2f} ms ±{timing.ci_pct:.1f}%  predicted "
            f"{latency_ms:.2f} ({low_ms:.2f} to {high_ms:.2f})  {'' if inside else 'outside'}"
        )
        console.print(shown_text(console, line), soft_wrap=True)
    verdict = "still holds" if result.holds else "no longer holds: delete its folder and measure it"
    if not result.steady:
        verdict = "may hold or not: the machine was too busy to tell, verify it when it does less"
    console.print(
        f"{name} {verdict}: {result.inside} of {len(result.networks)} networks inside their 90% "
        f"interval, mean error {100 * result.mean_error:.1f}%",
        style="green" if result.holds and result.steady else "red",
        soft_wrap=True,
    )


def _exit_for(broken: list[TableError]) -> None:
    """Print the errors of tables that cannot be read, and exit with 2; do nothing if all can."""
    for error in broken:
        print(f"error: {error}", file=sys.stderr)
    if broken:
        raise typer.Exit(2)


def _table_folders(tables_dir: Path | None) -> dict[str, Path]:
    """Return the folders of the tables by the tables' names."""
    from nas.latency.table.catalog import list_tables

    return {
        f"{path.parent.name}/{path.name}": path
        for path in list_tables(tables_folder(tables_dir, must_exist=True))
    }


def _error_text(table: LatencyTable) -> str:
    """Cross-validated error in percent of a table's predictor; ``unknown`` if it cannot be fit."""
    from nas.latency.predict.predictor import fit_by_size

    try:
        errors = [100 * predictor.mean_error for _, predictor in fit_by_size(table)]
    except TableError:
        return "unknown"
    return f"{min(errors):.1f}%" + (f" to {max(errors):.1f}%" if len(errors) > 1 else "")


def _age_text(date: str) -> str:
    """Age of an ISO date as a text: ``today``, ``3 days old``."""
    import datetime

    try:
        days = (datetime.date.today() - datetime.date.fromisoformat(date)).days
    except ValueError:
        return "age unknown"
    return "today" if days == 0 else f"{days} day{'' if days == 1 else 's'} old"


def _print_changes(console: Console, table: LatencyTable) -> None:
    """Print what has changed on this machine since the table was measured, if anything has."""
    from nas.latency.table.catalog import changes, why_not_this_machine

    changed = changes(table.meta)
    if changed:
        advice = f"verify it with {folders.command()} tables verify {table.name}"
        if why_not_this_machine(table):
            advice = "it is not used here"
        console.print(
            f"  {table.name} was measured with {changed}: {advice}", style="yellow", soft_wrap=True
        )


def _joined(resolutions: Sequence[int | str]) -> str:
    return ", ".join(map(str, resolutions))


def print_table(console: Console, table: LatencyTable) -> None:
    """Print where a table comes from, and the error of its predictor at each image size.

    Raises:
        TableError: no predictor can be fitted to it.
    """
    from nas.latency.predict.predictor import fit_by_size

    meta, predictors = table.meta, fit_by_size(table)
    console.print(f"{table.name} ({meta.kind})", style="bold")
    console.print(f"  {table.provenance()}; {_age_text(meta.updated)}", soft_wrap=True)
    if meta.kind == "measured":
        console.print(
            f"  reference block {meta.reference_ms:.3f} ms; a call's overhead of "
            f"{meta.overhead_ms:.4f} ms is taken out of its blocks",
            soft_wrap=True,
        )
    _print_changes(console, table)
    console.print(f"  resolutions: {', '.join(_joined(sizes) for sizes, _ in predictors)} pixels")
    for sizes, predictor in predictors:
        errors = predictor.relative_errors
        where = f" at {_joined(sizes)} pixels" if len(predictors) > 1 else ""
        console.print(
            f"  leave-one-out error on its {len(errors)} networks{where}: mean "
            f"{100 * predictor.mean_error:.1f}%, largest {100 * max(map(abs, errors)):.1f}%; "
            f"90% interval: prediction within a factor of {predictor.error.factor():.3f}",
            soft_wrap=True,
        )
    if table.latency_kind == "estimated":
        workloads = [row.workload for row in table.networks]
        usual = max(workloads, key=lambda w: (w.resolution == 224, w.height, w.width))
        print_replace(console, table, usual)


def _print_no_tables(console: Console, tables_dir: Path | None) -> None:
    from nas.latency.table.catalog import table_folders

    where = " or ".join(str(folder) for folder in table_folders(tables_dir))
    console.print(
        f"no latency tables in {where}; measure one: "
        f"{folders.command()} tables measure --target onnxruntime",
        soft_wrap=True,
    )


def print_replace(console: Console, table: LatencyTable, workload: Workload) -> None:
    """Print the command by which measured latencies replace an estimate."""
    from nas.latency.table.catalog import remeasure_command

    command = remeasure_command(table, workload=workload)
    first = f"delete {table.path}, then " if table.meta.kind == "adapted" else ""
    console.print(
        f"  an estimate; to replace it, {first}measure on the device: {command}", soft_wrap=True
    )
