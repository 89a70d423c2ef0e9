"""What to recommend after the front was measured, or could not be."""

from __future__ import annotations

from collections.abc import Sequence

from nas.search.result import Candidate


def recommend(front: Sequence[Candidate], budget_ms: float, verified: bool) -> Candidate | None:
    """The most accurate candidate within budget: by measurement where the front is verified."""
    if verified:
        fitting = [c for c in front if c.measured and c.measured.latency_ms <= budget_ms]
    else:
        fitting = [c for c in front if c.predicted.latency_ms <= budget_ms]
    return max(fitting, key=lambda c: (c.accuracy, -c.latency_ms), default=None)
