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
from nas.search.run import STUDY, read_run


def search_or_go_on(run_dir: Path, **options: Any) -> SearchResult:
    """A search on this machine's ONNX Runtime table; one that is over is only concluded again.

    Args:
        run_dir: its folder.
        options: of its `SearchConfig`.

    Raises:
        SystemExit: the folder holds a search that was asked for something else.
    """

    def trained(event: Trained) -> None:
        print(f"{run_dir.name}: {event.done}/{event.total}", file=sys.stderr, flush=True)

    listener = Listener(trained=trained)
    config = SearchConfig(target="onnxruntime", **options)
    if (run_dir / STUDY).exists():
        if _asked(read_run(run_dir)) != _asked(config):
            raise SystemExit(f"{run_dir} holds a search with other options: choose another --work")
        return resume(run_dir, listener=listener)
    return nas.search(config, run_dir, listener=listener)


def _asked(config: SearchConfig) -> dict[str, Any]:
    """What a search was asked for, without what it finds out itself, and how many work on it."""
    return config.model_dump(exclude={"targets", "workers"}) | {"budget_ms": config.budget_ms}
