"""The files of a result in the run's folder: trials.csv, best.json, best.onnx."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nas.results.values import Candidate, SearchResult


def write_run_files(result: SearchResult) -> None:
    """Write the files of a result; each all or nothing."""
    write_trials(result, result.run_dir / "trials.csv")
    write_best(result, result.run_dir)


def write_trials(result: SearchResult, path: Path) -> None:
    """One row a trained candidate; latencies in ms, accuracy 0..1, MACs in G, parameters in M.

    Candidates that stopped at a rung have seen fewer ``images``, and their accuracy is of then.
    ``final_score`` is what finalists got after ``final_images``; it is empty where they diverged.

    The columns of a second device end in ``_2``, of a third in ``_3``.
    """
    import pandas as pd

    frames = []
    for number, seen in enumerate(result.everywhere, start=1):
        rows = [_latency_cells(seen, c) for c in _all_trained(seen)]
        suffix = f"_{number}" if number > 1 else ""
        frame = pd.DataFrame(rows, columns=list(_LATENCY_COLUMNS))
        frames.append(frame.rename(columns={name: name + suffix for name in _LATENCY_COLUMNS}))
    trials = pd.DataFrame(
        [_trial_cells(result, c) for c in _all_trained(result)], columns=list(_TRIAL_COLUMNS)
    )
    first = _TRIAL_COLUMNS.index("recommended")
    trials = pd.concat([trials.iloc[:, :first], *frames, trials.iloc[:, first:]], axis=1)
    temporary = path.with_suffix(".csv.tmp")
    trials.to_csv(temporary, index=False)
    temporary.replace(path)


_TRIAL_COLUMNS = (
    *("number", "id", "origin", "proxy_accuracy", "proxy_score", "images"),
    *(
        "final_accuracy",
        "final_score",
        "final_images",
        "recommended",
        "gmacs",
        "mparams",
        "architecture",
    ),
)
_LATENCY_COLUMNS = (
    *("latency_ms", "low_ms", "high_ms", "latency_provenance"),
    *("measured_ms", "measured_ci_pct", "measured_spread_pct", "measured_runs", "front"),
)


def _all_trained(seen: SearchResult) -> list[Candidate]:
    """By trial number."""
    return sorted((*seen.candidates, *seen.partly_trained), key=lambda c: c.number)


def _trial_cells(result: SearchResult, candidate: Candidate) -> dict[str, Any]:
    gmacs, mparams = candidate.cost_at(result.config)
    recommended, sound = result.recommended, candidate.sound_final
    return {
        "number": candidate.number,
        "id": candidate.architecture.id,
        "origin": candidate.origin,
        "proxy_accuracy": round(candidate.accuracy, 5),
        "proxy_score": round(candidate.score, 5),
        "images": candidate.images,
        "final_accuracy": round(sound.accuracy, 5) if sound else None,
        "final_score": round(sound.score, 5) if sound else None,
        "final_images": candidate.final.images if candidate.final else None,
        "finalist_score": round(candidate.finalist_score, 5) if sound else None,
        "recommended": recommended is not None and candidate.number == recommended.number,
        "gmacs": round(gmacs, 4),
        "mparams": round(mparams, 4),
        "architecture": json.dumps(candidate.architecture.to_json(), separators=(",", ":")),
    }


def _latency_cells(seen: SearchResult, candidate: Candidate) -> dict[str, Any]:
    predicted, measured = candidate.predicted, candidate.measured
    return {
        "latency_ms": round(predicted.latency_ms, 4),
        "low_ms": round(predicted.low_ms, 4),
        "high_ms": round(predicted.high_ms, 4),
        "latency_provenance": seen.provenance,
        "measured_ms": round(measured.latency_ms, 4) if measured else None,
        "measured_ci_pct": round(measured.ci_pct, 2) if measured else None,
        "measured_spread_pct": round(measured.spread_pct, 2) if measured else None,
        "measured_runs": measured.runs if measured else None,
        "front": any(candidate.number == c.number for c in seen.front),
    }


def write_best(result: SearchResult, run_dir: Path) -> None:
    """best.json and best.onnx of the recommendation; removed where there is none.

    Where a further device wants another precision or batch size, best.<precision>.b<batch>.onnx
    is for it.
    """
    best = result.recommended
    if best is None:
        for path in (run_dir / "best.json", *run_dir.glob("best*.onnx")):
            path.unlink(missing_ok=True)
        return
    from nas.models.model_files.onnx import export_network

    config = result.config
    written: set[tuple[int, str]] = set()
    for seen in result.everywhere:
        kind = (seen.config.batch_size or 1, seen.config.precision or "fp32")
        if kind in written:
            continue
        name = "best.onnx" if not written else f"best.{kind[1]}.b{kind[0]}.onnx"
        written.add(kind)
        export_network(
            best.architecture,
            run_dir / name,
            workload=config.workload.with_batch(kind[0]),
            seed=config.seed,
            precision=kind[1],
        )
    content = _network_json(result, best)
    temporary = run_dir / ".best.json.tmp"
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(run_dir / "best.json")


def result_json(result: SearchResult) -> dict[str, Any]:
    """A result as plain values: the recommendation, and the front on each device."""
    best = result.recommended
    return {
        "run_dir": str(result.run_dir),
        "recommended": _network_json(result, best) if best else None,
        "devices": [
            {
                "table": seen.table_name,
                "budget_ms": seen.config.budget_ms,
                "verified": seen.verified,
                "note": seen.verification_note,
                "front": [
                    {"id": c.architecture.id} | _accuracy_json(c) | _latency_json(seen, c)
                    for c in seen.front
                ],
            }
            for seen in result.everywhere
        ],
        "trained": len(result.candidates) - result.imported,
        "partly_trained": len(result.partly_trained),
        "imported": result.imported,
        "untrained": result.untrained,
        "failed": result.failed,
        "wall_s": result.wall_s,
        "stopped": result.stopped,
        "undecided": result.undecided,
    }


def _network_json(result: SearchResult, best: Candidate) -> dict[str, Any]:
    """What best.json holds: `nas.load_architecture` reads it."""
    config = result.config
    latencies = [
        {"budget_ms": seen.config.budget_ms}
        | _latency_json(seen, seen.recommended or best)
        | {"table": seen.table_name, "source": seen.table_provenance}
        for seen in result.everywhere
    ]
    content = {
        "id": best.architecture.id,
        **_accuracy_json(best),
        "proxy_data": config.proxy.data,
        "latency": latencies[0],
        "resolution": config.resolution,
        "num_classes": config.num_classes,
        "architecture": best.architecture.to_json(),
    }
    return content | ({"elsewhere": latencies[1:]} if result.elsewhere else {})


def _accuracy_json(candidate: Candidate) -> dict[str, float | None]:
    """0..1 each; a score is an accuracy with what is added for size."""
    sound = candidate.sound_final
    return {
        "proxy_accuracy": candidate.accuracy,
        "proxy_score": round(candidate.score, 6),
        "final_accuracy": sound.accuracy if sound else None,
        "final_score": round(sound.score, 6) if sound else None,
        "final_images": candidate.final.images if candidate.final else None,
        "finalist_score": round(candidate.finalist_score, 6) if sound else None,
    }


def _latency_json(seen: SearchResult, candidate: Candidate) -> dict[str, Any]:
    measured, predicted = candidate.measured, candidate.predicted
    return {
        "provenance": "measured" if measured else seen.provenance,
        "measured_ms": measured.latency_ms if measured else None,
        "predicted_ms": predicted.latency_ms,
        "low_ms": predicted.low_ms,
        "high_ms": predicted.high_ms,
    }
