"""What a search found, once training and measuring are over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.errors import ArchitectureError, TableError
from nas.latency.table.catalog import remeasure_command
from nas.latency.table.table import LatencyTable
from nas.results.values import LEAST_COMPARED, Candidate, Reference, SearchResult, compared
from nas.search.limits import Budget
from nas.search.preparation import Prepared
from nas.search.store.study import SearchStudy
from nas.search.verification import devices_here
from nas.space.architecture_files import load_presets

PUBLISHED_TOP1 = {"nextvit-small": 82.5, "nextvit-base": 83.2, "nextvit-large": 83.6}
"""ImageNet-1k top-1 in percent at 224 pixels (arXiv 2207.05501, table 5)."""


@dataclass(frozen=True)
class Outcome:
    """How a search ended.

    Attributes:
        stopped: why before all that was asked for was trained, or None.
        unverified: why nothing was measured on a device, by its index.
        undecided: why finalists were not trained longer; None if nothing kept them from it.
    """

    stopped: str | None
    unverified: dict[int, str]
    undecided: str | None


def conclude(
    run_dir: Path, prepared: Prepared, study: SearchStudy, outcome: Outcome
) -> SearchResult:
    """The search as seen on its first device, and through that on all.

    Args:
        run_dir: the run's folder.
        prepared: what was asked for.
        study: what was trained and measured.
        outcome: how it ended.
    """
    verified = [index for index in devices_here(prepared) if index not in outcome.unverified]
    number = recommend(study, verified, prepared.config.finalists)
    seen = [
        _seen_on(index, run_dir, prepared, study, outcome, number)
        for index in range(len(prepared.tables))
    ]
    return replace(seen[0], elsewhere=tuple(seen[1:]))


def recommend(study: SearchStudy, verified: Sequence[int], finalists: int) -> int | None:
    """Number of the best candidate within every budget, None if there is none.

    That is of those that were trained longer if there are two and more; else what diverged in that
    is recommended only where there is nothing else.

    Args:
        study: what was trained and measured.
        verified: indices of devices on which only what was measured counts.
        finalists: how many there are, at most.
    """
    within = study.within()
    for index in verified:
        within &= {c.number for c in study.candidates(index) if c.measured}
    fitting = [c for c in study.candidates() if c.number in within]
    finals = compared(fitting, finalists)
    if finals:
        chosen = [c for c in fitting if c.number in finals]
        return max(chosen, key=lambda c: c.finalist_score).number
    sound = [c for c in fitting if c.final == c.sound_final] or fitting
    return max(sound, key=lambda c: c.score).number if sound else None


def _undecided(study: SearchStudy, finalists: int, reason: str | None) -> str | None:
    """How many finalists were not trained longer, and why; None if all were."""
    found = study.finalists(finalists)
    left = sum(c.final is None for c in found)
    if reason is None or not left or len(found) < LEAST_COMPARED:
        return None
    return f"{left} of {len(found)} finalists were not trained longer: {reason}"


def _seen_on(
    index: int,
    run_dir: Path,
    prepared: Prepared,
    study: SearchStudy,
    outcome: Outcome,
    recommended: int | None,
) -> SearchResult:
    config, table = prepared.config.on(index), prepared.tables[index]
    unverified = outcome.unverified.get(index)
    candidates = study.candidates(index)
    measured = any(c.measured for c in candidates)
    best = next((c for c in candidates if c.number == recommended), None)
    estimated = table.latency_kind == "estimated"
    command = remeasure_command(table, config.space, config.workload)
    return SearchResult(
        run_dir=run_dir,
        config=config,
        table_name=table.name,
        table_provenance=table.provenance(),
        provenance=table.latency_kind,
        replace_command=command if estimated else None,
        candidates=tuple(candidates),
        front=tuple(study.front(index)),
        recommended=best,
        breakdown_ms=prepared.budget.breakdown(best.architecture, index) if best else (),
        verified=unverified is None and measured,
        verification_note=_verification_note(table, unverified, bool(candidates), measured),
        references=_references(prepared.budget, index, candidates),
        imported=study.trials.imported(),
        partly_trained=tuple(study.partly_trained(index)),
        untrained=study.trials.untrained(),
        failed=study.trials.diverged() + study.trials.interrupted(),
        wall_s=study.ledger.wall_s(),
        stopped=outcome.stopped,
        undecided=_undecided(study, prepared.config.finalists, outcome.undecided),
    )


def _verification_note(
    table: LatencyTable, unverified: str | None, trained: bool, measured: bool
) -> str:
    if unverified is not None:
        return f"Latencies are {table.latency_kind}, not verified: {unverified}."
    if not trained:
        return "Nothing was verified: no candidate was trained in full."
    if not measured:
        return "Nothing was verified: by today's predictions no candidate is within budget."
    return (
        f"The front was measured whole on this machine ({table.meta.device_description}, "
        f"{table.meta.target} {table.meta.runtime_version})."
    )


def _references(
    budget: Budget, device: int, candidates: Sequence[Candidate]
) -> tuple[Reference, ...]:
    """The presets for the space, as far as the tables can tell their latency."""
    trained = {c.architecture: c.score for c in candidates}
    references = []
    for name, architecture in load_presets(budget.space):
        try:
            latency = budget.latencies(architecture)[device]
        except (TableError, ArchitectureError):
            continue
        top1 = PUBLISHED_TOP1.get(name)
        references.append(Reference(name, architecture, top1, latency, trained.get(architecture)))
    return tuple(references)
