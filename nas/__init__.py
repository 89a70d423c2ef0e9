"""Latency-aware architecture search for Next-ViT-style networks.

``import nas`` is light: a name below loads what it needs on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.architecture import Architecture, Block, Stage
    from nas.architecture_file import load_architecture
    from nas.config import SearchConfig
    from nas.latency.catalogue import load_table
    from nas.latency.predictor import LatencyPredictor
    from nas.latency.table import LatencyTable
    from nas.models.checkpoint import load_published
    from nas.models.network import build_network
    from nas.search.engine import search
    from nas.search.result import SearchResult
    from nas.space import SearchSpace
    from nas.space_file import load_space

__version__ = "0.1.0"

_HOME = {
    "Architecture": "nas.architecture",
    "Block": "nas.architecture",
    "Stage": "nas.architecture",
    "load_architecture": "nas.architecture_file",
    "SearchConfig": "nas.config",
    "LatencyPredictor": "nas.latency.predictor",
    "LatencyTable": "nas.latency.table",
    "load_table": "nas.latency.catalogue",
    "load_published": "nas.models.checkpoint",
    "build_network": "nas.models.network",
    "SearchResult": "nas.search.result",
    "search": "nas.search.engine",
    "SearchSpace": "nas.space",
    "load_space": "nas.space_file",
}

__all__ = [
    "Architecture",
    "Block",
    "LatencyPredictor",
    "LatencyTable",
    "SearchConfig",
    "SearchResult",
    "SearchSpace",
    "Stage",
    "build_network",
    "load_architecture",
    "load_published",
    "load_space",
    "load_table",
    "search",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
