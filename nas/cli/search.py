"""`run_search.py [options]`: search, or go on with a run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.options import (
    TABLES_DIR_HELP,
    folder_option,
    make_console,
    progress_printer,
    search_parameters,
    tables_folder,
)
from nas.config import SearchConfig, config_of
from nas.errors import ConfigError, RunError
from nas.system import folders
from nas.units import parse_duration

if TYPE_CHECKING:
    from nas.results.values import SearchResult
    from nas.search.callbacks import Listener

INTERRUPTED = 130
"""Exit code of a search that was interrupted, whether or not it has a result."""

RUN = {"rich_help_panel": "Run"}

FIRST_STEPS = """\
Finds the most accurate Next-ViT-style network within a latency budget on your device.

  {command} doctor
      what this machine can measure, and what to install for the rest
  {command} --target onnxruntime --budget 15ms --dry-run
      what a first search would do, and how long it would take
  {command} --target onnxruntime --budget 15ms
      that search: for this machine's CPU, with data that comes along
  {command} --help
      all options and commands
"""


def _file(value: str) -> Path:
    if not value.strip():
        raise typer.BadParameter("is empty; name a file")
    return Path(value)


@dataclass(frozen=True)
class RunOptions:
    """Options of a run that are not part of the configuration of its search."""

    config: Annotated[
        Path | None,
        typer.Option(
            parser=_file,
            metavar="FILE",
            help="Read options from a file such as a run's config.yaml; those given here count "
            "more, and targets replace the file's.",
            **RUN,
        ),
    ] = None
    output: Annotated[
        Path | None, folder_option("The run's folder; default: a new one under results/.", **RUN)
    ] = None
    resume: Annotated[Path | None, folder_option("Go on with the run in this folder.", **RUN)] = (
        None
    )
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what a search would do, and do nothing.", **RUN)
    ] = False
    measure: Annotated[
        bool,
        typer.Option(help="Measure this machine's latency table first if it is missing.", **RUN),
    ] = True
    tables_dir: Annotated[Path | None, folder_option(TABLES_DIR_HELP, **RUN)] = None
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the result as JSON; progress goes to stderr.", **RUN),
    ] = False


def search(ctx: typer.Context, **given: Any) -> None:
    """Search, unless a command is given."""
    if ctx.invoked_subcommand is not None:
        return
    names = RunOptions.__dataclass_fields__.keys()
    run = RunOptions(**{name: given.pop(name) for name in names})
    if run.resume is not None:
        _refuse_with_resume(ctx)
        _resume(run.resume, given, run)
    elif not _given_names(ctx):
        typer.echo(FIRST_STEPS.format(command=folders.command()), nl=False)
    else:
        _search(given, run)


def _signature() -> inspect.Signature:
    """Signature of `search`: the options of the configuration, then those of `RunOptions`."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    hints = inspect.get_annotations(RunOptions, eval_str=True)
    run = [
        inspect.Parameter(name, keyword, default=getattr(RunOptions, name), annotation=hint)
        for name, hint in hints.items()
    ]
    return inspect.Signature([context, *search_parameters(), *run])


search.__signature__ = _signature()  # type: ignore[attr-defined]
search.__annotations__ = {
    name: parameter.annotation for name, parameter in _signature().parameters.items()
}


def _search(given: dict[str, Any], run: RunOptions) -> None:
    folder = tables_folder(run.tables_dir)
    given["warm_start"] = [str(path) for path in given["warm_start"] or ()]
    config = config_of(given, run.config)
    if run.dry_run:
        _plan(config, run, folder)
        return
    from nas.api import search as search_for

    _report(
        lambda listener: search_for(
            config, run.output, measure_table=run.measure, tables_dir=folder, listener=listener
        ),
        run.as_json,
    )


def _plan(config: SearchConfig, run: RunOptions, folder: Path | None) -> None:
    from nas.api import plan
    from nas.cli.dry_run import print_plan

    if run.as_json:
        raise ConfigError("--json: a dry run is printed as text; leave it out")
    print_plan(plan(config, run.output, measure_table=run.measure, tables_dir=folder))


def _resume(run_dir: Path, given: dict[str, Any], run: RunOptions) -> None:
    folder = tables_folder(run.tables_dir)
    limit_s = None
    if given["time_limit"] is not None:
        try:
            limit_s = parse_duration(given["time_limit"], "20min")
        except ValueError as error:
            raise ConfigError(f"--time-limit {error}") from None
    from nas.api import resume

    _report(
        lambda listener: resume(
            run_dir,
            trials=given["trials"],
            time_limit_s=limit_s,
            workers=given["workers"],
            finalists=given["finalists"],
            tables_dir=folder,
            listener=listener,
        ),
        run.as_json,
    )


def _report(run: Callable[[Listener], SearchResult], as_json: bool) -> None:
    """Run a search, print its progress, and then its result.

    Raises:
        RunError: the search is over, and no candidate was trained.
        typer.Exit: the search was interrupted; its result was printed.
    """
    from nas.report.result_json import result_json
    from nas.report.terminal import print_result
    from nas.report.wording import nothing_trained_text

    console = make_console(stderr=as_json)
    with progress_printer(console) as printer:
        result = run(printer.listener())
    if not (result.candidates or result.interrupted):
        raise RunError(nothing_trained_text(result))
    if as_json:
        typer.echo(json.dumps(result_json(result), indent=2))
    else:
        print_result(result, console)
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)


def _given_names(ctx: typer.Context) -> list[str]:
    """Names of the parameters that were given on the command line."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def _refuse_with_resume(ctx: typer.Context) -> None:
    """Refuse options that a resumed run cannot change, rather than ignore them.

    Raises:
        ConfigError: such an option was given; names it.
    """
    changeable = {"resume", "tables_dir", "as_json"}
    changeable |= {"trials", "finalists", "time_limit", "workers"}
    for name in _given_names(ctx):
        if name not in changeable:
            option = "--" + name.replace("_", "-")
            raise ConfigError(
                f"{option} cannot be changed with --resume, the run keeps what it was begun with "
                f"(--trials, --finalists, --time-limit and --workers can); start a new run instead"
            )
