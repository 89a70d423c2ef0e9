"""Measures the front's candidates whole on the device, and recommends by what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from nas.errors import TableError
from nas.latency.catalogue import TableKey, own_key
from nas.latency.collect import compile_block, compile_network
from nas.latency.measure import REFERENCE_BLOCK, Reference, measure
from nas.latency.runtimes import RUNTIMES
from nas.latency.table import LatencyTable
from nas.search.result import Candidate, Measured

CANDIDATES_AT_ONCE = 4


def why_not(table: LatencyTable) -> str | None:
    """Why this machine cannot verify a table's predictions, or None if it can."""
    meta = table.meta
    if meta.target not in RUNTIMES:
        return f"this version cannot measure {meta.target}"
    reason = RUNTIMES[meta.target]().unavailable()
    if reason:
        return f"{meta.target} cannot run here: {reason}"
    try:
        own = own_key(meta.target, meta.precision, meta.batch_size)
    except TableError as error:
        return str(error)
    if own is None or own.folder != meta.folder or meta.kind != "measured":
        return f"this machine is not {meta.device_description}"
    return None


def measure_candidates(
    candidates: Sequence[Candidate],
    table: LatencyTable,
    resolution: int,
    num_classes: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Candidate]:
    """The candidates with their latency measured whole, by the protocol of the table.

    Args:
        candidates: what to measure.
        table: of this machine; its reference block takes the drift since it was made out.
        resolution, num_classes: of the networks.
        progress: told how many are done, and of how many.
    """
    meta = table.meta
    assert meta.reference_ms is not None
    key = TableKey(meta.target, meta.device, meta.precision, meta.batch_size)
    runtime = RUNTIMES[meta.target]()
    reference = Reference(compile_block(runtime, REFERENCE_BLOCK, key), meta.reference_ms)
    measured: list[Candidate] = []
    for start in range(0, len(candidates), CANDIDATES_AT_ONCE):
        group = candidates[start : start + CANDIDATES_AT_ONCE]
        calls = [
            compile_network(runtime, c.architecture, key, resolution, num_classes) for c in group
        ]
        timings = measure(calls, reference, rounds=5, round_s=0.2)
        for candidate, timing in zip(group, timings, strict=True):
            result = Measured(timing.latency_ms, timing.spread_pct, timing.runs)
            measured.append(replace(candidate, measured=result))
        progress(len(measured), len(candidates))
    return measured


def recommend(front: Sequence[Candidate], budget_ms: float, verified: bool) -> Candidate | None:
    """The most accurate candidate within budget: by measurement where the front is verified."""
    if verified:
        fitting = [c for c in front if c.measured and c.measured.latency_ms <= budget_ms]
    else:
        fitting = [c for c in front if c.predicted.latency_ms <= budget_ms]
    return max(fitting, key=lambda c: (c.accuracy, -c.latency_ms), default=None)
