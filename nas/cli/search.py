"""`run_search.py [options]`: search, or go on with a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.options import (
    Interpolate,
    NumClasses,
    Resolution,
    Space,
    TablesDir,
    folder_option,
    make_console,
    progress_printer,
    tables_folder,
)
from nas.errors import ConfigError

if TYPE_CHECKING:
    from nas.config import SearchConfig
    from nas.results.values import SearchResult
    from nas.search.callbacks import Listener


def search(
    ctx: typer.Context,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Runtime to deploy to (tables runtimes lists them); once a device."),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Highest latency of one call, with unit: 8ms, 500us; once a target."),
    ] = None,
    max_params: Annotated[
        str | None, typer.Option(help="Highest number of parameters: 25M.")
    ] = None,
    max_macs: Annotated[
        str | None, typer.Option(help="Most multiply-accumulates for one image: 1.2G.")
    ] = None,
    confidence: Annotated[
        str, typer.Option(help="A latency's interval of this confidence must be within budget.")
    ] = "90%",
    space: Space = "nextvit",
    data: Annotated[str, typer.Option(help="Proxy data: digits, or imagefolder:PATH.")] = "digits",
    proxy_images: Annotated[
        int | None, typer.Option(min=1, help="Images seen in one proxy training.")
    ] = None,
    proxy_resolution: Annotated[
        int | None, typer.Option(min=8, help="Size of the proxy images in pixels.")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Candidates to train. [24]")] = None,
    rungs: Annotated[
        int,
        typer.Option(
            min=1, help="Train in so many parts, up to 6; the best third go on to the next."
        ),
    ] = 1,
    time_limit: Annotated[
        str | None, typer.Option(help="Begin no training after this long: 90s, 20min, 2h.")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Device of the table; default: this machine's.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="fp32 or fp16; default: the table's.")
    ] = None,
    batch_size: Annotated[
        list[int] | None, typer.Option(min=1, help="Images in one call; default: the table's.")
    ] = None,
    resolution: Resolution = "224",
    num_classes: NumClasses = 1000,
    finalists: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Best candidates trained again, 4 times as long, to choose among; 0: none. [4]",
        ),
    ] = None,
    sampler: Annotated[
        str, typer.Option(help="latency-aware, or of Optuna: tpe, nsga2, nsga3, gp, random.")
    ] = "latency-aware",
    seed: Annotated[int, typer.Option(min=0, help="Of sampling and training.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Candidates trained at once. [1]")
    ] = None,
    output: Annotated[
        Path | None, folder_option("The run's folder; default: a new one under results/.")
    ] = None,
    warm_start: Annotated[
        list[Path] | None, folder_option("Begin with what the run in this folder has trained.")
    ] = None,
    resume: Annotated[Path | None, folder_option("Go on with the run in this folder.")] = None,
    measure: Annotated[
        bool, typer.Option(help="Measure this machine's latency table first if it is missing.")
    ] = True,
    interpolate: Interpolate = False,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be read.")
    ] = False,
    by_accuracy: Annotated[
        bool,
        typer.Option("--by-accuracy", help="Compare by proxy accuracy; nothing added for size."),
    ] = False,
    tables_dir: TablesDir = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON; progress goes to stderr.")
    ] = False,
) -> None:
    """Search, unless a command is given."""
    if ctx.invoked_subcommand is not None:
        return
    from nas.units import parse_duration, parse_share

    limit_s = parse_duration(time_limit, "--time-limit", "20min") if time_limit else None
    if resume is not None:
        _refuse_with_resume(ctx)
        _resume(resume, trials, limit_s, workers, finalists, tables_dir, as_json)
        return
    config = _config(
        targets=_targets(target, budget, device, precision, batch_size),
        max_params=_limit(max_params, "--max-params", "25M"),
        max_macs=_limit(max_macs, "--max-macs", "1.2G"),
        confidence=parse_share(confidence, "--confidence", "90%"),
        space=space,
        resolution=resolution,
        num_classes=num_classes,
        interpolate=interpolate,
        proxy={
            "data": data,
            "skip_unreadable": skip_unreadable,
            "train_images": proxy_images,
            "resolution": proxy_resolution,
        },
        size_bonus=0.0 if by_accuracy else None,
        trials=trials,
        rungs=rungs,
        time_limit_s=limit_s,
        seed=seed,
        sampler=sampler,
        workers=workers,
        finalists=finalists,
        warm_start=[str(path) for path in warm_start or ()],
    )
    _search(config, output, measure, tables_dir, as_json)


def _targets(
    target: list[str] | None,
    budget: list[str] | None,
    device: list[str] | None,
    precision: list[str] | None,
    batch_size: list[int] | None,
) -> list[dict[str, Any]]:
    """A mapping for each --target, made from what stands at its place in the other lists."""
    from nas.units import parse_duration

    if not target or not budget:
        raise ConfigError(
            f"{'--budget' if target else '--target'} is missing: for example "
            f"python run_search.py --target onnxruntime --budget 15ms"
        )
    budget_ms = [1e3 * parse_duration(text, "--budget", "8ms") for text in budget]
    given = {
        "budget": ("budget_ms", budget_ms),
        "device": ("device", device),
        "precision": ("precision", precision),
        "batch-size": ("batch_size", batch_size),
    }
    targets: list[dict[str, Any]] = [{"target": name} for name in target]
    for option, (field, values) in given.items():
        if values and len(values) != len(target):
            raise ConfigError(
                f"--{option} is given {len(values)} times and --target {len(target)} times: "
                f"give one for each, in the same order"
            )
        for entry, value in zip(targets, values or (), strict=False):
            entry[field] = value
    return targets


def _search(
    config: SearchConfig,
    output: Path | None,
    measure: bool,
    tables_dir: Path | None,
    as_json: bool,
) -> None:
    from nas.api import search as run

    folder = tables_folder(tables_dir)
    _report(
        lambda listener: run(
            config, output, measure_table=measure, tables_dir=folder, listener=listener
        ),
        as_json,
    )


def _resume(
    run_dir: Path,
    trials: int | None,
    time_limit_s: float | None,
    workers: int | None,
    finalists: int | None,
    tables_dir: Path | None,
    as_json: bool,
) -> None:
    from nas.api import resume

    _report(
        lambda listener: resume(
            run_dir,
            trials=trials,
            time_limit_s=time_limit_s,
            workers=workers,
            finalists=finalists,
            tables_dir=tables_folder(tables_dir),
            listener=listener,
        ),
        as_json,
    )


def _report(run: Callable[[Listener], SearchResult], as_json: bool) -> None:
    """Run a search with its progress printed, then print what it found."""
    from nas.report.result_json import result_json
    from nas.report.terminal import print_result

    console = make_console(stderr=as_json)
    with progress_printer(console) as printer:
        result = run(printer.listener())
    if as_json:
        typer.echo(json.dumps(result_json(result), indent=2))
    else:
        print_result(result, console)


def _refuse_with_resume(ctx: typer.Context) -> None:
    """A resumed run keeps its configuration; say so rather than ignore an option."""
    changeable = {"resume", "tables_dir", "as_json"}
    changeable |= {"trials", "finalists", "time_limit", "workers"}
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if name not in changeable and source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise ConfigError(
                f"{option} cannot be changed with --resume, the run keeps what it was begun with "
                f"(--trials, --finalists, --time-limit and --workers can); start a new run instead"
            )


def _config(**values: Any) -> SearchConfig:
    """The configuration, with pydantic's complaints as one line that names the option."""
    from pydantic import ValidationError

    from nas.config import SearchConfig, option_error

    values["proxy"] = _given(values["proxy"])
    try:
        return SearchConfig(**_given(values))
    except ValidationError as error:
        raise option_error(error) from None


def _limit(text: str | None, option: str, example: str) -> float | None:
    from nas.units import parse_count

    return None if text is None else parse_count(text, option, example)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
