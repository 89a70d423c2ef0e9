"""Configurations of whole searches that take seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna

import nas
from nas.accuracy.evaluator import Evaluation, Evaluator, Request
from nas.config import SearchConfig
from nas.measurement.protocol import Timing
from nas.report.wording import verification_note
from nas.results.values import Candidate, SearchResult
from nas.search.leaderboard import Leaderboard
from nas.search.limits import Budget
from nas.search.schedule.promotion import best_at_rung, never_promoted
from nas.search.schedule.proposals import Proposal, Proposer
from nas.search.store.records import TrialRecord, Trials
from nas.search.store.run_store import RunStore
from tests.tiny import TINY_PROXY

OTHER_DEVICE = "elsewhere"
"""A device that is not this machine: its front is not measured, which takes most of a search."""

THREADS = {"executor": ThreadPoolExecutor}
"""Trains without a process of its own, which takes seconds to begin."""


def run_config(folder: Path, **changes: Any) -> SearchConfig:
    """A search of the tiny space on the made-up table of another device; None is this one."""
    values = {
        "target": "onnxruntime",
        "budget_ms": 0.9,
        "device": OTHER_DEVICE,
        "space": str(folder / "tiny.yaml"),
        "resolution": 64,
        "proxy": TINY_PROXY,
        "trials": 4,
        "sampler": "random",
        "finalists": 0,
    }
    return SearchConfig(**{**values, **changes})


class Run:
    """The parts of a run, on a study in memory.

    Args:
        study: of Optuna.
        budget: what may be trained.
        folder: of the run.
        rungs, size_bonus: as in a configuration.
    """

    def __init__(
        self,
        study: optuna.Study,
        budget: Budget,
        folder: Path,
        rungs: int = 1,
        size_bonus: float = 0.0,
    ) -> None:
        self.study = study
        self.store = RunStore(study, folder)
        self.board = Leaderboard(self.store, budget, size_bonus)
        self.proposer = Proposer(self.store, self.board, 0, rungs)
        self.rungs = rungs

    @property
    def trials(self) -> Trials:
        return self.store.trials.read()

    def evaluate(
        self,
        accuracy: float,
        proposal: Proposal | None = None,
        images: int = 8_000,
        seconds: float = 1.0,
        diverged: bool = False,
    ) -> Proposal:
        """Have a proposal, or the next one, evaluated to this accuracy."""
        proposal = proposal or self.proposer.propose()
        assert proposal is not None
        evaluation = Evaluation(accuracy, images, seconds, diverged)
        bonus = self.board.bonus.of(proposal.architecture, images)
        latencies_ms = [latency.latency_ms for latency in proposal.latencies]
        to_come = proposal.rungs_to_come
        self.store.trials.record(proposal.number, evaluation, bonus, to_come, latencies_ms)
        return proposal

    def best_at_rung(self, able=None, no_more: bool = False) -> TrialRecord | None:
        """The candidate to promote; every checkpoint exists by default."""
        able = Everything() if able is None else able
        return best_at_rung(self.trials, self.board, self.rungs, able, no_more)

    def never_promoted(self, total: int) -> set[str]:
        """Architectures at a rung that can hardly be promoted."""
        return never_promoted(self.trials, self.board, self.rungs, total)


def made_up(score_of: Callable[[Request], float | Evaluation]) -> Callable[..., list[Evaluation]]:
    """Stands in for `evaluate_here`: what a function of the request says."""

    def evaluate(_evaluator: Evaluator, requests: Sequence[Request]) -> list[Evaluation]:
        found = [score_of(request) for request in requests]
        return [
            one if isinstance(one, Evaluation) else Evaluation(one, request.images)
            for one, request in zip(found, requests, strict=True)
        ]

    return evaluate


def is_longer(request: Request) -> bool:
    """Whether it is a finalist's longer training."""
    return request.images > TINY_PROXY.train_images


def measured_of(candidate: Candidate) -> Timing | None:
    """Its measurement on the first device."""
    return candidate.latencies[0].measured


def note_of(result: SearchResult) -> str:
    """The note on the verification on the first device."""
    return verification_note(result, result.devices[0])


class Everything:
    """A container that holds whatever it is asked for."""

    def __contains__(self, _: object) -> bool:
        return True


class Device:
    """This machine, if every network took ``share`` of what its table says."""

    def __init__(self, tables_dir: Path) -> None:
        table = nas.load_table("onnxruntime", tables_dir=tables_dir)
        self.predictor = nas.LatencyPredictor.fit(table)
        self.share = 1.0

    def measure(self, networks, table, workload, progress):
        truth = self.share * self.predictor.predict(networks, workload).latency_ms
        return [Timing(float(ms), 0.5, 1.0, 30) for ms in truth]
