"""Where a benchmark ran, for its JSON: figures without a machine mean nothing."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from nas.measurement.device import this_cpu


def provenance(*packages: str) -> dict[str, str]:
    """Device, date and versions."""
    versions = {package: metadata.version(package) for package in packages}
    return {
        "device": this_cpu().description,
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        **versions,
    }


def json_file(text: str) -> Path:
    """A path for ``--json``, refused before anything is measured if it cannot be written."""
    path = Path(text)
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: cannot be written; its folder must exist")
    return path


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Write a result file where ``--json`` asked for one."""
    if path is not None:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
