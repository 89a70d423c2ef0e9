"""Configurations of whole searches that take seconds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nas
from nas.config import SearchConfig
from nas.measurement.protocol import Timing
from tests.tiny import TINY_PROXY

ELSEWHERE = "elsewhere"
"""A device that is not this machine: its front is not measured, which takes most of a search."""

THREADS = {"executor": ThreadPoolExecutor}
"""Trains without a process of its own, which takes seconds to begin."""


def run_config(folder: Path, **changes: Any) -> SearchConfig:
    """A search of the tiny space on the made-up table of another device; None is this one."""
    values = {
        "target": "onnxruntime",
        "budget_ms": 0.9,
        "device": ELSEWHERE,
        "space": str(folder / "tiny.yaml"),
        "resolution": 64,
        "proxy": TINY_PROXY,
        "trials": 4,
        "sampler": "random",
        "finalists": 0,
    }
    return SearchConfig(**{**values, **changes})


class Device:
    """This machine, if every network took ``share`` of what its table says."""

    def __init__(self, tables_dir: Path) -> None:
        table = nas.load_table("onnxruntime", tables_dir=tables_dir)
        self.predictor = nas.LatencyPredictor.fit(table)
        self.share = 1.0

    def measure(self, networks, table, workload, progress):
        truth = self.share * self.predictor.predict(networks, workload).latency_ms
        return [Timing(float(ms), 0.5, 1.0, 30) for ms in truth]
