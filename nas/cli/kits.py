"""`run_search.py tables kit` and `tables import`: tables of devices that have no PyTorch."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
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
from nas.system import folders


def tables_kit(
    target: Annotated[str, typer.Option(help="Runtime of the device; need not be installed here.")],
    out: Annotated[Path, typer.Option(help="The zip to write.")] = Path("kit.zip"),
    space: Space = SPACE,
    precision: PrecisionOption = None,
    batch_size: BatchSize = None,
    resolution: Resolution = RESOLUTION,
    num_classes: NumClasses = NUM_CLASSES,
) -> None:
    """Make a zip that measures a table on a device without PyTorch."""
    from nas.latency.collect.kit_builder import OLDEST_PYTHON, build_kit
    from nas.space.space_files import load_space

    console = make_console()
    with progress_printer(console) as printer:
        kit = build_kit(
            load_space(space),
            target,
            out,
            precision=checked_precision(precision),
            workload=workload_of(resolution, num_classes, batch_size),
            progress=partial(printer.progress, verb="written"),
        )
    python = ".".join(str(part) for part in OLDEST_PYTHON)
    console.print(
        f"{kit.path}: {kit.size_bytes / 1e6:.1f} MB ({kit.models_bytes / 1e6:.0f} MB of models), "
        f"{kit.blocks} blocks and {kit.networks} networks, built in {kit.build_s:.0f} s",
        soft_wrap=True,
    )
    console.print(
        f"  copy it to the device, which needs Python {python} or newer and the runtime of "
        f"{target}, and run there: python {shlex.quote(kit.path.name)}",
        soft_wrap=True,
    )
    console.print(f"  then here: {folders.command()} tables import results.json", soft_wrap=True)


def tables_import(
    results: Annotated[Path, typer.Argument(help="The file that a kit wrote on its device.")],
    tables_dir: TablesDir = None,
) -> None:
    """Make a table from what a kit has measured."""
    from nas.latency.collect.kit_import import import_results

    table = import_results(results, tables_folder(tables_dir))
    print_table(make_console(), table)
