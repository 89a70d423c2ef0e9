"""Measures what a search found, and calibrates the predictors by it.

The front and the finalists are measured whole on every device that is this machine. That calibrates
all predictions of the device, which may bring other candidates onto the front. These are measured
next, until every candidate of the front is measured. The one to recommend is measured once more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from nas.errors import RuntimeUnavailableError
from nas.latency.collect.tables import measure_networks
from nas.latency.table.catalog import why_not_this_machine
from nas.latency.table.table import LatencyTable
from nas.measurement.protocol import Timing
from nas.search.callbacks import Listener
from nas.search.leaderboard import Leaderboard
from nas.search.preparation import Prepared
from nas.search.store.run_store import RunStore
from nas.space.architecture import Architecture
from nas.space.workload import Workload
from nas.system.interrupts import interruptible

WELL_USED = 0.9
"""Latency ratio, by the upper end of the interval, above which a budget counts as well used."""

MAX_ROUNDS = 4
"""Largest number of rounds. Each round measures the networks that the round before brought onto the
front or among the finalists."""

MEASUREMENTS_TO_RECOMMEND = 2
"""How often a network is measured before it is recommended, each time in its own process."""

DISTURBED_PCT = 5.0
"""A measurement is repeated if half its 95% interval is above this percentage of the latency."""


@dataclass(frozen=True)
class Verification:
    """Result of measuring the front.

    Attributes:
        lost: see `Verifier.is_lost`, of the best candidate.
        failed: why a device could not measure, by its index.
    """

    lost: bool
    failed: dict[int, str]


class Verifier:
    """Measures candidates of a run on the devices that are this machine.

    Args:
        store: keeps the measurements.
        leaderboard: is calibrated by them.
        prepared: the checked configuration and its tables.
        listener: told about every network.

    Attributes:
        devices_here: indices of the devices that are this machine.
    """

    def __init__(
        self, store: RunStore, leaderboard: Leaderboard, prepared: Prepared, listener: Listener
    ) -> None:
        self._store = store
        self._leaderboard = leaderboard
        self._prepared = prepared
        self._listener = listener
        self.devices_here = [
            index
            for index, table in enumerate(prepared.tables)
            if why_not_this_machine(table) is None
        ]

    def measure_front(self, skipped: Collection[int]) -> Verification:
        """Measure every front, and the finalists.

        Args:
            skipped: indices of devices that cannot measure.
        """
        failed: dict[int, str] = {}
        over = unsure = False
        for _ in range(MAX_ROUNDS):
            able = [i for i in self.devices_here if i not in failed and i not in skipped]
            wanted = {index: self._unmeasured(index) for index in able}
            if not any(wanted.values()):
                break
            best = self._leaderboard.front()[-1].number
            self._listener.stage("verifying")
            failed |= self._measure(wanted)
            over = over or self._over_a_budget(best)
            unsure = unsure or best not in {c.number for c in self._leaderboard.within_limits()}
        return Verification(over or (unsure and self._budget_unused()), failed)

    def measure_again(self, architecture: Architecture, devices: Sequence[int]) -> dict[int, str]:
        """Measure a network once more; returns why a device could not, by its index."""
        self._listener.stage("confirming")
        return self._measure({device: [architecture] for device in devices})

    def is_lost(self, number: int) -> bool:
        """Whether a candidate is over a budget by its measurements; or is too close to one to be
        sure, while the best remaining candidate uses little of the budgets."""
        within = {c.number for c in self._leaderboard.within_limits()}
        return self._over_a_budget(number) or (number not in within and self._budget_unused())

    def _measure(self, wanted: Mapping[int, Sequence[Architecture]]) -> dict[int, str]:
        """Measure networks on each device, keep their latencies, and calibrate.

        Returns:
            Why a device's runtime could not run one of them, by its index.
        """
        failed: dict[int, str] = {}
        workload = self._prepared.config.workload
        # PyTorch cannot be imported again after Ctrl-C has interrupted its import.
        import_module("nas.models.model_files.onnx")
        for device, architectures in wanted.items():
            if not architectures:
                continue
            table = self._prepared.tables[device]
            try:
                with interruptible():
                    timings = self._timings(architectures, table, workload)
            except RuntimeUnavailableError as error:
                failed[device] = str(error)
            else:
                self._store.notes.record_measured(device, architectures, timings)
        self._leaderboard.calibrate()
        return failed

    def _timings(
        self, architectures: Sequence[Architecture], table: LatencyTable, workload: Workload
    ) -> list[Timing]:
        """Measure networks, and repeat measurements that were disturbed by other load."""
        progress = self._listener.verifying
        timings = measure_networks(architectures, table, workload, progress)
        disturbed = [i for i, timing in enumerate(timings) if timing.ci_pct > DISTURBED_PCT]
        if disturbed:
            repeated = [architectures[i] for i in disturbed]
            again = measure_networks(repeated, table, workload, progress)
            for i, timing in zip(disturbed, again, strict=True):
                timings[i] = min(timings[i], timing, key=lambda timing: timing.ci_pct)
        return timings

    def _over_a_budget(self, number: int) -> bool:
        """Whether a candidate was measured over a budget, not just close to it."""
        return any(
            latency.measured is not None and latency.measured.latency_ms > device.budget_ms
            for candidate in self._leaderboard.candidates()
            if candidate.number == number
            for latency, device in zip(
                candidate.latencies, self._leaderboard.budget.devices, strict=True
            )
        )

    def _budget_unused(self) -> bool:
        """Whether the best candidate within the limits uses little of every budget."""
        front = self._leaderboard.front()
        if not front:
            return True
        return float(self._leaderboard.latency_ratio([front[-1].architecture]).max()) < WELL_USED

    def _unmeasured(self, device: int) -> list[Architecture]:
        """Candidates of any device's front and finalists that were not measured on this device."""
        board = self._leaderboard
        wanted = {c.number for c in board.finalists(self._prepared.config.finalists)}
        for index in range(len(board.budget.devices)):
            wanted |= {c.number for c in board.front(index)}
        return [
            candidate.architecture
            for candidate in board.candidates()
            if candidate.number in wanted and candidate.latencies[device].measured is None
        ]
