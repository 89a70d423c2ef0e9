"""The result of a search: the values from which the terminal, report and files are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal

from nas.config import SearchConfig, TargetConfig
from nas.measurement.protocol import Timing
from nas.models.cost import network_cost
from nas.space.architecture import Architecture
from nas.space.workload import Workload

MIN_FINALISTS = 2
"""Longer trainings decide the recommendation if those of at least this many finalists converged."""

SEARCHED = "searched"
"""Value of `Candidate.origin` for a network that is not a preset."""

Provenance = Literal["measured", "estimated", "predicted"]


class StopReason(Enum):
    """Why a search, or a part of it, ended early.

    The values are written into files; `nas.report.wording` says what they mean to a reader.
    """

    INTERRUPTED = "interrupted"
    VERIFICATION_INTERRUPTED = "verification interrupted"
    SPACE_EXHAUSTED = "space exhausted"
    TIME_LIMIT_OF_CANDIDATES = "no further candidate fits into the time limit"
    TIME_LIMIT = "time limit"
    WORKERS_DIED = "workers died"
    EVALUATOR_FAILED = "evaluator failed"


@dataclass(frozen=True)
class Latency:
    """A predicted or estimated latency with its interval, in milliseconds."""

    latency_ms: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True)
class DeviceLatency:
    """A network's latency on one device, predicted and measured.

    Attributes:
        predicted: latency predicted or estimated from the device's table.
        measured: timing of the whole network; None if it was not measured.
        remeasured_high_ms: upper end of the interval that another measurement would fall into;
            None if it was not measured.
    """

    predicted: Latency
    measured: Timing | None = None
    remeasured_high_ms: float | None = None

    @property
    def latency_ms(self) -> float:
        """The measured latency, or the predicted one if the network was not measured, in ms."""
        return self.measured.latency_ms if self.measured else self.predicted.latency_ms

    @property
    def high_ms(self) -> float:
        """Upper end of the interval of `latency_ms`, which is compared with the budget."""
        if self.remeasured_high_ms is None:
            return self.predicted.high_ms
        return self.remeasured_high_ms


@dataclass(frozen=True)
class LongerTraining:
    """Result of the second, longer training of a finalist.

    Attributes:
        accuracy: validation accuracy, 0..1; 0 if it diverged.
        bonus: size bonus that is added to the accuracy, see `nas.accuracy.size_bonus`.
        images: images seen in the longer training.
        diverged: whether there is no accuracy: the loss exploded, or the evaluator failed.
        message: error of the evaluator; empty if it did not fail.
    """

    accuracy: float
    bonus: float
    images: int
    diverged: bool = False
    message: str = ""

    @property
    def score(self) -> float:
        """Accuracy plus bonus."""
        return self.accuracy + self.bonus


@dataclass(frozen=True)
class Candidate:
    """A trained architecture.

    Attributes:
        number: its trial's number in the study.
        architecture: the network.
        accuracy: validation accuracy, 0..1.
        latencies: one per device, in the order of `SearchResult.devices`.
        origin: a preset's name, else `SEARCHED`.
        images: images seen in training; None if unknown.
        bonus: size bonus that is added to the accuracy, see `nas.accuracy.size_bonus`.
        longer: a finalist's longer training; None if there was none.
        standard_error: standard error of the accuracy; None if the evaluator does not give it.
        weights: path of the trained weights; None if the evaluator does not keep them.
    """

    number: int
    architecture: Architecture
    accuracy: float
    latencies: tuple[DeviceLatency, ...]
    origin: str = SEARCHED
    images: int | None = None
    bonus: float = 0.0
    longer: LongerTraining | None = None
    standard_error: float | None = None
    weights: str | None = None

    @property
    def score(self) -> float:
        """Accuracy plus bonus, by which candidates are compared."""
        return self.accuracy + self.bonus

    @property
    def measured(self) -> bool:
        """Whether its latency was measured on any device."""
        return any(latency.measured for latency in self.latencies)

    @property
    def converged_longer(self) -> LongerTraining | None:
        """The longer training; None if there was none, or it diverged."""
        return None if self.longer is None or self.longer.diverged else self.longer

    @property
    def finalist_score(self) -> float:
        """Mean of the scores of both trainings, by which finalists are compared.

        The mean predicts another long training better than either score alone
        (`benchmarks/proxy_fidelity.py`). Without a converged longer training, the value is `score`.
        """
        longer = self.converged_longer
        return self.score if longer is None else (self.score + longer.score) / 2

    def size_at(self, workload: Workload) -> tuple[float, float]:
        """Return MACs in G for one image of a workload, and parameters in M."""
        cost = network_cost(self.architecture.blocks(workload))
        return cost.macs / 1e9, cost.params / 1e6


def decided_between(candidates: Iterable[Candidate], finalists: int) -> dict[int, LongerTraining]:
    """Longer trainings of the finalists, by candidate number, if they decide the recommendation.

    Empty if fewer than `MIN_FINALISTS` finalists converged, or ``finalists`` is smaller than that.
    """
    longer = {c.number: found for c in candidates if (found := c.converged_longer)}
    return longer if min(finalists, len(longer)) >= MIN_FINALISTS else {}


@dataclass(frozen=True)
class Reference:
    """A preset that is shown for comparison with the front; it may not fit the budget.

    Attributes:
        name: for example ``nextvit-small``.
        architecture: the network.
        imagenet_top1: published ImageNet-1k accuracy in percent at 224 pixels; None if unknown.
        predicted: latency from each device's table, in the order of `SearchResult.devices`.
        score: see `Candidate.score`; None if the preset was not trained in this run.
    """

    name: str
    architecture: Architecture
    imagenet_top1: float | None
    predicted: tuple[Latency, ...]
    score: float | None


@dataclass(frozen=True)
class DeviceResult:
    """Result of a search for one of its devices.

    Attributes:
        index: place of the device in `SearchResult.devices` and `Candidate.latencies`.
        target: the device, with its budget.
        table_name: ``<target>/<device>.<precision>.b<batch>``.
        table_provenance: one sentence on where the latencies come from.
        provenance: ``predicted`` from a measured table, or ``estimated`` from published figures.
        device_description: name that the hardware reports.
        runtime_version: version of the runtime that measured; empty for published figures.
        replace_command: command that measures the table, if its latencies are estimated; else None.
        front: Pareto-optimal candidates within every budget, fastest on this device first.
        breakdown_ms: predicted milliseconds of each `Block` of the recommended network, in order;
            the network's prediction also includes a constant. Empty without a recommendation.
        verified: whether the front was measured on this device.
        unverified_because: why the front could not be measured on this device; None if it could be,
            or if no candidate was to be measured.
    """

    index: int
    target: TargetConfig
    table_name: str
    table_provenance: str
    provenance: Provenance
    device_description: str
    runtime_version: str
    replace_command: str | None
    front: tuple[Candidate, ...]
    breakdown_ms: tuple[float, ...]
    verified: bool
    unverified_because: str | StopReason | None = None

    def latency(self, candidate: Candidate) -> DeviceLatency:
        """A candidate's latency on this device."""
        return candidate.latencies[self.index]


@dataclass(frozen=True)
class UnfinishedFinalists:
    """Finalists that were not trained longer.

    Attributes:
        count: number of these finalists.
        total: number of all finalists.
        reason: why they were not trained longer.
    """

    count: int
    total: int
    reason: StopReason


@dataclass(frozen=True)
class SearchResult:
    """A finished (or stopped) search.

    Attributes:
        run_dir: the run's folder.
        config: configuration of the search, with the options of tables resolved.
        devices: one per target, in the order of ``config.targets``.
        candidates: every fully trained candidate, by trial number.
        recommended: the candidate within every budget with the best `Candidate.finalist_score`,
            or with the best score if no finalists were trained longer. Its latency is measured
            where possible. None if no candidate is within every budget.
        references: the presets for the space, shown for comparison.
        untrained: proposals that broke a limit; none was trained.
        failed: trials that were interrupted, diverged, or failed in the evaluator.
        wall_s: seconds spent searching, including earlier sessions of a resumed run.
        stopped: stop reason of a search that ended early; None if all candidates were trained.
        imported: number of candidates that were trained by earlier runs.
        partly_trained: candidates that stopped at a rung; their accuracy is that at the rung.
        unfinished_finalists: finalists that were not trained longer; None if all were, or none was
            asked for.
    """

    run_dir: Path
    config: SearchConfig
    devices: tuple[DeviceResult, ...]
    candidates: tuple[Candidate, ...]
    recommended: Candidate | None
    references: tuple[Reference, ...]
    untrained: int
    failed: int
    wall_s: float
    stopped: StopReason | None
    imported: int = 0
    partly_trained: tuple[Candidate, ...] = ()
    unfinished_finalists: UnfinishedFinalists | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the user interrupted the search, or its measurements."""
        return self.stopped is StopReason.INTERRUPTED or any(
            device.unverified_because is StopReason.VERIFICATION_INTERRUPTED
            for device in self.devices
        )

    @property
    def device_names(self) -> tuple[str, ...]:
        """A short and unique name of each device, in the order of `devices`.

        It is the target; if several devices have the same target, ``<target>/<device>``; if they
        have that in common too, the name of the table.
        """
        names = [device.target.target for device in self.devices]
        without_variant = [device.table_name.rsplit(".", 2)[0] for device in self.devices]
        tables = [device.table_name for device in self.devices]
        for longer in (without_variant, tables):
            names = [
                more if names.count(name) > 1 else name
                for name, more in zip(names, longer, strict=True)
            ]
        return tuple(names)
