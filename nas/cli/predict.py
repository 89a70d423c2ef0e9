"""`run_search.py predict`: the latency of one architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.options import (
    NUM_CLASSES,
    RESOLUTION,
    BatchSize,
    Device,
    Interpolate,
    NumClasses,
    PrecisionOption,
    Resolution,
    TablesDir,
    checked_precision,
    make_console,
    tables_folder,
    workload_of,
)
from nas.cli.tables import print_replace

if TYPE_CHECKING:
    from rich.console import Console

    from nas.latency.predict.predictor import LatencyPredictor
    from nas.space.block import Block


def predict(
    architecture: Annotated[
        str, typer.Argument(help="A preset, or a best.json, .json or .yaml file.")
    ],
    target: Annotated[str, typer.Option(help="Runtime to deploy to.")],
    device: Device = None,
    precision: PrecisionOption = None,
    batch_size: BatchSize = None,
    resolution: Resolution = RESOLUTION,
    num_classes: NumClasses = NUM_CLASSES,
    interpolate: Interpolate = False,
    tables_dir: TablesDir = None,
) -> None:
    """Predict the latency of one architecture from a table."""
    from nas.latency.predict.completion import with_interpolated
    from nas.latency.predict.predictor import LatencyPredictor
    from nas.latency.table.catalog import changes, load_table
    from nas.space.architecture_files import load_architecture

    network = load_architecture(architecture)
    workload = workload_of(resolution, num_classes)
    table = load_table(
        target,
        device,
        checked_precision(precision),
        batch_size,
        tables_folder(tables_dir, must_exist=True),
    )
    if interpolate:
        table = with_interpolated(table, network.blocks(workload))
    predictor = LatencyPredictor.fit(table, workload)
    prediction = predictor.predict([network], workload)
    kind = table.latency_kind
    console = make_console()
    console.print(
        f"{architecture} at {workload.resolution} pixels: {prediction.latency_ms[0]:.2f} ms {kind} "
        f"(90% interval {prediction.low_ms[0]:.2f} to {prediction.high_ms[0]:.2f} ms)",
        soft_wrap=True,
    )
    console.print(f"{table.name}: {table.provenance()}", style="dim", soft_wrap=True)
    changed = changes(table.meta)
    if changed:
        console.print(f"it was measured with {changed}", style="yellow", soft_wrap=True)
    _print_breakdown(console, predictor, network.blocks(workload), float(prediction.latency_ms[0]))
    if kind == "estimated":
        print_replace(console, table, workload)


def _print_breakdown(
    console: Console, predictor: LatencyPredictor, blocks: list[Block], total_ms: float
) -> None:
    """Print the milliseconds of every block, and the constant that is added for every network."""
    for block, block_ms in predictor.breakdown(blocks):
        share = 100 * block_ms / total_ms
        flag = "  interpolated" if block in predictor.table.interpolated else ""
        console.print(f"  {block_ms:8.3f} ms  {share:4.1f}%  {block}{flag}", soft_wrap=True)
    if predictor.constant_ms:
        console.print(f"  {predictor.constant_ms:8.3f} ms  of every network", soft_wrap=True)
