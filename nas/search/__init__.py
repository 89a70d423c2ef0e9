"""The search: proposals from Optuna, latency first, proxy training, verification.

``nas.search(config)`` runs one. The name is this package's as well, so the package itself is
made callable; the work is `nas.search.engine.search`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.search.result import SearchResult


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> SearchResult:
        from nas.search.engine import search

        return search(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
