"""Chooses the network that a search recommends, and makes the result of the search."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from nas.errors import ArchitectureError, TableError
from nas.latency.table.catalog import remeasure_command
from nas.results.values import (
    MIN_FINALISTS,
    Candidate,
    DeviceResult,
    Reference,
    SearchResult,
    StopReason,
    UnfinishedFinalists,
    decided_between,
)
from nas.search.leaderboard import Leaderboard
from nas.search.limits import Budget
from nas.search.preparation import Prepared
from nas.search.store.records import TrialStatus
from nas.search.store.run_store import RunStore
from nas.space.architecture_files import load_presets

PUBLISHED_TOP1 = {"nextvit-small": 82.5, "nextvit-base": 83.2, "nextvit-large": 83.6}
"""ImageNet-1k top-1 in percent at 224 pixels (arXiv 2207.05501, table 5)."""


@dataclass(frozen=True)
class Outcome:
    """How a search ended.

    Attributes:
        stopped: stop reason if the search ended early, else None.
        unverified: reasons why devices could not measure the front, by index of the device.
        finalists_stopped: why some finalists were not trained longer; None if nothing stopped that.
    """

    stopped: StopReason | None
    unverified: Mapping[int, str | StopReason]
    finalists_stopped: StopReason | None


def recommend(
    leaderboard: Leaderboard, verified: Collection[int], finalists: int
) -> Candidate | None:
    """Return the best candidate within every limit; None if there is none.

    If the longer trainings of at least two finalists converged, the one of these with the best
    `Candidate.finalist_score` is returned. Otherwise it is the candidate of the best score; one
    whose longer training diverged is returned only if there is no other. Of candidates with equal
    scores, the one with the lowest latency ratios is returned.

    Args:
        leaderboard: leaderboard of the run.
        verified: indices of devices on which only measured candidates are considered.
        finalists: largest number of finalists, see `nas.config.SearchConfig`.
    """
    within = [
        candidate
        for candidate in leaderboard.within_limits()
        if all(candidate.latencies[device].measured for device in verified)
    ]
    compared = decided_between(within, finalists)
    if compared:
        ranked = [c for c in within if c.number in compared]
        return min(ranked, key=lambda c: (-c.finalist_score, leaderboard.latency_ratios_of(c)))
    usable = [c for c in within if c.longer == c.converged_longer] or within
    return min(usable, key=lambda c: (-c.score, leaderboard.latency_ratios_of(c)), default=None)


def conclude(
    store: RunStore,
    leaderboard: Leaderboard,
    prepared: Prepared,
    outcome: Outcome,
    devices_here: Sequence[int],
) -> SearchResult:
    """Make the result of a search.

    Args:
        store, leaderboard: store and leaderboard of the run.
        prepared: the checked configuration and its tables.
        outcome: how the search ended.
        devices_here: indices of the devices that are this machine.
    """
    config, trials = prepared.config, store.trials.read()
    verified = [index for index in devices_here if index not in outcome.unverified]
    recommended = recommend(leaderboard, verified, config.finalists)
    candidates = leaderboard.candidates()
    return SearchResult(
        run_dir=store.folder,
        config=config,
        devices=tuple(
            _device_result(index, leaderboard, prepared, outcome, recommended)
            for index in range(len(prepared.tables))
        ),
        candidates=tuple(candidates),
        recommended=recommended,
        references=_references(prepared.budget, candidates),
        untrained=trials.count(TrialStatus.OVER_LIMIT),
        failed=trials.count(TrialStatus.DIVERGED, TrialStatus.INTERRUPTED, TrialStatus.FAILED),
        wall_s=store.notes.wall_s(),
        stopped=outcome.stopped,
        imported=trials.imported(),
        partly_trained=tuple(leaderboard.partly_trained()),
        unfinished_finalists=_unfinished(leaderboard, config.finalists, outcome),
    )


def _unfinished(
    leaderboard: Leaderboard, finalists: int, outcome: Outcome
) -> UnfinishedFinalists | None:
    found = leaderboard.finalists(finalists)
    count = sum(candidate.longer is None for candidate in found)
    if outcome.finalists_stopped is None or not count or len(found) < MIN_FINALISTS:
        return None
    return UnfinishedFinalists(count, len(found), outcome.finalists_stopped)


def _device_result(
    index: int,
    leaderboard: Leaderboard,
    prepared: Prepared,
    outcome: Outcome,
    recommended: Candidate | None,
) -> DeviceResult:
    config, table = prepared.config, prepared.tables[index]
    unverified = outcome.unverified.get(index)
    measured = any(c.latencies[index].measured for c in leaderboard.candidates())
    command = remeasure_command(table, config.space, config.workload)
    breakdown_ms: tuple[float, ...] = ()
    if recommended is not None:
        breakdown_ms = leaderboard.session_budget.breakdown(recommended.architecture, index)
    return DeviceResult(
        index=index,
        target=config.targets[index],
        table_name=table.name,
        table_provenance=table.provenance(),
        provenance=table.latency_kind,
        device_description=table.meta.device_description,
        runtime_version=table.meta.runtime_version,
        replace_command=command if table.latency_kind == "estimated" else None,
        front=tuple(leaderboard.front(index)),
        breakdown_ms=breakdown_ms,
        verified=unverified is None and measured,
        unverified_because=unverified,
    )


def _references(budget: Budget, candidates: Sequence[Candidate]) -> tuple[Reference, ...]:
    """Return the presets for the space with their predicted latencies.

    A preset is left out if a table lacks one of its blocks.
    """
    scores = {candidate.architecture: candidate.score for candidate in candidates}
    references = []
    for name, architecture in load_presets(budget.space):
        try:
            predicted = budget.latencies(architecture)
        except (TableError, ArchitectureError):
            continue
        references.append(
            Reference(
                name=name,
                architecture=architecture,
                imagenet_top1=PUBLISHED_TOP1.get(name),
                predicted=predicted,
                score=scores.get(architecture),
            )
        )
    return tuple(references)
