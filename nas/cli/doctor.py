"""`run_search.py doctor`: what this machine can do, and what to install for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.options import TablesDir, make_console, tables_folder

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from nas.doctor import Finding

MEASURE = "the first search for this machine measures one"


def doctor(
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Also look at these data: imagefolder:PATH.")
    ] = None,
    tables_dir: TablesDir = None,
) -> None:
    """Say what is usable here, and what to install for the rest.

    Exits 0 where a search can run on this machine, else 2.
    """
    from nas.doctor import diagnose
    from nas.report.console import shown_text

    console = make_console()
    found = diagnose(data, tables_folder(tables_dir))
    groups = {
        "Runtimes that measure latencies": found.runtimes,
        "Accelerators": found.accelerators,
        "Latency tables": found.tables,
        "Data": found.data,
        "Folders": found.folders,
    }
    for title, findings in groups.items():
        console.print(title, style="bold")
        console.print(_grid(console, findings) if findings else f"  none yet: {MEASURE}")
    for problem in found.problems:
        console.print(shown_text(console, f"! {problem}", "red"))
    if found.problems:
        console.print("No search can run here yet.", style="bold red")
        raise typer.Exit(2)
    console.print("A search can run on this machine.", style="bold green")


def _grid(console: Console, findings: Sequence[Finding]) -> Table:
    """A table with one line per finding; the column of names is as narrow as possible."""
    from rich.table import Table

    from nas.report.console import shown_text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=5)
    table.add_column(width=min(40, max(len(finding.name) for finding in findings)), overflow="fold")
    table.add_column(overflow="fold")
    for finding in findings:
        mark = "  yes" if finding.usable else "  no"
        cells = (shown_text(console, text) for text in (mark, finding.name, finding.text))
        table.add_row(*cells, style="" if finding.usable else "dim")
    return table
