"""Configurations of whole searches that take seconds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nas.config import SearchConfig
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
