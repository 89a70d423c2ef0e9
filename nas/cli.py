"""The command line: parses, calls, prints. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.errors import ConfigError, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from nas.config import ProxyConfig, SearchConfig
    from nas.latency.table import LatencyTable
    from nas.report.live import LivePrinter
    from nas.search.engine import Listener
    from nas.search.result import SearchResult

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Find the most accurate Next-ViT-style network within a latency budget on a device.",
)
tables_app = typer.Typer(help="Latency tables: measure one for this machine, list and show them.")
app.add_typer(tables_app, name="tables")

Target = Annotated[
    str | None, typer.Option(help="Runtime to deploy to: onnxruntime, tensorrt, coreml.")
]
Device = Annotated[str | None, typer.Option(help="Device of the table; default: this machine's.")]
Space = Annotated[str, typer.Option(help="Search space: a name (see spaces) or a YAML file.")]
PrecisionOption = Annotated[str | None, typer.Option(help="fp32 or fp16; default: the table's.")]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Images in one call; default: the table's.")
]
Resolution = Annotated[int, typer.Option(min=32, help="Input size in pixels.")]
TablesDir = Annotated[
    Path | None, typer.Option(help="Folder of latency tables.", show_default="latency_tables/")
]


@app.callback(invoke_without_command=True)
def search(
    ctx: typer.Context,
    target: Target = None,
    budget: Annotated[
        str | None, typer.Option(help="Highest latency of one call, with unit: 8ms, 500us.")
    ] = None,
    space: Space = "nextvit",
    data: Annotated[str, typer.Option(help="Proxy data: digits, or imagefolder:PATH.")] = "digits",
    proxy_images: Annotated[
        int | None, typer.Option(min=1, help="Images seen in one proxy training.")
    ] = None,
    proxy_resolution: Annotated[
        int | None, typer.Option(min=8, help="Size of the proxy images in pixels.")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Candidates to train. [24]")] = None,
    time_limit: Annotated[
        str | None, typer.Option(help="Start no candidate after this long: 90s, 20min, 2h.")
    ] = None,
    device: Device = None,
    precision: PrecisionOption = None,
    batch_size: BatchSize = None,
    resolution: Resolution = 224,
    num_classes: Annotated[int, typer.Option(min=2, help="Classes of the network.")] = 1000,
    sampler: Annotated[
        str, typer.Option(help="Optuna sampler: tpe, nsga2, nsga3, gp, random.")
    ] = "tpe",
    seed: Annotated[int, typer.Option(min=0, help="Of sampling and training.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Candidates trained at once. [1]")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="The run's folder; default: a new one under results/.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    measure: Annotated[
        bool, typer.Option(help="Measure this machine's latency table first if it is missing.")
    ] = True,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be read.")
    ] = False,
    tables_dir: TablesDir = None,
) -> None:
    """Search, unless a command is given."""
    if ctx.invoked_subcommand is not None:
        return
    from nas.config import parse_duration

    limit_s = parse_duration(time_limit, "--time-limit", "20min") if time_limit else None
    if resume is not None:
        _refuse_with_resume(ctx)
        _resume(resume, trials, limit_s, workers, tables_dir)
        return
    if target is None or budget is None:
        raise ConfigError(
            f"{'--target' if target is None else '--budget'} is missing: for example "
            f"python run_search.py --target onnxruntime --budget 15ms"
        )
    config = _config(
        target=target,
        budget_ms=1e3 * parse_duration(budget, "--budget", "8ms"),
        space=space,
        device=device,
        precision=precision,
        batch_size=batch_size,
        resolution=resolution,
        num_classes=num_classes,
        proxy=_proxy(data, skip_unreadable, proxy_images, proxy_resolution),
        trials=trials,
        time_limit_s=limit_s,
        seed=seed,
        sampler=sampler,
        workers=workers,
    )
    _search(config, output, measure, tables_dir)


@app.command()
def spaces() -> None:
    """List the search spaces with their exact sizes, and the presets."""
    from rich.table import Table

    from nas.architecture import load_architecture, preset_names
    from nas.models.cost import network_cost
    from nas.space_file import load_space, space_names

    console = _console()
    table = Table("space", "architectures", "blocks at 224", title="Search spaces", box=None)
    table.columns[1].justify = table.columns[2].justify = "right"
    for name in space_names():
        space = load_space(name)
        table.add_row(name, f"{space.size:,}", str(len(space.blocks(224))))
    console.print(table, "")
    table = Table("preset", "M parameters", "GMACs at 224", "id", title="Presets", box=None)
    table.columns[1].justify = table.columns[2].justify = "right"
    for name in preset_names():
        architecture = load_architecture(name)
        cost = network_cost(architecture.blocks(224))
        table.add_row(name, f"{cost.params / 1e6:.3f}", f"{cost.macs / 1e9:.2f}", architecture.id)
    console.print(table)


@app.command()
def predict(
    architecture: Annotated[
        str, typer.Argument(help="A preset, or a best.json, .json or .yaml file.")
    ],
    target: Annotated[str, typer.Option(help="Runtime to deploy to.")],
    device: Device = None,
    precision: PrecisionOption = None,
    batch_size: BatchSize = None,
    resolution: Resolution = 224,
    tables_dir: TablesDir = None,
) -> None:
    """Predict the latency of one architecture from a table."""
    from nas.architecture import load_architecture
    from nas.latency.catalogue import load_table
    from nas.latency.predictor import LatencyPredictor

    network = load_architecture(architecture)
    table = load_table(target, device, _precision(precision), batch_size, _tables_dir(tables_dir))
    prediction = LatencyPredictor.fit(table).predict([network], resolution)
    kind = "estimated" if table.meta.kind == "published" else "predicted"
    console = _console()
    console.print(
        f"{architecture} at {resolution} pixels: {prediction.latency_ms[0]:.2f} ms {kind} "
        f"(90% interval {prediction.low_ms[0]:.2f} to {prediction.high_ms[0]:.2f} ms)"
    )
    console.print(f"{table.name}: {table.provenance()}", style="dim", soft_wrap=True)
    if kind == "estimated":
        _print_replace(console, table)


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

    console = _console()
    printer = _printer(console)
    try:
        table = collect_table(
            load_space(space),
            target,
            precision=_precision(precision),
            batch_size=batch_size,
            resolution=resolution,
            num_classes=num_classes,
            tables_dir=_tables_dir(tables_dir),
            progress=printer.measuring,
        )
    finally:
        printer.close()
    _print_table(console, table, LatencyPredictor.fit(table))


@tables_app.command("list")
def tables_list(tables_dir: TablesDir = None) -> None:
    """List the latency tables."""
    from nas.latency.catalogue import list_tables
    from nas.latency.table import read_table

    tables = [read_table(path) for path in list_tables(_tables_dir(tables_dir))]
    width = max((len(table.name) for table in tables), default=0)
    console = _console()
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
    from nas.errors import TableError, unknown
    from nas.latency.catalogue import list_tables
    from nas.latency.predictor import LatencyPredictor
    from nas.latency.table import read_table

    folders = {
        f"{path.parent.name}/{path.name}": path for path in list_tables(_tables_dir(tables_dir))
    }
    if name is not None and name not in folders:
        raise TableError(unknown("table", name, folders))
    console = _console()
    if not folders:
        _print_no_tables(console, tables_dir)
    for path in [folders[name]] if name else folders.values():
        table = read_table(path)
        _print_table(console, table, LatencyPredictor.fit(table))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None for ``sys.argv``.

    Returns:
        Exit code: 0 done, 1 an error of ours, 2 the user's mistake, 130 interrupted.
    """
    try:
        code = app(args=arguments, prog_name="run_search.py", standalone_mode=False)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was measured or trained is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if not hasattr(error, "format_message"):  # a usage error of Typer, whatever its version
            raise
        hint = "see python run_search.py --help"
        print(f"error: {error.format_message().rstrip('.')}; {hint}", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0


def _search(
    config: SearchConfig, output: Path | None, measure: bool, tables_dir: Path | None
) -> None:
    from nas.search.engine import search as run

    folder = _tables_dir(tables_dir)
    _report(
        lambda listener: run(
            config, output, measure_table=measure, tables_dir=folder, listener=listener
        )
    )


def _resume(
    run_dir: Path,
    trials: int | None,
    time_limit_s: float | None,
    workers: int | None,
    tables_dir: Path | None,
) -> None:
    from nas.search.engine import resume

    _report(
        lambda listener: resume(
            run_dir,
            trials=trials,
            time_limit_s=time_limit_s,
            workers=workers,
            tables_dir=_tables_dir(tables_dir),
            listener=listener,
        )
    )


def _report(run: Callable[[Listener], SearchResult]) -> None:
    """Run a search with its progress printed, then print what it found."""
    from nas.report.terminal import print_result

    console = _console()
    printer = _printer(console)
    try:
        result = run(printer.listener())
    finally:
        printer.close()
    print_result(result, console)


def _refuse_with_resume(ctx: typer.Context) -> None:
    """A resumed run keeps its configuration; say so rather than ignore an option."""
    changeable = {"resume", "trials", "time_limit", "workers", "tables_dir"}
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if name not in changeable and source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise ConfigError(
                f"{option} cannot be changed with --resume, the run keeps what it was begun with "
                f"(--trials, --time-limit and --workers can); start a new run instead"
            )


def _config(**values: Any) -> SearchConfig:
    """The configuration, with pydantic's complaints as one line that names the option."""
    from pydantic import ValidationError

    from nas.config import SearchConfig

    try:
        return SearchConfig(**{key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).removesuffix("_ms").removesuffix("_s")
        raise ConfigError(
            f"{option.replace('_', '-')} {first['input']!r}: {first['msg']}"
        ) from None


def _proxy(
    data: str, skip_unreadable: bool, images: int | None, resolution: int | None
) -> ProxyConfig:
    from nas.config import ProxyConfig

    given = {"train_images": images, "resolution": resolution}
    changes = {name: value for name, value in given.items() if value is not None}
    return ProxyConfig(data=data, skip_unreadable=skip_unreadable, **changes)


def _precision(value: str | None) -> Any:
    if value not in (None, "fp32", "fp16"):
        raise ConfigError(f"--precision {value!r}: use fp32 or fp16")
    return value


def _tables_dir(given: Path | None) -> Path:
    from nas.latency.table import TABLES_DIR

    return given or TABLES_DIR


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _printer(console: Console) -> LivePrinter:
    from nas.report.live import LivePrinter

    return LivePrinter(console)


def _print_table(console: Console, table: LatencyTable, predictor: Any) -> None:
    meta = table.meta
    errors = [100 * abs(error) for error in predictor.relative_errors]
    console.print(f"[bold]{table.name}[/bold] ({meta.kind})")
    console.print(f"  {table.provenance()}", soft_wrap=True)
    resolutions = sorted({row.resolution for row in table.networks})
    console.print(f"  resolutions: {', '.join(str(size) for size in resolutions)} pixels")
    console.print(
        f"  leave-one-out error on its {len(errors)} networks: mean "
        f"{sum(errors) / len(errors):.1f}%, largest {max(errors):.1f}%; 90% interval: "
        f"prediction within a factor of {predictor.interval_factor:.3f}"
    )
    if meta.kind == "published":
        _print_replace(console, table)


def _print_no_tables(console: Console, tables_dir: Path | None) -> None:
    console.print(
        f"no latency tables in {_tables_dir(tables_dir)}; measure one: "
        f"python run_search.py tables measure --target onnxruntime",
        soft_wrap=True,
    )


def _print_replace(console: Console, table: LatencyTable) -> None:
    from nas.latency.catalogue import TableKey, measure_command

    meta = table.meta
    command = measure_command(TableKey(meta.target, None, meta.precision, meta.batch_size))
    console.print(f"  an estimate; measure on the device to replace it: {command}", soft_wrap=True)
