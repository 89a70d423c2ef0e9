"""Options that commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.errors import ConfigError
from nas.system.paths import exists, is_dir

if TYPE_CHECKING:
    from rich.console import Console

    from nas.report.live import LivePrinter
    from nas.space.workload import Workload

Target = Annotated[
    str | None, typer.Option(help="Runtime to deploy to: onnxruntime, tensorrt, coreml.")
]
Device = Annotated[str | None, typer.Option(help="Device of the table; default: this machine's.")]
Space = Annotated[
    str,
    typer.Option(help="Search space: a name (see spaces), a YAML file, or package.module:NAME."),
]
PrecisionOption = Annotated[str | None, typer.Option(help="fp32 or fp16; default: the table's.")]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Images in one call; default: the table's.")
]
Resolution = Annotated[
    str, typer.Option(help="Input size in pixels: 224, or 512x683 (height x width).")
]
NumClasses = Annotated[int, typer.Option(min=2, help="Classes of the networks.")]
Interpolate = Annotated[
    bool,
    typer.Option(
        "--interpolate", help="Estimate blocks that were not measured from those that were."
    ),
]


def _folder(value: str) -> Path:
    if not value.strip():
        raise typer.BadParameter("is empty; name a folder")
    return Path(value)


def folder_option(what: str, **more: Any) -> Any:
    """An option that names a folder; empty, as a variable that is not set, it would be the current
    one, and is refused."""
    return typer.Option(parser=_folder, metavar="PATH", help=what, **more)


TablesDir = Annotated[
    Path | None, folder_option("Folder of latency tables.", show_default="latency_tables/")
]


def workload_of(resolution: str, num_classes: int, batch_size: int | None = None) -> Workload:
    """The workload that options name.

    Raises:
        ConfigError: the resolution is none; names the option.
    """
    from nas.config import checked_resolution
    from nas.space.workload import Workload

    try:
        return Workload.of(checked_resolution(resolution), num_classes, batch_size or 1)
    except ValueError as error:
        raise ConfigError(f"--resolution {resolution!r}: {error}") from None


def checked_precision(value: str | None) -> Any:
    if value not in (None, "fp32", "fp16"):
        raise ConfigError(f"--precision {value!r}: use fp32 or fp16")
    return value


def tables_folder(given: Path | None, must_exist: bool = False) -> Path:
    """The folder of latency tables.

    Raises:
        ConfigError: it is no folder; or does not exist, where it must.
    """
    from nas.latency.table.table import TABLES_DIR

    if given is None:
        return TABLES_DIR
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
    """Prints progress until the block ends, however it ends."""
    from nas.report.live import LivePrinter

    printer = LivePrinter(console)
    try:
        yield printer
    finally:
        printer.close()
