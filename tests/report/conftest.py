"""Every way a search can end, as a fixture."""

from __future__ import annotations

import pytest

from nas.results.values import SearchResult
from tests.report.endings import CASES


@pytest.fixture(params=CASES, ids=list(CASES))
def result(request: pytest.FixtureRequest) -> SearchResult:
    """Each case in turn."""
    return CASES[request.param]()
