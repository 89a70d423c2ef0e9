"""Searches of benchmarks, kept in folders so that an interrupted benchmark can be resumed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import nas
from nas.api import resume
from nas.config import SearchConfig, option_error
from nas.results.values import Candidate, SearchResult
from nas.search.callbacks import Listener, Trained
from nas.search.executors.local import LocalExecutor
from nas.search.store.run_folder import read_run
from nas.search.store.study_file import STUDY
from nas.search.trial_runner import MakeExecutor


def search_or_go_on(
    run_dir: Path,
    budget_ms: float,
    tables_dir: Path | None = None,
    executor: MakeExecutor = LocalExecutor,
    **options: Any,
) -> SearchResult:
    """Run or resume a search on this machine's ONNX Runtime table.

    Args:
        run_dir: its folder.
        budget_ms: on the table's device.
        tables_dir: folder of the table; None for the usual ones.
        executor: as in `nas.search`.
        options: others of its `SearchConfig`.

    Raises:
        ConfigError: an option is not valid for a `SearchConfig`.
        SystemExit: the folder holds a search with other options.
    """

    def trained(event: Trained) -> None:
        print(f"{run_dir.name}: {event.done}/{event.total}", file=sys.stderr, flush=True)

    listener = Listener(trained=trained)
    try:
        config = SearchConfig(
            targets=[{"target": "onnxruntime", "budget_ms": budget_ms}], **options
        )
    except ValidationError as error:
        raise option_error(error) from None
    if (run_dir / STUDY).exists():
        if _asked(read_run(run_dir)) != _asked(config):
            raise SystemExit(f"{run_dir} holds a search with other options: choose another --work")
        return resume(run_dir, tables_dir=tables_dir, executor=executor, listener=listener)
    return nas.search(config, run_dir, tables_dir=tables_dir, executor=executor, listener=listener)


def about(result: SearchResult) -> dict[str, Any]:
    """Number of trained candidates, and the finalists sorted by score.

    Each finalist has its scores after short and long training, its measured latency, and its
    predicted latency with the upper end of the interval.
    """
    finalists = sorted((c for c in result.candidates if c.longer), key=lambda c: -c.score)
    return {
        "trained": len(result.candidates) + len(result.partly_trained),
        "finalists": [_finalist(candidate) for candidate in finalists],
    }


def _finalist(candidate: Candidate) -> dict[str, Any]:
    longer, (latency,) = candidate.converged_longer, candidate.latencies
    measured, predicted = latency.measured, latency.predicted
    return {
        "id": candidate.architecture.id,
        "score": round(candidate.score, 5),
        "longer": round(longer.score, 5) if longer else None,
        "measured_ms": round(measured.latency_ms, 3) if measured else None,
        "ci_pct": round(measured.ci_pct, 2) if measured else None,
        "predicted_ms": round(predicted.latency_ms, 3),
        "high_ms": round(predicted.high_ms, 3),
    }


def _asked(config: SearchConfig) -> dict[str, Any]:
    """The options of a search, without its number of workers and what it derives itself."""
    budgets = [target.budget_ms for target in config.targets]
    return config.model_dump(exclude={"targets", "workers"}) | {"budgets_ms": budgets}
