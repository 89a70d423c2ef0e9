"""The command line: parses, calls, prints. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import errno
import io
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
from nas.errors import DataWarning, SpaceError, TableWarning, UserError, printable
from nas.system import folders
from nas.system.interrupts import end_like_ctrl_c
from nas.system.output import lasting_output

_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""Numbers of errors that this machine causes, not this program."""

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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # names of files may not be UTF-8
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
        # The mistakes in a space's file have a line each; elsewhere a newline is part of a name.
        _print_error(str(error), keep="\n" if isinstance(error, SpaceError) else "")
        return 2
    except OSError as error:
        return _failed_output(error)
    except Exception as error:
        if not hasattr(error, "format_message"):  # a usage error of Typer, whatever its version
            raise
        hint = f"see {folders.command()} --help"
        _print_error(f"{error.format_message().rstrip('.')}; {hint}")
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
    """Return the exit code for output that this machine does not let the program write.

    The reason is printed.

    Raises:
        OSError: it is another error.
    """
    if error.errno in _REFUSED or "temporary directory" in str(error):
        remedy = "make room or make it writable; TMPDIR can name another folder for temporary files"
        said = error.strerror or error
        _print_error(f"{error.filename or 'output'}: {said}; {remedy}")
        return 2
    raise error


def _print_error(message: str, keep: str = "") -> None:
    print(f"error: {printable(message, keep)}", file=sys.stderr)


_show_any_warning = warnings.showwarning


def _show_warning(message: Warning | str, category: type[Warning], *where: Any) -> None:
    if issubclass(category, (DataWarning, TableWarning)):
        print(f"warning: {printable(str(message))}", file=sys.stderr)
    else:
        _show_any_warning(message, category, *where)
