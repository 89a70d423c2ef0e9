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
    """Makes the candidates of a run from its trials, with latencies under the current budget.

    Args:
        store: store of the run.
        budget: the limits, with uncalibrated predictors.
        size_bonus: see `nas.config.SearchConfig`.

    Attributes:
        budget: the limits, with predictors that `calibrate` has corrected.
        session_budget: the same before any candidate was measured: the predictors are corrected by
            the networks of their tables alone.
        bonus: size bonus that is added to accuracies.
    """

    def __init__(self, store: RunStore, budget: Budget, size_bonus: float = 0.0) -> None:
        self.budget = self._uncalibrated = self.session_budget = budget
        self.bonus = SizeBonus(size_bonus, budget.workload)
        self._store = store
        self._predicted: dict[tuple[Architecture, bool], tuple[Latency, ...]] = {}

    def calibrate(self) -> None:
        """Correct each device's predictor by the networks that the run has measured on it.

        These are the networks of its table that were measured once more, and the candidates.
        """
        candidates, notes = self.candidates(), self._store.notes
        before, after = [], []
        for index, device in enumerate(self._uncalibrated.devices):
            measured = [c for c in candidates if (m := c.latencies[index].measured) and m.steady]
            predictor = device.predictor.in_session(notes.session(index) or ())
            before.append(replace(device, predictor=predictor))
            predictor = predictor.recalibrated(
                [c.architecture for c in measured],
                [c.latencies[index].latency_ms for c in measured],
                self.budget.workload,
            )
            after.append(replace(device, predictor=predictor))
        self.session_budget = replace(self._uncalibrated, devices=tuple(before))
        self.budget = replace(self._uncalibrated, devices=tuple(after))
        self._predicted.clear()

    def latency_ratio(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """Return `Budget.latency_ratio` with the calibrated predictors: [n, devices]."""
        return self.budget.latency_ratio(architectures)

    def candidates(self) -> list[Candidate]:
        """Return every fully trained candidate, in trial order."""
        return [self._candidate(record) for record in self._store.trials.read().trained()]

    def partly_trained(self) -> list[Candidate]:
        """Return the candidates that stopped at a rung and were not promoted, in trial order."""
        trials = self._store.trials.read()
        promoted = trials.promoted()
        return [self._candidate(r) for r in trials.at_rung() if r.number not in promoted]

    def front(self, device: int = 0) -> list[Candidate]:
        """Return the front of score and latency on one device, the fastest candidate first.

        It consists of candidates within every limit.

        Args:
            device: index of the device.
        """
        within = self.within_limits()
        points = [(c.score, c.latencies[device].latency_ms) for c in within]
        return pareto_front(within, points)

    def within_limits(self) -> list[Candidate]:
        """Return the candidates whose latency interval ends within the budget of every device.

        For a measured network, this is the interval that another measurement would fall into; for
        any other, it is the interval of the prediction. Limits of size are not checked again.
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
        """Return up to ``count`` candidates within every limit, in order of score, best first.

        Of equal scores, the one with the lower latency ratios comes first.
        """
        ranked = sorted(self.within_limits(), key=lambda c: (-c.score, self.latency_ratios_of(c)))
        return ranked[:count]

    def latency_ratios_of(self, candidate: Candidate) -> tuple[float, ...]:
        """Return a candidate's latency / budget on each device, the largest first.

        A latency is the measured one, or else the predicted one. So of two candidates, one that is
        slower on some device and faster on none has the larger tuple.
        """
        pairs = zip(candidate.latencies, self.budget.devices, strict=True)
        ratios = (latency.latency_ms / device.budget_ms for latency, device in pairs)
        return tuple(sorted(ratios, reverse=True))

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
        # A measurement is compared with the prediction before any candidate was measured.
        predicted = self._predictions(architecture, calibrated=measured is None)[device]
        if measured is None:
            return DeviceLatency(predicted)
        times = self._store.notes.times_measured(architecture, device)
        return DeviceLatency(predicted, measured, self._remeasured_high_ms(measured, times))

    def _predictions(self, architecture: Architecture, calibrated: bool) -> tuple[Latency, ...]:
        key = (architecture, calibrated)
        if key not in self._predicted:
            budget = self.budget if calibrated else self.session_budget
            self._predicted[key] = budget.latencies(architecture)
        return self._predicted[key]

    def _remeasured_high_ms(self, measured: Timing, times: int) -> float:
        """Return the upper end, in ms, of the interval that another measurement would fall into.

        Args:
            measured: mean of the measurements so far.
            times: number of measurements so far.
        """
        again = measured_again(measured.ci_pct, times)
        return measured.latency_ms * again.factor(self.budget.confidence)
