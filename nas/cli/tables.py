"""`run_search.py tables ...`: measure, list and show latency tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.options import (
    BatchSize,
    PrecisionOption,
    Resolution,
    Space,
    TablesDir,
    checked_precision,
    make_console,
    make_printer,
    tables_folder,
)
from nas.errors import TableError, unknown

if TYPE_CHECKING:
    from rich.console import Console

    from nas.latency.predictor import LatencyPredictor
    from nas.latency.table import LatencyTable

tables_app = typer.Typer(help="Latency tables: measure one for this machine, list and show them.")


@tables_app.command("measure")
def tables_measure(
    target: Annotated[str, typer.Option(help="Runtime to measure.")],
    space: Space = "nextvit",
    precision: PrecisionOption = None,
    batch_size: BatchSize = None,
    resolution: Resolution = 224,
    num_classes: Annotated[int, typer.Option(min=2, help="Classes of the networks.")] = 1000,
    tables_dir: TablesDir = None,
) -> None:
    """Measure every block of a space on this machine; an interrupted run goes on."""
    from nas.latency.collect import collect_table
    from nas.latency.predictor import LatencyPredictor
    from nas.space_file import load_space

    console = make_console()
    printer = make_printer(console)
    try:
        table = collect_table(
            load_space(space),
            target,
            precision=checked_precision(precision),
            batch_size=batch_size,
            resolution=resolution,
            num_classes=num_classes,
            tables_dir=tables_folder(tables_dir),
            progress=printer.measuring,
        )
    finally:
        printer.close()
    _print_table(console, table, LatencyPredictor.fit(table))


@tables_app.command("runtimes")
def tables_runtimes() -> None:
    """Show which targets can be measured here, and what the others need."""
    from rich.table import Table

    from nas.latency.runtimes import RUNTIMES

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
    from nas.latency.catalogue import list_tables
    from nas.latency.table import read_table

    tables = [read_table(path) for path in list_tables(tables_folder(tables_dir, must_exist=True))]
    width = max((len(table.name) for table in tables), default=0)
    console = make_console()
    for table in tables:
        meta = table.meta
        console.print(
            f"{table.name:<{width}}  {meta.kind:<9}  {len(table.blocks):>4} blocks  "
            f"{len(table.networks):>3} networks  {meta.runtime_version or '-':<8}  {meta.updated}",
            soft_wrap=True,
        )
    if not tables:
        _print_no_tables(console, tables_dir)


@tables_app.command("show")
def tables_show(
    name: Annotated[
        str | None, typer.Argument(help="<target>/<device>.<precision>.b<batch>; default: all.")
    ] = None,
    tables_dir: TablesDir = None,
) -> None:
    """Show where a table comes from and how well its predictor does on networks left out."""
    from nas.latency.catalogue import list_tables
    from nas.latency.predictor import LatencyPredictor
    from nas.latency.table import read_table

    folders = {
        f"{path.parent.name}/{path.name}": path
        for path in list_tables(tables_folder(tables_dir, must_exist=True))
    }
    if name is not None and name not in folders:
        raise TableError(unknown("table", name, folders))
    console = make_console()
    if not folders:
        _print_no_tables(console, tables_dir)
    for path in [folders[name]] if name else folders.values():
        table = read_table(path)
        _print_table(console, table, LatencyPredictor.fit(table))


def _print_table(console: Console, table: LatencyTable, predictor: LatencyPredictor) -> None:
    meta = table.meta
    largest = 100 * max(abs(error) for error in predictor.relative_errors)
    console.print(f"{table.name} ({meta.kind})", style="bold")
    console.print(f"  {table.provenance()}", soft_wrap=True)
    resolutions = sorted({row.resolution for row in table.networks})
    console.print(f"  resolutions: {', '.join(str(size) for size in resolutions)} pixels")
    console.print(
        f"  leave-one-out error on its {len(table.networks)} networks: mean "
        f"{100 * predictor.mean_error:.1f}%, largest {largest:.1f}%; 90% interval: "
        f"prediction within a factor of {predictor.interval_factor:.3f}",
        soft_wrap=True,
    )
    if meta.kind == "published":
        print_replace(console, table)


def _print_no_tables(console: Console, tables_dir: Path | None) -> None:
    console.print(
        f"no latency tables in {tables_folder(tables_dir)}; measure one: "
        f"python run_search.py tables measure --target onnxruntime",
        soft_wrap=True,
    )


def print_replace(console: Console, table: LatencyTable) -> None:
    from nas.latency.catalogue import TableKey, measure_command

    meta = table.meta
    command = measure_command(TableKey(meta.target, None, meta.precision, meta.batch_size))
    console.print(f"  an estimate; measure on the device to replace it: {command}", soft_wrap=True)
