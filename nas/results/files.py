"""The files of a result in the run's folder: trials.csv, best.json, best.onnx."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nas.config import TRAINING
from nas.errors import RunError, UserError
from nas.results.values import Candidate, DeviceResult, SearchResult
from nas.space.architecture_files import BEST_FORMAT
from nas.system.atomic import replacing, write_whole
from nas.system.paths import is_dir

TRIALS = "trials.csv"
RESULT_FILES = (TRIALS, "best.json", "best.onnx", "report.html")
"""Files that a run has written once it ended."""

_MODEL_OF_BEST = re.compile(r"best(\.fp(16|32)\.b\d+)?\.onnx")
"""Names of the models of the recommendation."""


def write_run_files(result: SearchResult) -> None:
    """Write trials.csv, best.json and best.onnx into the run's folder.

    Raises:
        RunError: see `write_each`.
    """
    write_each(result.run_dir, writers_of(result))


def writers_of(result: SearchResult) -> list[Callable[[], None]]:
    """Return the functions that write trials.csv, and best.json with best.onnx."""
    folder = result.run_dir
    return [
        lambda: write_trials(result, folder / TRIALS),
        lambda: write_best(result, folder),
    ]


def write_each(run_dir: Path, writers: Sequence[Callable[[], None]]) -> None:
    """Write all files of a run; one that cannot be written does not keep back the others.

    Args:
        run_dir: folder of the run.
        writers: functions that write a file, or files that belong together.

    Raises:
        RunError: a file could not be written; raised after the others were written.
    """
    failed: list[str] = []
    for write in writers:
        try:
            write()
        except OSError as error:
            place = error.filename or run_dir
            failed.append(f"{place}: cannot be written: {error.strerror or error}")
        except UserError as error:
            failed.append(str(error))
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise RunError(
            f"{failed[0]}{more}; the trials are kept: make room, or remove what is in the "
            f"way, then write the files with --resume {run_dir}"
        )


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
    write_whole(path, trials.to_csv(index=False))


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

    The old best.json is removed before a file is replaced, and the new one comes last: whenever
    there is one, the models beside it are of the same network.

    Raises:
        OSError: a file cannot be written.
    """
    best = result.recommended
    described = run_dir / "best.json"
    models = _models_of_best(result) if best else {}
    with ExitStack() as unfinished:  # its files are put in place in reverse order
        if best:
            text = json.dumps(network_json(result, best), indent=2) + "\n"
            unfinished.enter_context(replacing(described)).write_text(text, encoding="utf-8")
        for name, content in models.items():
            unfinished.enter_context(replacing(run_dir / name)).write_bytes(content)
        if not is_dir(described):  # a folder of the user's; replacing it fails
            described.unlink(missing_ok=True)
        for path in list(run_dir.iterdir()):
            if _MODEL_OF_BEST.fullmatch(path.name) and path.name not in models:
                path.unlink()


def _models_of_best(result: SearchResult) -> dict[str, bytes]:
    """Return the ONNX models of the recommendation, by the names of their files."""
    from nas.models.model_files.onnx import network_onnx

    best, config = result.recommended, result.config
    assert best is not None
    variants = [(d.target.batch_size or 1, d.target.precision or "fp32") for d in result.devices]
    return {
        f"best.{precision}.b{batch_size}.onnx" if index else "best.onnx": network_onnx(
            best.architecture, config.workload.with_batch(batch_size), config.seed, precision
        )
        for index, (batch_size, precision) in enumerate(dict.fromkeys(variants))
    }


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
