"""The files of a result in the run's folder: trials.csv, best.json, best.onnx."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nas.config import TRAINING
from nas.results.values import Candidate, DeviceResult, SearchResult
from nas.space.architecture_files import BEST_FORMAT


def write_run_files(result: SearchResult) -> None:
    """Write the files of a result into the run's folder, each of them whole or not at all."""
    write_trials(result, result.run_dir / "trials.csv")
    write_best(result, result.run_dir)


def write_trials(result: SearchResult, path: Path) -> None:
    """Write a CSV file with one row per trained candidate.

    Latencies are in ms, accuracies 0..1, MACs in G and parameters in M.

    Candidates that stopped at a rung have seen fewer ``images``; their accuracy is that at the
    rung. ``longer_score`` is a finalist's score after ``longer_images`` in the longer training; it
    is empty if that training diverged. The columns of a device begin with its name
    (`SearchResult.device_names`).
    """
    import pandas as pd

    trained = sorted((*result.candidates, *result.partly_trained), key=lambda c: c.number)
    columns = [*_TRAINING_COLUMNS]
    for name in result.device_names:
        columns += [f"{name}_{column}" for column in _DEVICE_COLUMNS]
    columns += _NETWORK_COLUMNS
    trials = pd.DataFrame([_row(result, c) for c in trained], columns=columns)
    temporary = path.with_suffix(".csv.tmp")
    trials.to_csv(temporary, index=False)
    temporary.replace(path)


_TRAINING_COLUMNS = (
    *("number", "id", "origin", "accuracy", "score", "images"),
    *("longer_accuracy", "longer_score", "longer_images", "finalist_score"),
    *("standard_error", "weights"),
)
_DEVICE_COLUMNS = (
    *("predicted_ms", "low_ms", "high_ms", "provenance"),
    *("measured_ms", "measured_ci_pct", "measured_spread_pct", "measured_runs", "front"),
)
_NETWORK_COLUMNS = ("recommended", "gmacs", "mparams", "architecture")


def _row(result: SearchResult, candidate: Candidate) -> dict[str, Any]:
    gmacs, mparams = candidate.size_at(result.config.workload)
    recommended = result.recommended
    row = {
        "number": candidate.number,
        "id": candidate.architecture.id,
        "origin": candidate.origin,
        "images": candidate.images,
        "recommended": recommended is not None and candidate.number == recommended.number,
        "gmacs": round(gmacs, 4),
        "mparams": round(mparams, 4),
        "architecture": json.dumps(candidate.architecture.to_json(), separators=(",", ":")),
    }
    for key, value in accuracy_json(candidate).items():
        row[key] = round(value, 5) if isinstance(value, float) else value
    for name, device in zip(result.device_names, result.devices, strict=True):
        cells = _device_cells(candidate, device)
        row |= {f"{name}_{column}": value for column, value in cells.items()}
    return row


def _device_cells(candidate: Candidate, device: DeviceResult) -> dict[str, Any]:
    latency = device.latency(candidate)
    predicted, measured = latency.predicted, latency.measured
    return {
        "predicted_ms": round(predicted.latency_ms, 4),
        "low_ms": round(predicted.low_ms, 4),
        "high_ms": round(predicted.high_ms, 4),
        "provenance": device.provenance,
        "measured_ms": round(measured.latency_ms, 4) if measured else None,
        "measured_ci_pct": round(measured.ci_pct, 2) if measured else None,
        "measured_spread_pct": round(measured.spread_pct, 2) if measured else None,
        "measured_runs": measured.runs if measured else None,
        "front": any(candidate.number == other.number for other in device.front),
    }


def write_best(result: SearchResult, run_dir: Path) -> None:
    """Write best.json and best.onnx of the recommendation; remove them if there is none.

    best.onnx has the batch size and the precision of the first device. For a device with another
    batch size or precision, best.<precision>.b<batch>.onnx is written too.
    """
    best = result.recommended
    if best is None:
        for path in (run_dir / "best.json", *run_dir.glob("best*.onnx")):
            path.unlink(missing_ok=True)
        return
    from nas.models.model_files.onnx import export_network

    config = result.config
    variants = [(d.target.batch_size or 1, d.target.precision or "fp32") for d in result.devices]
    for index, (batch_size, precision) in enumerate(dict.fromkeys(variants)):
        export_network(
            best.architecture,
            run_dir / (f"best.{precision}.b{batch_size}.onnx" if index else "best.onnx"),
            workload=config.workload.with_batch(batch_size),
            seed=config.seed,
            precision=precision,
        )
    temporary = run_dir / ".best.json.tmp"
    content = network_json(result, best)
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(run_dir / "best.json")


def network_json(result: SearchResult, candidate: Candidate) -> dict[str, Any]:
    """Content of best.json, from which `nas.load_architecture` reads the network."""
    config = result.config
    return {
        "format": BEST_FORMAT,
        "id": candidate.architecture.id,
        **accuracy_json(candidate),
        "evaluator": config.evaluator,
        "proxy_data": config.proxy.data if config.evaluator == TRAINING else None,
        "latencies": [
            device.target.model_dump()
            | latency_json(candidate, device)
            | {"table": device.table_name, "source": device.table_provenance}
            for device in result.devices
        ],
        "resolution": config.resolution,
        "num_classes": config.num_classes,
        "architecture": candidate.architecture.to_json(),
    }


def accuracy_json(candidate: Candidate) -> dict[str, float | int | str | None]:
    """Accuracies and scores (accuracy plus size bonus), 0..1, and the path of the weights."""
    longer, converged = candidate.longer, candidate.converged_longer
    return {
        "accuracy": candidate.accuracy,
        "score": round(candidate.score, 6),
        "longer_accuracy": converged.accuracy if converged else None,
        "longer_score": round(converged.score, 6) if converged else None,
        "longer_images": longer.images if longer else None,
        "finalist_score": round(candidate.finalist_score, 6) if converged else None,
        "standard_error": candidate.standard_error,
        "weights": candidate.weights,
    }


def latency_json(candidate: Candidate, device: DeviceResult) -> dict[str, Any]:
    """A network's predicted and measured latency on a device, in ms; None if not measured."""
    latency = device.latency(candidate)
    measured, predicted = latency.measured, latency.predicted
    return {
        "provenance": "measured" if measured else device.provenance,
        "measured_ms": measured.latency_ms if measured else None,
        "predicted_ms": predicted.latency_ms,
        "low_ms": predicted.low_ms,
        "high_ms": predicted.high_ms,
    }
