"""What every benchmark shares: its options, its verdict, and the result file that it writes.

A result file is JSON. It begins with ``claim`` (the first sentence of the script's docstring),
``met`` (true, false, or null where nothing was decided), ``device`` and ``date``. Then come
``command``, ``versions``, ``figures`` (the few numbers that `make_docs.py` shows, as text), and
whatever else the benchmark records.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.measurement.device import this_cpu


@dataclass(frozen=True)
class Origin:
    """Where and when figures were measured.

    Attributes:
        device: description of the machine; None if unknown.
        date: ISO date; None if unknown.
        versions: of Python and of the packages that matter, by name.
    """

    device: str | None
    date: str | None
    versions: Mapping[str, str]


def origin_here(*packages: str) -> Origin:
    """This machine, today, with the versions of those of the packages that are installed."""
    installed = {entry.name for entry in metadata.distributions()}
    versions = {name: metadata.version(name) for name in packages if name in installed}
    return Origin(
        this_cpu().description,
        datetime.date.today().isoformat(),
        {"python": platform.python_version(), **versions},
    )


def claim_of(docstring: str | None) -> str:
    """What a benchmark claims: the first paragraph of its docstring, which is one sentence."""
    return " ".join((docstring or "").split("\n\n")[0].split())


def make_parser(docstring: str | None, quick: str | None = None) -> argparse.ArgumentParser:
    """A parser with ``--json``, and with ``--quick`` if the benchmark has a quick form.

    Args:
        docstring: of the script; the help text shows all of it.
        quick: what the quick form does. It decides nothing: ``met`` is null, exit status 0.
    """
    parser = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=json_file, metavar="OUT", help="write the result here")
    if quick:
        parser.add_argument("--quick", action="store_true", help=f"{quick}; no verdict")
    return parser


def json_file(text: str) -> Path:
    """A path for ``--json``, refused before anything is measured if it cannot be written."""
    path = Path(text)
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: cannot be written; its folder must exist")
    return path


def write_result(
    path: Path | None,
    *,
    claim: str,
    met: bool | None,
    origin: Origin,
    figures: Mapping[str, str],
    details: Mapping[str, Any],
) -> None:
    """Write a result file where ``--json`` asked for one."""
    if path is None:
        return
    content = {
        "claim": claim,
        "met": met,
        "device": origin.device,
        "date": origin.date,
        "command": command_line(sys.argv),
        "versions": dict(origin.versions),
        "figures": dict(figures),
        **details,
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def command_line(argv: list[str]) -> str:
    """The command of a run as others can repeat it: without ``--json``, and files by name."""
    words = ["python", f"benchmarks/{Path(argv[0]).name}"]
    arguments = iter(argv[1:])
    for argument in arguments:
        if argument == "--json":
            next(arguments, None)
        elif not argument.startswith("--json="):
            words.append(Path(argument).name if argument.startswith("/") else argument)
    return shlex.join(words)


def exit_status(met: bool | None) -> int:
    """Print the verdict; returns 1 if the target was missed, else 0."""
    verdict = {True: "target met", False: "target missed", None: "no verdict"}[met]
    style = {True: "green", False: "red", None: None}[met]
    Console().print(verdict, style=style)
    return 1 if met is False else 0
