"""`run_search.py ... --dry-run`: says what a search would do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nas.cli.options import make_console

if TYPE_CHECKING:
    from nas.search.plan import Plan, PlannedTable


def print_plan(plan: Plan) -> None:
    """Print a plan, one line per fact."""
    from rich.table import Table

    from nas.report.console import shown_text

    console = make_console()
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for what, text in _facts(plan):
        table.add_row(what, shown_text(console, text))
    console.print(table)
    console.print("A dry run: nothing was measured for a table, trained for a score, or written.")


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    from nas.report.notation import duration_text

    config, training = plan.config, plan.training
    for target in config.targets:
        yield "target", f"{target.target}, {target.budget_text}, {config.resolution} pixels"
    yield "space", config.space
    for table in plan.tables:
        yield "table", _table_text(table)
    if plan.imported:
        yield "warm start", f"{plan.imported} trained networks of earlier runs"
    rungs = " > ".join(str(count) for count in training.at_rung)
    yield (
        "candidates",
        f"{rungs} ({config.sampler}), {config.proxy.train_images:,} images each; up to half as "
        f"many more if measuring the front shows that the table was off",
    )
    if training.finalists:
        yield "finalists", f"{training.finalists}, trained again, longer and with another seed"
    timing = training.timing
    if timing is None:
        yield "evaluator", f"{config.evaluator}; how long it takes is not known"
    else:
        yield "images", f"{training.images:,} of {config.proxy.data} in all"
    if plan.data:
        yield "data", plan.data.text
    if plan.data and plan.data.fingerprint:
        yield "decoding", f"{plan.data.images:,} images, once, into the cache"
    if timing is not None:
        workers = f"{config.workers} worker{'s' if config.workers > 1 else ''}"
        yield (
            "training",
            f"about {duration_text(timing.seconds)} with {workers}: a candidate of "
            f"{timing.typical:.2g} GMACs at {config.proxy.resolution} pixels trained "
            f"{timing.images_per_s:.0f} images/s here just now",
        )
    if config.time_limit_s is not None:
        yield "time limit", f"no training begins after {duration_text(config.time_limit_s)}"
    lacking = ", too little: make room" if plan.free_bytes < plan.disk_bytes else ""
    yield (
        "disk",
        f"about {_size_text(plan.disk_bytes)} in {plan.folder}, where "
        f"{plan.free_bytes / 1e9:.1f} GB are free{lacking}",
    )


def _size_text(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.0f} MB" if size_bytes < 1e9 else f"{size_bytes / 1e9:.1f} GB"


def _table_text(table: PlannedTable) -> str:
    if table.missing is None:
        return f"{table.name}, there is nothing to measure for it"
    least, most = (max(1, round(seconds / 60)) for seconds in table.seconds)
    minutes = f"{least} to {most}" if least < most else f"{most}"
    return (
        f"{table.name}: {len(table.missing.blocks)} blocks and {len(table.missing.networks)} "
        f"networks are measured first, about {minutes} min on a quiet machine (from the protocol, "
        f"and from how long writing ONNX models of Next-ViT blocks takes)"
    )
