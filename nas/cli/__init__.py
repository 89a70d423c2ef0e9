"""The command line: parses, calls, prints. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from nas.cli.adapt import tables_adapt
from nas.cli.doctor import doctor
from nas.cli.kits import tables_import, tables_kit
from nas.cli.measure import measure
from nas.cli.predict import predict
from nas.cli.search import INTERRUPTED, search
from nas.cli.spaces import spaces
from nas.cli.tables import tables_app
from nas.errors import DataWarning, TableWarning, UserError
from nas.system import folders
from nas.system.interrupts import end_like_ctrl_c
from nas.system.output import lasting_output

SCRIPT = "nextvit-nas"
"""Name of the installed console script; shells complete its options."""

app = typer.Typer(
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Find the most accurate Next-ViT-style network within a latency budget on a device.",
)
app.callback(invoke_without_command=True)(search)
app.command()(doctor)
app.command()(spaces)
app.command()(predict)
app.command()(measure)
tables_app.command("adapt")(tables_adapt)
tables_app.command("kit")(tables_kit)
tables_app.command("import")(tables_import)
app.add_typer(tables_app, name="tables")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    A command whose output goes away (``| head``) goes on to its end.

    Args:
        arguments: without the program's name; None for ``sys.argv``.

    Returns:
        Exit code: 0 done, 1 an error of this program, 2 the user's mistake, 130 interrupted.
    """
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    end_like_ctrl_c()
    with lasting_output():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    program = _program()
    try:
        code = app(args=arguments, prog_name=program, standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:  # outside of Typer, which returns this code itself
        code = INTERRUPTED
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        return _failed_output(error)
    except Exception as error:
        if not hasattr(error, "format_message"):  # a usage error of Typer, whatever its version
            raise
        hint = f"see {folders.command()} --help"
        print(f"error: {error.format_message().rstrip('.')}; {hint}", file=sys.stderr)
        return 2
    if code == INTERRUPTED:
        print("interrupted; tables and searches keep what was finished", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _program() -> str:
    """The program's name in its help, for example ``python -m nas``."""
    name = Path(sys.argv[0]).name
    completing = f"_{SCRIPT}_COMPLETE".replace("-", "_").upper() in os.environ
    if completing or any("-completion" in argument for argument in sys.argv[1:]):
        return SCRIPT  # a shell completes the script's name alone
    return {"__main__.py": "python -m nas", SCRIPT: SCRIPT}.get(name, "run_search.py")


def _failed_output(error: OSError) -> int:
    """Return the exit code for output that could not be written, as the disk is full.

    Raises:
        OSError: it is another error.
    """
    if error.errno == errno.ENOSPC:
        print(f"error: {error.filename or 'output'}: no space left on the device", file=sys.stderr)
        return 2
    raise error


_show_any_warning = warnings.showwarning


def _show_warning(message: Warning | str, category: type[Warning], *where: Any) -> None:
    if issubclass(category, (DataWarning, TableWarning)):
        print(f"warning: {message}", file=sys.stderr)
    else:
        _show_any_warning(message, category, *where)
