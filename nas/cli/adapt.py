"""`run_search.py tables adapt`: a new device's table from a few measurements."""

from __future__ import annotations

from typing import Annotated

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
from nas.cli.tables import print_table


def tables_adapt(
    target: Annotated[str, typer.Option(help="Runtime to measure.")],
    samples: Annotated[int, typer.Option(min=1, help="Networks to measure.")] = 10,
    space: Space = SPACE,
    precision: PrecisionOption = None,
    batch_size: BatchSize = None,
    resolution: Resolution = RESOLUTION,
    num_classes: NumClasses = NUM_CLASSES,
    tables_dir: TablesDir = None,
) -> None:
    """Make this machine's table from a few measured networks and other devices' tables."""
    from nas.latency.collect.adapt import adapt_table
    from nas.space.space_files import load_space

    console = make_console()
    with progress_printer(console) as printer:
        adapted = adapt_table(
            load_space(space),
            target,
            samples,
            precision=checked_precision(precision),
            workload=workload_of(resolution, num_classes, batch_size),
            tables_dir=tables_folder(tables_dir),
            progress=printer.progress,
        )
    print_table(console, adapted.table)
    for name, weight in sorted(adapted.sources.items(), key=lambda item: -abs(item[1])):
        console.print(f"  {weight:+.3f} x {name}", soft_wrap=True)
