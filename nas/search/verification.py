"""Measures the best candidates of a search, and calibrates the latency predictors.

When a search begins, some networks of each table are measured once more. Later the whole networks
of the fronts and the finalists are measured on every device that is this machine. The measurements
calibrate all predictions for the device, so other candidates may come onto a front. These are
measured next, and so on until every candidate of the fronts is measured. The network to recommend
is measured once more.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from nas.errors import RuntimeUnavailableError
from nas.latency.collect.tables import measure_networks
from nas.latency.table.catalog import why_not_this_machine
from nas.latency.table.table import LatencyTable, NetworkRow
from nas.measurement.protocol import NETWORK_EFFORT, Timing
from nas.search.callbacks import Listener
from nas.search.leaderboard import Leaderboard
from nas.search.preparation import Prepared
from nas.search.store.run_store import RunStore
from nas.space.architecture import Architecture
from nas.space.workload import Workload
from nas.system.interrupts import interruptible

WELL_USED = 0.9
"""A budget counts as well used by a network whose latency ratio (upper end of the predicted
interval / budget) is at least this."""

MAX_ROUNDS = 4
"""Largest number of rounds of measuring and calibrating. A round measures the candidates that the
calibration of the round before brought onto a front or among the finalists."""

MEASUREMENTS_TO_RECOMMEND = 2
"""How often a network is measured before it is recommended, each time in its own process."""

SESSION_NETWORKS, MIN_SESSION_NETWORKS = 4, 3
"""Number of networks of a table that are measured once more when a search begins, and how many of
these measurements must be undisturbed to be used."""

DISTURBED_PCT = 5.0
"""A measurement is repeated if half its 95% interval is above this percentage of the latency."""


@dataclass(frozen=True)
class Verification:
    """Result of measuring the fronts.

    Attributes:
        lost: whether the best candidate was lost in one of the rounds, see `Verifier.is_lost`.
        failed: reasons why devices could not measure, by index of the device.
    """

    lost: bool
    failed: dict[int, str]


class Verifier:
    """Measures candidates of a run on the devices that are this machine.

    Args:
        store: store of the run, which keeps the measurements.
        leaderboard: leaderboard of the run, which the measurements calibrate.
        prepared: the checked configuration and its tables.
        listener: callbacks for progress.

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

    def measure_session(self) -> None:
        """Measure some networks of each device's table once more, once in a run.

        They show how fast the machine is now, compared with when its table was measured, and
        correct all predictions. A device that cannot measure them, or whose table has too few
        networks of this image size, is passed over.
        """
        notes, workload = self._store.notes, self._prepared.config.workload
        for device in self.devices_here:
            table = self._prepared.tables[device]
            budget_ms = self._leaderboard.budget.devices[device].budget_ms
            rows = nearest(table.networks_at(workload), budget_ms, SESSION_NETWORKS)
            if notes.session(device) is not None or len(rows) < SESSION_NETWORKS:
                continue
            self._listener.stage("session")
            _import_exporter()
            try:
                with interruptible():
                    # Their median decides, so each is measured as for a table.
                    timings = measure_networks(
                        *([row.architecture for row in rows], table, workload),
                        self._listener.verifying,
                        effort=NETWORK_EFFORT,
                    )
            except RuntimeUnavailableError:
                continue  # the search says so when it measures the front
            ratios = [
                now.latency_ms / row.timing.latency_ms
                for now, row in zip(timings, rows, strict=True)
                if now.ci_pct <= DISTURBED_PCT
            ]
            if len(ratios) >= MIN_SESSION_NETWORKS:
                notes.record_session(device, ratios)
        self._leaderboard.calibrate()

    def measure_front(self, skipped: Collection[int]) -> Verification:
        """Measure the candidates of every device's front and the finalists, if not yet measured.

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
        """Measure a network once more.

        Args:
            architecture: the network.
            devices: indices of the devices that measure it.

        Returns:
            Reasons why devices could not measure it, by index of the device.
        """
        self._listener.stage("confirming")
        return self._measure({device: [architecture] for device in devices})

    def is_lost(self, number: int) -> bool:
        """Return whether a candidate is lost, so that more candidates should be evaluated.

        It is lost if its measured latency is over a budget. It is also lost if only the upper end
        of its interval is over a budget, unless the best remaining candidate uses a budget well
        (`WELL_USED`).

        Args:
            number: trial number of the candidate.
        """
        within = {c.number for c in self._leaderboard.within_limits()}
        return self._over_a_budget(number) or (number not in within and self._budget_unused())

    def _measure(self, wanted: Mapping[int, Sequence[Architecture]]) -> dict[int, str]:
        """Measure networks on each device, keep their latencies, and calibrate.

        Returns:
            Reasons why devices could not measure their networks, by index of the device.
        """
        failed: dict[int, str] = {}
        workload = self._prepared.config.workload
        _import_exporter()
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
        """Measure networks; repeat a measurement once if other load disturbed it."""
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
        """Return whether a candidate's measured latency is over a budget on any device."""
        return any(
            latency.measured is not None and latency.measured.latency_ms > device.budget_ms
            for candidate in self._leaderboard.candidates()
            if candidate.number == number
            for latency, device in zip(
                candidate.latencies, self._leaderboard.budget.devices, strict=True
            )
        )

    def _budget_unused(self) -> bool:
        """Return whether no budget is used well (`WELL_USED`) by the best candidate within limits.

        Without such a candidate, none is used well.
        """
        front = self._leaderboard.front()
        if not front:
            return True
        return float(self._leaderboard.latency_ratio([front[-1].architecture]).max()) < WELL_USED

    def _unmeasured(self, device: int) -> list[Architecture]:
        """Return the networks of all fronts and the finalists that one device has not measured."""
        board = self._leaderboard
        wanted = {c.number for c in board.finalists(self._prepared.config.finalists)}
        for index in range(len(board.budget.devices)):
            wanted |= {c.number for c in board.front(index)}
        return [
            candidate.architecture
            for candidate in board.candidates()
            if candidate.number in wanted and candidate.latencies[device].measured is None
        ]


def nearest(rows: Sequence[NetworkRow], latency_ms: float, count: int) -> list[NetworkRow]:
    """Return the ``count`` networks of a table whose latency is nearest to a given one in ratio."""
    return sorted(rows, key=lambda row: abs(math.log(row.timing.latency_ms / latency_ms)))[:count]


def _import_exporter() -> None:
    """Import PyTorch: that cannot be done again after Ctrl-C has interrupted it."""
    import_module("nas.models.model_files.onnx")
