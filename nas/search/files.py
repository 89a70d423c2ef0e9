"""The files a search leaves in its folder: trials.csv, best.json, best.onnx, report.html."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nas.search.result import Candidate, SearchResult


def write_run_files(result: SearchResult) -> None:
    """Write every file of a result; each all or nothing."""
    from nas.report.page import write_report

    write_trials(result, result.run_dir / "trials.csv")
    write_best(result, result.run_dir)
    write_report(result, result.run_dir / "report.html")


def write_trials(result: SearchResult, path: Path) -> None:
    """One row a trained candidate; latencies in ms, accuracy 0..1, MACs in G, parameters in M."""
    import pandas as pd

    front = {candidate.number for candidate in result.front}
    rows = [_trial_row(result, c, c.number in front) for c in result.candidates]
    temporary = path.with_suffix(".csv.tmp")
    pd.DataFrame(rows, columns=list(_TRIAL_COLUMNS)).to_csv(temporary, index=False)
    temporary.replace(path)


_TRIAL_COLUMNS = (
    "number",
    "id",
    "origin",
    "proxy_accuracy",
    "latency_ms",
    "low_ms",
    "high_ms",
    "latency_provenance",
    "measured_ms",
    "measured_spread_pct",
    "measured_runs",
    "front",
    "recommended",
    "gmacs",
    "mparams",
    "architecture",
)


def _trial_row(result: SearchResult, candidate: Candidate, front: bool) -> dict[str, Any]:
    gmacs, mparams = candidate.cost_at(result.config)
    measured = candidate.measured
    recommended = result.recommended
    return {
        "number": candidate.number,
        "id": candidate.architecture.id,
        "origin": candidate.origin,
        "proxy_accuracy": round(candidate.accuracy, 5),
        "latency_ms": round(candidate.predicted.latency_ms, 4),
        "low_ms": round(candidate.predicted.low_ms, 4),
        "high_ms": round(candidate.predicted.high_ms, 4),
        "latency_provenance": result.provenance,
        "measured_ms": round(measured.latency_ms, 4) if measured else None,
        "measured_spread_pct": round(measured.spread_pct, 2) if measured else None,
        "measured_runs": measured.runs if measured else None,
        "front": front,
        "recommended": recommended is not None and candidate.number == recommended.number,
        "gmacs": round(gmacs, 4),
        "mparams": round(mparams, 4),
        "architecture": json.dumps(candidate.architecture.to_json(), separators=(",", ":")),
    }


def write_best(result: SearchResult, run_dir: Path) -> None:
    """best.json and best.onnx of the recommendation; removed where there is none."""
    best = result.recommended
    if best is None:
        for name in ("best.json", "best.onnx"):
            (run_dir / name).unlink(missing_ok=True)
        return
    from nas.export import export_network

    config = result.config
    content = {
        "id": best.architecture.id,
        "proxy_accuracy": best.accuracy,
        "proxy_data": config.proxy.data,
        "latency": {
            "budget_ms": config.budget_ms,
            "provenance": "measured" if best.measured else result.provenance,
            "measured_ms": best.measured.latency_ms if best.measured else None,
            "predicted_ms": best.predicted.latency_ms,
            "low_ms": best.predicted.low_ms,
            "high_ms": best.predicted.high_ms,
            "table": result.table_name,
            "source": result.table_provenance,
        },
        "resolution": config.resolution,
        "num_classes": config.num_classes,
        "architecture": best.architecture.to_json(),
    }
    temporary = run_dir / ".best.json.tmp"
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(run_dir / "best.json")
    export_network(
        best.architecture,
        run_dir / "best.onnx",
        resolution=config.resolution,
        batch_size=config.batch_size or 1,
        num_classes=config.num_classes,
        seed=config.seed,
        precision=config.precision or "fp32",
    )
