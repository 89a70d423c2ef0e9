"""What a search found: the values the terminal, the report and the files are made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nas.config import SearchConfig
from nas.measurement.protocol import Timing
from nas.models.cost import network_cost
from nas.space.architecture import Architecture

LEAST_COMPARED = 2
"""Candidates with a longer training from which on it counts as well."""

SEARCHED = "searched"
"""`Candidate.origin` of a network that is no preset."""

Provenance = Literal["measured", "estimated", "predicted"]


@dataclass(frozen=True)
class Latency:
    """A predicted or estimated latency with its interval, in milliseconds."""

    latency_ms: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True)
class Final:
    """What the longer training of a finalist gave (`nas.search.finalist_training`).

    Attributes:
        accuracy: proxy validation accuracy, 0..1; 0 if it diverged.
        bonus: what is added to it for size.
        images: seen in that training.
        diverged: it was stopped because its loss exploded.
    """

    accuracy: float
    bonus: float
    images: int
    diverged: bool = False

    @property
    def score(self) -> float:
        """Accuracy, and what is added for size."""
        return self.accuracy + self.bonus


@dataclass(frozen=True)
class Candidate:
    """A trained architecture, as seen on one device.

    Attributes:
        number: its trial's number in the study.
        architecture: the network.
        accuracy: proxy validation accuracy, 0..1.
        bonus: what is added to it for size (`nas.accuracy.size_bonus`).
        predicted: its latency from the table.
        measured: its latency measured whole, None if it was not verified.
        again_high_ms: upper end of what measuring it again may give; None as above.
        origin: a preset's name, else ``searched``.
        images: seen in proxy training; None if unknown.
        final: what training it longer gave; None if it was not.
    """

    number: int
    architecture: Architecture
    accuracy: float
    predicted: Latency
    measured: Timing | None = None
    origin: str = SEARCHED
    images: int | None = None
    again_high_ms: float | None = None
    bonus: float = 0.0
    final: Final | None = None

    @property
    def score(self) -> float:
        """What it is compared by with others: accuracy, and what is added for size."""
        return self.accuracy + self.bonus

    @property
    def latency_ms(self) -> float:
        """Measured where it was measured, else predicted."""
        return self.measured.latency_ms if self.measured else self.predicted.latency_ms

    @property
    def high_ms(self) -> float:
        """Upper end of the interval of that: what a budget must hold."""
        return self.predicted.high_ms if self.again_high_ms is None else self.again_high_ms

    @property
    def sound_final(self) -> Final | None:
        """What longer training gave; None where there was none, or it diverged."""
        return None if self.final is None or self.final.diverged else self.final

    @property
    def finalist_score(self) -> float:
        """What finalists are compared by: the mean of the scores of both trainings.

        Together they predict another long training better than either alone
        (`benchmarks/proxy_fidelity.py`). That of the one training where there was no second.
        """
        final = self.sound_final
        return self.score if final is None else (self.score + final.score) / 2

    def cost_at(self, config: SearchConfig) -> tuple[float, float]:
        """MACs in G for one image at the target's resolution, and parameters in M."""
        blocks = self.architecture.blocks(config.workload)
        cost = network_cost(blocks)
        return cost.macs / 1e9, cost.params / 1e6


def compared(candidates: Iterable[Candidate], finalists: int) -> dict[int, Final]:
    """What longer training gave the candidates that both trainings decide between, by number.

    Empty where fewer than `LEAST_COMPARED` were trained so, or were to be; what diverged is none.
    """
    finals = {c.number: final for c in candidates if (final := c.sound_final)}
    return finals if min(finalists, len(finals)) >= LEAST_COMPARED else {}


@dataclass(frozen=True)
class Reference:
    """A preset beside which the front is shown; it may not fit the budget.

    Attributes:
        name: for example ``nextvit-small``.
        architecture: the network.
        imagenet_top1: published ImageNet-1k accuracy in percent at 224 pixels; None if there is
            none.
        predicted: latency from the same table.
        score: see `Candidate`, where it was trained in this run, else None.
    """

    name: str
    architecture: Architecture
    imagenet_top1: float | None
    predicted: Latency
    score: float | None


@dataclass(frozen=True)
class SearchResult:
    """A finished (or stopped) search, as seen on one device.

    Attributes:
        run_dir: the run's folder.
        config: what was asked for, of the targets only this device's.
        table_name: ``<target>/<device>.<precision>.b<batch>``.
        table_provenance: one sentence on where the latencies come from.
        provenance: ``predicted`` from a measured table, or ``estimated`` from published figures.
        replace_command: command that replaces an estimate by a measured table, else None.
        candidates: every fully trained candidate, by trial number.
        front: Pareto-optimal candidates within every budget, fastest here first.
        recommended: the candidate within every budget, measured where possible, of the best
            `Candidate.finalist_score`, or where finalists were not trained longer, of the best
            score; None if none.
        breakdown_ms: predicted milliseconds of each Block of the recommended one, in order; what
            they lack of its prediction is the device's constant. Empty if none is recommended.
        verified: whether the front was measured on the device of the table.
        verification_note: one sentence on how, or why not.
        references: the presets for the space.
        untrained: proposals that broke a limit; none was trained.
        failed: trials that were interrupted or diverged.
        wall_s: seconds spent searching, earlier sessions of a resumed run included.
        stopped: why it ended before all that was asked for was trained, None if it did not.
        imported: how many of the candidates an earlier run trained.
        partly_trained: candidates that stopped at a rung; their accuracy is what they had there.
        undecided: how many finalists were not trained longer and why; None if all were, or none
            were to be.
        elsewhere: the same search as seen on its further devices.
    """

    run_dir: Path
    config: SearchConfig
    table_name: str
    table_provenance: str
    provenance: Provenance
    replace_command: str | None
    candidates: tuple[Candidate, ...]
    front: tuple[Candidate, ...]
    recommended: Candidate | None
    breakdown_ms: tuple[float, ...]
    verified: bool
    verification_note: str
    references: tuple[Reference, ...]
    untrained: int
    failed: int
    wall_s: float
    stopped: str | None
    imported: int = 0
    partly_trained: tuple[Candidate, ...] = ()
    undecided: str | None = None
    elsewhere: tuple[SearchResult, ...] = ()

    @property
    def everywhere(self) -> tuple[SearchResult, ...]:
        """The search as seen on each of its devices, this one first."""
        return (self, *self.elsewhere)
