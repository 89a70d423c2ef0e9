"""Searches for benchmarks, kept in folders so that an interrupted benchmark goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nas
from nas.config import SearchConfig
from nas.search.engine import resume
from nas.search.listener import Listener, Trained
from nas.search.result import SearchResult
from nas.search.run import STUDY


def search_or_go_on(run_dir: Path, **options: Any) -> SearchResult:
    """A search on this machine's ONNX Runtime table; one that is over is only concluded again.

    Args:
        run_dir: its folder.
        options: of its `SearchConfig`.
    """

    def trained(event: Trained) -> None:
        print(f"{run_dir.name}: {event.done}/{event.total}", file=sys.stderr, flush=True)

    listener = Listener(trained=trained)
    if (run_dir / STUDY).exists():
        return resume(run_dir, listener=listener)
    return nas.search(SearchConfig(target="onnxruntime", **options), run_dir, listener=listener)
