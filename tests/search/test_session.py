"""Networks of a table are measured once more when a search begins, and correct its predictions."""

from __future__ import annotations

import pytest

from nas.api import resume, search
from nas.errors import RuntimeUnavailableError
from nas.measurement.protocol import Timing
from nas.search import verification
from nas.search.store.run_store import RunStore
from tests.search.runs import THREADS, run_config


@pytest.fixture(autouse=True)
def four_networks(monkeypatch):
    monkeypatch.setattr(verification, "SESSION_NETWORKS", 4)


def measured_as(monkeypatch, shares, ci_pct=0.5):
    """Has each network take a share of what the table says, and returns the calls' networks."""
    calls = []

    def measure(networks, table, workload, _progress, **_):
        rows = {row.architecture: row.timing.latency_ms for row in table.networks_at(workload)}
        calls.append(networks)
        scale = shares if len(calls) == 1 else [1.0] * len(networks)
        return [
            Timing(scale[n % len(scale)] * rows.get(network, 0.5), ci_pct, 1.0, 30)
            for n, network in enumerate(networks)
        ]

    monkeypatch.setattr("nas.search.verification.measure_networks", measure)
    return calls


def run(folder, tmp_path, **changes):
    config = run_config(folder, device=None, trials=2, **changes)
    return search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)


def session_of(tmp_path):
    with RunStore.opened_for_reading(tmp_path / "run") as store:
        return store.notes.session(0)


def test_predictions_follow_the_networks_of_the_table_and_intervals_are_narrower(
    folder, tmp_path, monkeypatch
):
    calls = measured_as(monkeypatch, [1.05, 1.06, 1.04, 3.0])  # one was disturbed
    result = run(folder, tmp_path)
    assert len(calls[0]) == 4
    assert session_of(tmp_path) == pytest.approx([1.05, 1.06, 1.04, 3.0])
    monkeypatch.setattr(verification, "SESSION_NETWORKS", 10**6)
    plain = search(
        run_config(folder, device=None, trials=2),
        tmp_path / "plain",
        tables_dir=folder / "tables",
        **THREADS,
    )
    (now,), (then,) = result.candidates[0].latencies, plain.candidates[0].latencies
    assert result.candidates[0].architecture == plain.candidates[0].architecture
    assert 1.03 < now.predicted.latency_ms / then.predicted.latency_ms < 1.06
    width = [p.high_ms / p.low_ms for p in (now.predicted, then.predicted)]
    assert width[0] < width[1]


def test_a_run_measures_them_once(folder, tmp_path, monkeypatch):
    calls = measured_as(monkeypatch, [1.0])
    run(folder, tmp_path)
    before = len(calls)
    resume(tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len(calls) == before


def test_disturbed_measurements_correct_nothing(folder, tmp_path, monkeypatch):
    calls = measured_as(monkeypatch, [1.3], ci_pct=40.0)
    run(folder, tmp_path)
    assert len(calls[0]) == 4 and session_of(tmp_path) is None


def test_a_device_that_cannot_measure_them_is_passed_over(folder, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RuntimeUnavailableError("onnxruntime cannot run a network")

    monkeypatch.setattr("nas.search.verification.measure_networks", fails)
    result = run(folder, tmp_path)
    assert len(result.candidates) == 2 and session_of(tmp_path) is None


def test_ctrl_c_meanwhile_ends_the_search_before_anything_is_trained(folder, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nas.search.verification.measure_networks", interrupted)
    result = run(folder, tmp_path)
    assert result.stopped and not result.candidates
