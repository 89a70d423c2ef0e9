"""Measures what a search found, and gives what that shows back to the predictors.

The front and the finalists are measured whole on every device that is this machine. All predictions
of a device are then shifted by what the measured networks have in common, which may bring others
among them: they are measured next, until all are. What is to be recommended is measured once more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

from nas.errors import RuntimeUnavailableError
from nas.latency.collect.tables import measure_networks
from nas.latency.table.catalog import why_not_this_machine
from nas.latency.table.table import LatencyTable
from nas.measurement.protocol import Timing
from nas.search.callbacks import Listener
from nas.search.preparation import Prepared
from nas.search.store.study import SearchStudy
from nas.space.architecture import Architecture
from nas.space.workload import Workload
from nas.system.interrupts import interruptible

USED_WELL = 0.9
"""Share of a limit, by the upper end of the predicted interval, that leaves little to be won."""

MAX_ROUNDS = 4
"""Of measuring what came onto the front or among the finalists by the round before."""

TO_RECOMMEND = 2
"""How often a network is measured before it is recommended, each time in its own process."""

DISTURBED_PCT = 5.0
"""Half the 95% interval, in percent of the latency, from which a measurement was disturbed."""


def devices_here(prepared: Prepared) -> list[int]:
    """Indices of the devices that are this machine."""
    tables = enumerate(prepared.tables)
    return [index for index, table in tables if why_not_this_machine(table) is None]


@dataclass(frozen=True)
class Verification:
    """What measuring the front showed.

    Attributes:
        missed: whether the most accurate candidate turned out to be over a budget; or too close to
            it to be sure, while what is left uses little of its budgets.
        failed: why a device could not measure, by its index.
    """

    missed: bool
    failed: dict[int, str]


def measure_front(
    study: SearchStudy, prepared: Prepared, listener: Listener, skipped: Collection[int] = ()
) -> Verification:
    """Measure every front, and the finalists, on the devices that are here; recalibrate those.

    Args:
        study: what was trained; keeps what is measured.
        prepared: what was asked for.
        listener: told about every network.
        skipped: indices of devices that cannot measure.
    """
    here, failed = devices_here(prepared), dict[int, str]()
    missed = unsure = False
    for _ in range(MAX_ROUNDS):
        able = [index for index in here if index not in failed and index not in skipped]
        wanted = {index: _unmeasured(study, index, prepared.config.finalists) for index in able}
        if not any(wanted.values()):
            break
        leader = study.front()[-1]
        listener.stage("verifying")
        failed |= _measure(study, prepared, wanted, listener)
        missed = missed or _over_a_budget(study, leader.number)
        unsure = unsure or leader.number not in study.within()
    return Verification(missed or (unsure and _room_left(study)), failed)


def measure_again(
    study: SearchStudy,
    prepared: Prepared,
    architecture: Architecture,
    devices: Sequence[int],
    listener: Listener,
) -> dict[int, str]:
    """Measure a network once more on devices that are here, and recalibrate those.

    Returns:
        Why a device could not measure it any more, by its index.
    """
    listener.stage("confirming")
    return _measure(study, prepared, {device: [architecture] for device in devices}, listener)


def is_lost(study: SearchStudy, number: int) -> bool:
    """Whether a candidate was measured over a budget; or too close to it to be sure, while what is
    left uses little of its budgets."""
    return _over_a_budget(study, number) or (number not in study.within() and _room_left(study))


def _measure(
    study: SearchStudy,
    prepared: Prepared,
    wanted: Mapping[int, Sequence[Architecture]],
    listener: Listener,
) -> dict[int, str]:
    """Measure networks on each device, keep their latencies, and recalibrate.

    Returns:
        Why a device's runtime could not run one of them, by its index.
    """
    config, failed = prepared.config, dict[int, str]()
    import_module(
        "nas.models.model_files.onnx"
    )  # PyTorch's import, cut off by Ctrl-C, could not be done again
    for device, architectures in wanted.items():
        if not architectures:
            continue
        table = prepared.tables[device]
        try:
            with interruptible():
                timings = _timings(architectures, table, config.workload, listener)
        except RuntimeUnavailableError as error:
            failed[device] = str(error)
        else:
            study.ledger.record_measured(device, architectures, timings)
    recalibrate(study, prepared)
    return failed


def _timings(
    architectures: Sequence[Architecture],
    table: LatencyTable,
    workload: Workload,
    listener: Listener,
) -> list[Timing]:
    """Measure networks; once more where something else kept the machine busy meanwhile."""
    timings = measure_networks(architectures, table, workload, listener.verifying)
    disturbed = [i for i, timing in enumerate(timings) if timing.ci_pct > DISTURBED_PCT]
    if disturbed:
        anew = [architectures[i] for i in disturbed]
        measured_anew = measure_networks(anew, table, workload, listener.verifying)
        for i, again in zip(disturbed, measured_anew, strict=True):
            timings[i] = min(timings[i], again, key=lambda timing: timing.ci_pct)
    return timings


def _over_a_budget(study: SearchStudy, number: int) -> bool:
    """Whether a candidate was measured over a budget, not just close to it."""
    return any(
        candidate.measured is not None and candidate.measured.latency_ms > device.budget_ms
        for index, device in enumerate(study.budget.devices)
        for candidate in study.candidates(index)
        if candidate.number == number
    )


def _room_left(study: SearchStudy) -> bool:
    """Whether the most accurate candidate that is sure leaves much of every limit."""
    front = study.front()
    return not front or float(study.load([front[-1].architecture]).max()) < USED_WELL


def recalibrate(study: SearchStudy, prepared: Prepared) -> None:
    """Give the study the predictors of ``prepared``, shifted by all the run has measured."""
    budget = prepared.budget
    devices = []
    for index, device in enumerate(budget.devices):
        measured = [c for c in study.candidates(index) if c.measured]
        predictor = device.predictor.recalibrated(
            [c.architecture for c in measured],
            [c.latency_ms for c in measured],
            budget.workload,
        )
        devices.append(replace(device, predictor=predictor))
    study.budget = replace(budget, devices=tuple(devices))


def _unmeasured(study: SearchStudy, device: int, finalists: int) -> list[Architecture]:
    """What is on the front of any device, or a finalist, and was not measured on this one."""
    wanted = {c.number for c in study.finalists(finalists)}
    wanted |= {c.number for index in range(len(study.budget.devices)) for c in study.front(index)}
    candidates = study.candidates(device)
    return [c.architecture for c in candidates if c.number in wanted and c.measured is None]
