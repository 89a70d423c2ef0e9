"""Latency-aware architecture search for Next-ViT-style networks.

``import nas`` is fast: each name in ``__all__`` is imported when it is first used.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nas import search as _search_package
from nas.models import blocks as _blocks  # noqa: F401  registers the kinds of blocks
from nas.version import __version__ as __version__

if TYPE_CHECKING:
    from nas.api import search
    from nas.config import SearchConfig
    from nas.latency.predict.predictor import LatencyPredictor
    from nas.latency.table.catalog import load_table
    from nas.latency.table.table import LatencyTable
    from nas.models.checkpoint import load_published
    from nas.models.network import build_network
    from nas.results.values import SearchResult
    from nas.space.architecture import Architecture, Stage
    from nas.space.architecture_files import load_architecture
    from nas.space.block import Block
    from nas.space.search_space import SearchSpace
    from nas.space.space_files import load_space
    from nas.space.workload import Workload

_HOME = {
    "Architecture": "nas.space.architecture",
    "Block": "nas.space.block",
    "Stage": "nas.space.architecture",
    "load_architecture": "nas.space.architecture_files",
    "SearchConfig": "nas.config",
    "LatencyPredictor": "nas.latency.predict.predictor",
    "LatencyTable": "nas.latency.table.table",
    "load_table": "nas.latency.table.catalog",
    "load_published": "nas.models.checkpoint",
    "build_network": "nas.models.network",
    "SearchResult": "nas.results.values",
    "search": "nas.api",
    "SearchSpace": "nas.space.search_space",
    "load_space": "nas.space.space_files",
    "Workload": "nas.space.workload",
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
    "Workload",
    "build_network",
    "load_architecture",
    "load_published",
    "load_space",
    "load_table",
    "search",
]


class _CallablePackage(ModuleType):
    """Type of the package ``nas.search``: a call of it is a call of `nas.api.search`."""

    def __call__(self, *args: Any, **kwargs: Any) -> SearchResult:
        from nas.api import search

        return search(*args, **kwargs)


_search_package.__class__ = _CallablePackage


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
