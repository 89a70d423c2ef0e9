"""Options of the commands; those of a search are made from the fields of its configuration."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.config import OPTIONS, OptionField, SearchConfig, checked_resolution
from nas.errors import ConfigError
from nas.system.paths import exists, is_dir

if TYPE_CHECKING:
    from rich.console import Console

    from nas.report.live import LivePrinter
    from nas.space.workload import Workload

_DEFAULT = SearchConfig.model_fields


def _field(key: str) -> OptionField:
    return next(entry for entry in OPTIONS if entry.key == key)


def _help(key: str) -> str:
    return _field(key).option.help


Device = Annotated[str | None, typer.Option(help=_help("device"))]
Space = Annotated[str, typer.Option(help=_help("space"))]
PrecisionOption = Annotated[str | None, typer.Option(help=_help("precision"))]
BatchSize = Annotated[int | None, typer.Option(min=1, help=_help("batch_size"))]
Resolution = Annotated[str, typer.Option(help=_help("resolution"))]
NumClasses = Annotated[int, typer.Option(min=2, help=_help("num_classes"))]
Interpolate = Annotated[bool, typer.Option("--interpolate", help=_help("interpolate"))]

SPACE: str = _DEFAULT["space"].default
RESOLUTION = str(_DEFAULT["resolution"].default)
NUM_CLASSES: int = _DEFAULT["num_classes"].default
"""Default values of the options above, as in `SearchConfig`."""


def _folder(value: str) -> Path:
    if not value.strip():
        raise typer.BadParameter("is empty; name a folder")
    return Path(value)


def folder_option(what: str, **more: Any) -> Any:
    """Make an option that names a folder.

    An empty value (an unset shell variable) is refused, as it would name the current folder.
    """
    return typer.Option(parser=_folder, metavar="PATH", help=what, **more)


TABLES_DIR_HELP = "Folder of latency tables; default: those that doctor lists."
TablesDir = Annotated[Path | None, folder_option(TABLES_DIR_HELP)]


def search_parameters() -> list[inspect.Parameter]:
    """Return the options of a search's configuration as parameters of a Typer command.

    An option that is not given is None, as the defaults are in the configuration itself.
    """
    panels = ("Target", "Search", "Training", "Run")
    ordered = sorted(OPTIONS, key=lambda entry: panels.index(entry.option.panel))
    return [
        inspect.Parameter(
            entry.key,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_annotation(entry), _typer_option(entry)],
        )
        for entry in ordered
    ]


def _annotation(entry: OptionField) -> Any:
    kind: Any = Path if entry.option.folder else entry.type
    return list[kind] | None if entry.repeated else kind | None


def _typer_option(entry: OptionField) -> Any:
    name = f"--{entry.name}"
    if entry.type is bool and entry.option.constant is None:
        name += f"/--no-{entry.name}"
    default = f" \\[default: {entry.default}]" if entry.default and entry.type is not bool else ""
    about: dict[str, Any] = {"rich_help_panel": entry.option.panel, "show_default": False}
    text = entry.option.help + default
    if entry.option.folder:
        return folder_option(text, **about)
    if entry.type is not bool:
        about["metavar"] = entry.option.metavar or "N"
    if entry.minimum is not None:
        about["min"] = entry.minimum
    return typer.Option(name, help=text, **about)


def workload_of(resolution: str, num_classes: int, batch_size: int | None = None) -> Workload:
    """Make the workload from the values of options.

    Raises:
        ConfigError: the resolution is invalid; names the option.
    """
    from nas.space.workload import Workload

    try:
        return Workload.of(checked_resolution(resolution), num_classes, batch_size or 1)
    except ValueError as error:
        raise ConfigError(f"--resolution {resolution!r}: {error}") from None


def checked_precision(value: str | None) -> Any:
    if value not in (None, "fp32", "fp16"):
        raise ConfigError(f"--precision {value!r}: use fp32 or fp16")
    return value


def tables_folder(given: Path | None, must_exist: bool = False) -> Path | None:
    """Check the folder given with ``--tables-dir``; None, for the default folders, stays None.

    Raises:
        ConfigError: it is not a folder, or does not exist but must.
    """
    if given is None:
        return None
    if exists(given) and not is_dir(given):
        raise ConfigError(f"--tables-dir {given}: is no folder")
    if must_exist and not is_dir(given):
        raise ConfigError(f"--tables-dir {given}: no such folder, or it is closed to this user")
    return given


def make_console(stderr: bool = False) -> Console:
    from rich.console import Console

    # Names of files may look like markup.
    return Console(highlight=False, markup=False, stderr=stderr)


@contextmanager
def progress_printer(console: Console) -> Iterator[LivePrinter]:
    """Yield a printer of progress; it is closed when the with-block ends, also by an error."""
    from nas.report.live import LivePrinter

    printer = LivePrinter(console)
    try:
        yield printer
    finally:
        printer.close()
