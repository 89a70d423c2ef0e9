"""Records what the golden tests expect: ``python -m tests.golden.record [FILE ...] [--force]``.

Record anew only where a change of the results is what you want, and say in the commit why. The
files of ``formats/`` are of the versions that wrote them, and are never made anew.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from tests.golden import product
from tests.golden.files import (
    ARCHITECTURES,
    COMPUTED,
    EXPECTED,
    FORMATS,
    TINY_ARCHITECTURES,
    formats,
    written,
)

SAMPLED = ((ARCHITECTURES, "nextvit", 200), (TINY_ARCHITECTURES, FORMATS / "tiny.yaml", 10))
"""Architectures that are recorded, of which space, and how many."""

NAMES = [*COMPUTED, "formats.json"]


def main() -> int:
    """Write the files; returns 1 where one was left as it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", help=", ".join(NAMES))
    parser.add_argument("--force", action="store_true", help="overwrite what is there")
    options = parser.parse_args()
    unknown = set(options.files) - set(NAMES)
    if unknown:
        parser.error(f"no such file: {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)  # as in the tests
    EXPECTED.mkdir(exist_ok=True)
    for path, space, count in SAMPLED:
        if not path.exists():  # what is recorded is of these: there is no reason to choose others
            text = written(product.sample_architectures(count, space), width=1000)
            path.write_text(text, encoding="utf-8")
    kept = False
    for name in options.files or NAMES:
        path = EXPECTED / name
        if path.exists() and not options.force:
            print(f"{path}: is there already; --force overwrites it", file=sys.stderr)
            kept = True
            continue
        path.write_text(written(_computed(name)), encoding="utf-8")
        print(path)
    return int(kept)


def _computed(name: str) -> Any:
    if name in COMPUTED:
        return COMPUTED[name]()
    with tempfile.TemporaryDirectory() as folder:
        return formats(Path(folder))


if __name__ == "__main__":
    sys.exit(main())
