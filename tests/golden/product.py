"""All that the golden tests need of the package: code that moves is adapted here alone.

Architectures go in and come out as their JSON, tables as folders, everything else as plain values,
so that the files of ``expected/`` and ``formats/`` outlive every module and class of today.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
import re
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import optuna
from rich.console import Console

import nas
from nas.accuracy.evaluator import Evaluation
from nas.config import SearchConfig
from nas.latency.collect.kit_import import import_results
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.files import read_table
from nas.models.cost import network_cost
from nas.report.page import render
from nas.report.terminal import print_result
from nas.results.values import Candidate, DeviceResult, SearchResult
from nas.search.engine import resume, search
from nas.search.leaderboard import Leaderboard
from nas.search.limits import Budget, DeviceBudget
from nas.search.sampler.samplers import make_sampler
from nas.search.schedule.proposals import Proposer
from nas.search.store.run_folder import read_run
from nas.search.store.run_store import RunStore
from nas.search.warm_start import read_earlier
from nas.space.architecture import Architecture
from nas.space.architecture_files import PUBLISHED, load_presets
from nas.space.space_files import load_space
from nas.space.workload import Workload
from nas.system import folders
from tests.report.endings import CASES

SHIPPED_TABLES = folders.shipped_tables()
"""Where the package keeps the tables it comes with."""


def sample_architectures(count: int, space: str | Path = "nextvit") -> list[dict[str, Any]]:
    """Random architectures of a space, the same ones every time."""
    rng, found = random.Random(2026), load_space(space)
    return [found.sample(rng).to_json() for _ in range(count)]


def presets() -> dict[str, dict[str, Any]]:
    """The published networks by name."""
    return {name: nas.load_architecture(name).to_json() for name in PUBLISHED}


def read_architecture(path: Path) -> dict[str, Any]:
    """An architecture from a file, or from the folder of a run."""
    return nas.load_architecture(path).to_json()


def ids(architecture: dict[str, Any], resolution: int = 224) -> dict[str, Any]:
    """Ids of an architecture, of its stages, and of its blocks for 1000 classes."""
    found = Architecture.from_json(architecture)
    return {
        "id": found.id,
        "stages": [stage.id for stage in found.stages],
        "blocks": [block.id for block in found.blocks(Workload.square(resolution))],
    }


def predict(
    architectures: Sequence[dict[str, Any]],
    table: Path,
    resolution: int = 224,
    num_classes: int = 1000,
) -> list[tuple[float, float, float]]:
    """Latency, and the ends of its 90% interval, in ms."""
    predictor = LatencyPredictor.fit(read_table(table))
    networks = [Architecture.from_json(value) for value in architectures]
    found = predictor.predict(networks, Workload.square(resolution, num_classes))
    columns = (found.latency_ms, found.low_ms, found.high_ms)
    return [tuple(map(float, row)) for row in zip(*columns, strict=True)]  # type: ignore[misc]


def table_facts(table: Path) -> dict[str, Any]:
    """A table's description, and its numbers of rows."""
    found = read_table(table)
    meta = found.meta
    return {
        "kind": meta.kind,
        "target": meta.target,
        "device": meta.device,
        "precision": meta.precision,
        "batch_size": meta.batch_size,
        "threads": meta.threads,
        "runtime_version": meta.runtime_version,
        "blocks": len(found.blocks),
        "networks": len(found.networks),
        "sum_of_blocks_ms": sum(timing.latency_ms for timing in found.blocks.values()),
        "sum_of_networks_ms": sum(row.timing.latency_ms for row in found.networks),
        "sizes": sorted(
            {(row.workload.resolution, row.workload.outputs) for row in found.networks}
        ),
    }


def import_kit_results(path: Path, tables_dir: Path) -> Path:
    """Make a table of a kit's results; returns its folder."""
    return import_results(path, tables_dir).path


def cost(architecture: dict[str, Any]) -> tuple[int, int, int]:
    """Parameters, MACs and activations of one image at 224 pixels for 1000 classes."""
    found = network_cost(Architecture.from_json(architecture).blocks())
    return found.params, found.macs, found.activations


def space_facts(space: str | Path, resolution: int) -> dict[str, Any]:
    """Exact size of a space, and which blocks its networks are made of."""
    found = load_space(space)
    blocks = found.blocks(Workload.square(resolution))
    lines = sorted(json.dumps(block.to_json(), sort_keys=True) for block in blocks)
    return {
        "size": found.size,
        "resolution": resolution,
        "blocks": len(blocks),
        "blocks_sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


def suggest(count: int, table: Path, budget_ms: float, seed: int = 0) -> list[str]:
    """Ids of what a search would train, one after the other, were these its accuracies.

    One worker, one device, one rung; everything but the training is as in a search.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = load_space("nextvit")
    config = SearchConfig(target="onnxruntime", budget_ms=budget_ms, seed=seed)
    predictor = LatencyPredictor.fit(read_table(table))
    devices = (DeviceBudget(predictor, budget_ms),)
    budget = Budget(space, devices, config.workload, config.confidence)
    study = optuna.create_study(directions=["maximize", "minimize"])
    store = RunStore(study, Path("nowhere"))
    board = Leaderboard(store, budget, config.size_bonus)
    store.trials.use(
        make_sampler(config.sampler, seed, space, board.latency_ratio, (), store.trials.observe)
    )
    proposer = Proposer(store, board, seed, config.rungs)
    proposer.enqueue_initial(load_presets(space))
    found = []
    for _ in range(count):
        proposal = proposer.propose()
        assert proposal is not None
        images = config.proxy.train_images
        evaluation = Evaluation(_made_up_accuracy(proposal.architecture), images, seconds=1.0)
        bonus = board.bonus.of(proposal.architecture, images)
        latencies_ms = [latency.latency_ms for latency in proposal.latencies]
        store.trials.record(proposal.number, evaluation, bonus, 0, latencies_ms)
        found.append(proposal.architecture.id)
    return found


def report_text() -> str:
    """What a search on two devices prints at its end, and the text of its page."""
    result = CASES["two-devices"]()
    printed = io.StringIO()
    print_result(result, Console(file=printed, width=100, color_system=None))
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    page = _VisibleText(render(result)).lines
    text = "\n".join(["TERMINAL", *lines, "", "PAGE", *page, ""])
    return re.sub(r"(Page written\n).*\n", r"\1DATE AND VERSIONS\n", text)


def finished_run(run_dir: Path, tables_dir: Path) -> dict[str, Any]:
    """A run that is over, read back; nothing is trained or measured."""
    result = resume(run_dir, tables_dir=tables_dir, executor=_NoTraining)
    return {
        "recommended": result.recommended.architecture.id if result.recommended else None,
        "untrained": result.untrained,
        "failed": result.failed,
        "imported": result.imported,
        "stopped": result.stopped,
        "undecided": result.unfinished_finalists,
        "devices": [_seen(result, device) for device in result.devices],
    }


def earlier_trials(run_dir: Path, seed: int) -> list[dict[str, Any]]:
    """Trials that a run passes on to a new one with another seed but the same training."""
    config = read_run(run_dir).changed({"seed": seed, "warm_start": (str(run_dir),)})
    return [
        {
            "id": trial.architecture.id,
            "accuracy": trial.accuracy,
            "group": trial.group,
            "origin": trial.origin,
            "images": trial.images,
        }
        for trial in read_earlier(config, load_space(config.space))
    ]


def warm_started(run_dir: Path, output: Path, tables_dir: Path) -> dict[str, Any]:
    """A search that begins with what a run has trained, and trains one network more."""
    config = read_run(run_dir)
    config = config.changed({"trials": 1, "finalists": 0, "warm_start": (str(run_dir),)})
    result = search(config, output, tables_dir=tables_dir, executor=ThreadPoolExecutor)
    every = (*result.candidates, *result.partly_trained)
    return {
        "imported": {c.architecture.id: c.accuracy for c in result.candidates[: result.imported]},
        "new": len(every) - result.imported,
    }


def _made_up_accuracy(architecture: Architecture) -> float:
    """Grows with the MACs, with noise that is always the same for the same network."""
    gmacs = network_cost(architecture.blocks()).macs / 1e9
    noise = int(architecture.id, 16) % 10_007 / 10_007 - 0.5
    return 0.7 + 0.04 * math.log2(gmacs) + 0.02 * noise


def _seen(result: SearchResult, device: DeviceResult) -> dict[str, Any]:
    trained = sorted((*result.candidates, *result.partly_trained), key=lambda c: c.number)
    return {
        "table": device.table_name,
        "provenance": device.provenance,
        "budget_ms": device.target.budget_ms,
        "front": [candidate.architecture.id for candidate in device.front],
        "breakdown_ms": list(device.breakdown_ms),
        "references": {r.name: r.predicted[device.index].latency_ms for r in result.references},
        "candidates": [_candidate(candidate, device) for candidate in trained],
    }


def _candidate(candidate: Candidate, device: DeviceResult) -> dict[str, Any]:
    latency, longer = device.latency(candidate), candidate.longer
    predicted, measured = latency.predicted, latency.measured
    return {
        "number": candidate.number,
        "id": candidate.architecture.id,
        "origin": candidate.origin,
        "accuracy": candidate.accuracy,
        "score": candidate.score,
        "images": candidate.images,
        "predicted_ms": predicted.latency_ms,
        "low_ms": predicted.low_ms,
        "high_ms": predicted.high_ms,
        "measured_ms": measured.latency_ms if measured else None,
        "measured_ci_pct": measured.ci_pct if measured else None,
        "measured_runs": measured.runs if measured else None,
        "final_accuracy": longer.accuracy if longer else None,
        "final_score": longer.score if longer else None,
        "final_images": longer.images if longer else None,
        "final_diverged": longer.diverged if longer else None,
    }


class _NoTraining(Executor):
    """Refuses to train."""

    def __init__(self, workers: int) -> None:
        del workers

    def submit(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a run that was over is trained further")


class _VisibleText(HTMLParser):
    """The pieces of text of a page, a line each, outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._hidden = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        line = " ".join(data.split())
        if line and not self._hidden:
            self.lines.append(line)
