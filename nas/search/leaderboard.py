"""The trained candidates of a run: those within the limits, on a front, and the finalists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nas.accuracy.size_bonus import SizeBonus
from nas.latency.predict.intervals import measured_again
from nas.measurement.protocol import Timing
from nas.results.pareto import pareto_front
from nas.results.values import Candidate, DeviceLatency, Latency
from nas.search.limits import Budget
from nas.search.store.records import TrialRecord
from nas.search.store.run_store import RunStore
from nas.space.architecture import Architecture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Leaderboard:
    """Candidates as values, made from the store and the present budget.

    Args:
        store: store of the run.
        budget: the budget with the uncalibrated predictors; `calibrate` replaces it.
        size_bonus: see `nas.config.SearchConfig`.

    Attributes:
        budget: the limits, with predictors calibrated by the measurements of the run.
        bonus: size bonus that is added to accuracies.
    """

    def __init__(self, store: RunStore, budget: Budget, size_bonus: float = 0.0) -> None:
        self.budget = self._uncalibrated = budget
        self.bonus = SizeBonus(size_bonus, budget.workload)
        self._store = store
        self._predicted: dict[tuple[Architecture, bool], tuple[Latency, ...]] = {}

    def calibrate(self) -> None:
        """Shift each device's predictions by all that the run has measured on it."""
        candidates = self.candidates()
        devices = []
        for index, device in enumerate(self._uncalibrated.devices):
            measured = [c for c in candidates if c.latencies[index].measured]
            predictor = device.predictor.recalibrated(
                [c.architecture for c in measured],
                [c.latencies[index].latency_ms for c in measured],
                self.budget.workload,
            )
            devices.append(replace(device, predictor=predictor))
        self.budget = replace(self._uncalibrated, devices=tuple(devices))
        self._predicted.clear()

    def latency_ratio(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """`Budget.latency_ratio` of the current budget, which calibration replaces."""
        return self.budget.latency_ratio(architectures)

    def candidates(self) -> list[Candidate]:
        """Every fully trained candidate, by trial number."""
        return [self._candidate(record) for record in self._store.trials.read().trained()]

    def partly_trained(self) -> list[Candidate]:
        """Every candidate that stopped at a rung and was not promoted, by trial number."""
        trials = self._store.trials.read()
        promoted = trials.promoted()
        return [self._candidate(r) for r in trials.at_rung() if r.number not in promoted]

    def front(self, device: int = 0) -> list[Candidate]:
        """Pareto-optimal candidates within every limit, fastest on one device first."""
        within = self.within_limits()
        points = [(c.score, c.latencies[device].latency_ms) for c in within]
        return pareto_front(within, points)

    def within_limits(self) -> list[Candidate]:
        """Candidates whose latencies are within every budget, up to the ends of their intervals.

        The interval is the one that a further measurement would fall into; for a network that was
        not measured, the interval of its prediction.
        """
        limits_ms = [device.budget_ms for device in self.budget.devices]
        return [
            candidate
            for candidate in self.candidates()
            if all(
                latency.high_ms <= limit_ms
                for latency, limit_ms in zip(candidate.latencies, limits_ms, strict=True)
            )
        ]

    def finalists(self, count: int) -> list[Candidate]:
        """The ``count`` candidates of the best score within every limit, best first."""
        return sorted(self.within_limits(), key=lambda c: -c.score)[:count]

    def _candidate(self, record: TrialRecord) -> Candidate:
        architecture, notes = record.known_architecture, self._store.notes
        devices = range(len(self.budget.devices))
        return Candidate(
            number=record.number,
            architecture=architecture,
            accuracy=record.accuracy,
            latencies=tuple(self._latency(architecture, device) for device in devices),
            origin=record.origin,
            images=record.images,
            bonus=record.bonus,
            longer=notes.longer(architecture),
            standard_error=record.standard_error,
            weights=record.weights,
        )

    def _latency(self, architecture: Architecture, device: int) -> DeviceLatency:
        measured = self._store.notes.measured(architecture, device)
        # A measurement is compared with the prediction before it, not with the calibrated one.
        predicted = self._predictions(architecture, calibrated=measured is None)[device]
        if measured is None:
            return DeviceLatency(predicted)
        times = self._store.notes.times_measured(architecture, device)
        return DeviceLatency(predicted, measured, self._remeasured_high_ms(measured, times))

    def _predictions(self, architecture: Architecture, calibrated: bool) -> tuple[Latency, ...]:
        key = (architecture, calibrated)
        if key not in self._predicted:
            budget = self.budget if calibrated else self._uncalibrated
            self._predicted[key] = budget.latencies(architecture)
        return self._predicted[key]

    def _remeasured_high_ms(self, measured: Timing, times: int) -> float:
        """Upper end of the interval that another measurement would fall into."""
        again = measured_again(measured.ci_pct, times)
        return measured.latency_ms * again.factor(self.budget.confidence)
