"""Whether a front can be measured on this machine, and what to recommend after it was."""

from __future__ import annotations

from collections.abc import Sequence

from nas.errors import TableError
from nas.latency.catalogue import own_key
from nas.latency.runtimes import RUNTIMES
from nas.latency.table import LatencyTable
from nas.search.result import Candidate


def why_not(table: LatencyTable) -> str | None:
    """Why this machine cannot verify a table's predictions, or None if it can."""
    meta = table.meta
    if meta.target not in RUNTIMES:
        return f"{meta.target} is a target that cannot be measured"
    reason = RUNTIMES[meta.target].unavailable()
    if reason:
        return f"{meta.target} cannot run here: {reason}"
    try:
        own = own_key(meta.target, meta.precision, meta.batch_size)
    except TableError as error:
        return str(error)
    if own is None or own.folder != meta.folder or meta.kind != "measured":
        return f"this machine is not {meta.device_description}"
    return None


def recommend(front: Sequence[Candidate], budget_ms: float, verified: bool) -> Candidate | None:
    """The most accurate candidate within budget: by measurement where the front is verified."""
    if verified:
        fitting = [c for c in front if c.measured and c.measured.latency_ms <= budget_ms]
    else:
        fitting = [c for c in front if c.predicted.latency_ms <= budget_ms]
    return max(fitting, key=lambda c: (c.accuracy, -c.latency_ms), default=None)
