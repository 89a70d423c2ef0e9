"""Every way a search can end, as a fixture."""

from __future__ import annotations

import pytest
from endings import CASES

from nas.search.result import SearchResult


@pytest.fixture(params=CASES, ids=list(CASES))
def result(request: pytest.FixtureRequest) -> SearchResult:
    """Each case in turn."""
    return CASES[request.param]()
