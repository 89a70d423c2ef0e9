"""The front is measured, and a search learns from what that shows."""

from __future__ import annotations

import pytest

from nas.api import resume, search
from nas.errors import RuntimeUnavailableError
from nas.measurement.protocol import Timing
from nas.search.callbacks import Listener
from tests.search.runs import THREADS, made_up, measured_of, note_of, run_config
from tests.tiny import AT_64


def test_the_front_is_measured_and_the_recommendation_follows_it(finished):
    result, _ = finished
    (device,) = result.devices
    assert device.verified
    assert all(candidate.measured for candidate in device.front)
    within = [c for c in device.front if measured_of(c).latency_ms <= 0.9]
    if within:
        assert result.recommended == max(within, key=lambda c: c.score)
        blocks = result.recommended.architecture.blocks(AT_64)
        assert len(device.breakdown_ms) == len(blocks)
        predicted_ms = device.latency(result.recommended).predicted.latency_ms
        assert sum(device.breakdown_ms) == pytest.approx(predicted_ms, abs=0.2)
    else:
        assert result.recommended is None


def test_ctrl_c_while_measuring_the_front_still_ends_with_a_report(folder, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("nas.search.verification.measure_networks", interrupted)
    config = run_config(folder, device=None, trials=1)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert not result.devices[0].verified
    assert "measuring the front was interrupted; go on with --resume" in note_of(result)
    assert result.recommended and (tmp_path / "run" / "report.html").exists()
    monkeypatch.undo()
    assert resume(tmp_path / "run", tables_dir=folder / "tables", **THREADS).devices[0].verified


def test_a_device_that_cannot_run_a_network_is_left_unverified(folder, tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeUnavailableError("onnxruntime cannot run a network")

    monkeypatch.setattr("nas.search.verification.measure_networks", fails)
    config = run_config(folder, device=None, trials=3)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert not result.devices[0].verified and result.recommended
    assert "not verified: onnxruntime cannot run a network" in note_of(result)
    assert (tmp_path / "run" / "report.html").exists()
    monkeypatch.setattr(
        "nas.search.verification.measure_networks",
        lambda networks, *_: [Timing(0.5, 0.5, 1.0, 30) for _ in networks],
    )
    assert resume(tmp_path / "run", tables_dir=folder / "tables", **THREADS).devices[0].verified


def test_a_candidate_measured_over_budget_is_not_recommended_and_the_search_goes_on(
    folder, tmp_path, monkeypatch, device
):
    """The device is 10% slower now than when its table was measured."""
    budget_ms = 0.8
    device.share, predictor = 1.1, device.predictor

    def larger_is_better(request):
        return float(predictor.predict([request.architecture], AT_64).latency_ms[0])

    monkeypatch.setattr("nas.search.trial_runner.evaluate_here", made_up(larger_is_better))
    result = search(
        run_config(folder, device=None, budget_ms=budget_ms, trials=12, sampler="latency-aware"),
        tmp_path / "run",
        tables_dir=folder / "tables",
        **THREADS,
    )
    (seen,) = result.devices
    assert all(c.measured and seen.latency(c).latency_ms <= budget_ms for c in seen.front)
    assert result.recommended == seen.front[-1]
    assert seen.latency(result.recommended).latency_ms > 0.9 * budget_ms
    before = {c.number: predictor.predict([c.architecture], AT_64) for c in result.candidates}
    shift: dict[bool, list[float]] = {True: [], False: []}
    for c in result.candidates:
        ratio = seen.latency(c).predicted.latency_ms / before[c.number].latency_ms[0]
        shift[c.measured].append(ratio)
    assert shift[True] == pytest.approx([1.0] * len(shift[True]))  # as it was predicted
    assert all(1.02 < ratio < 1.1 for ratio in shift[False])  # towards what was measured
    assert any(c.measured and seen.latency(c).latency_ms > budget_ms for c in result.candidates)
    assert len(result.candidates) in (15, 18)  # it went on, with a quarter more each time
    again = resume(tmp_path / "run", tables_dir=folder / "tables")
    assert [c.latencies for c in again.candidates] == [c.latencies for c in result.candidates]


def test_where_what_is_measured_too_close_to_the_budget_is_lost_the_search_goes_on(
    folder, tmp_path, monkeypatch, device
):
    budget_ms = 0.8
    config = run_config(folder, device=None, budget_ms=budget_ms, trials=8, sampler="latency-aware")

    def search_with_close(share: float):
        """All that use more than a share of the budget are measured next to it."""

        def close(networks, *_):
            usual = device.measure(networks, None, AT_64, None)
            near = Timing(0.995 * budget_ms, 0.5, 1.0, 30)
            return [near if t.latency_ms > share * budget_ms else t for t in usual]

        monkeypatch.setattr("nas.search.verification.measure_networks", close)
        run_dir = tmp_path / f"{share:g}"
        return search(config, run_dir, tables_dir=folder / "tables", **THREADS)

    result = search_with_close(0.6)
    lost = [c for c in result.candidates if c.measured and c.latencies[0].high_ms > budget_ms]
    assert lost and all(measured_of(c).latency_ms < budget_ms for c in lost)
    assert result.recommended not in lost
    assert len(result.candidates) > 8
    calm = search_with_close(1.0)
    assert len(calm.candidates) == 8


def test_on_a_device_faster_than_its_table_the_search_goes_on(folder, tmp_path, device):
    """It goes on because larger networks fit than was predicted."""

    def search_where_it_takes(share):
        device.share = share
        config = run_config(folder, device=None, budget_ms=0.8, trials=8, sampler="latency-aware")
        run_dir = tmp_path / f"{share:g}"
        return search(config, run_dir, tables_dir=folder / "tables", **THREADS)

    assert len(search_where_it_takes(1.0).candidates) == 8
    faster = search_where_it_takes(0.85)
    assert len(faster.candidates) in (10, 12)
    first, added = faster.candidates[:8], faster.candidates[8:]
    assert max(c.latencies[0].predicted.latency_ms for c in first) <= 0.8
    assert all(c.latencies[0].high_ms <= 0.8 for c in added)


def test_who_was_interrupted_while_it_went_on_does_the_rest_later(
    folder, tmp_path, monkeypatch, device
):
    device.share = 0.85

    def interrupted(_request):
        if len(totals) > 1:
            raise KeyboardInterrupt
        return 0.5

    totals: list[tuple[int, int]] = []
    places = {
        "tables_dir": folder / "tables",
        "listener": Listener(training=lambda *counts: totals.append(counts)),
        **THREADS,
    }
    monkeypatch.setattr("nas.search.trial_runner.evaluate_here", made_up(interrupted))
    config = run_config(folder, device=None, budget_ms=0.8, trials=8)
    stopped = search(config, tmp_path / "run", **places)
    assert totals == [(0, 8), (8, 10)] and len(stopped.candidates) == 8
    totals.clear()
    result = resume(tmp_path / "run", **places)
    assert totals[0] == (8, 10) and len(result.candidates) >= 10
    assert len(totals) <= 2  # two rounds, of which one was begun before


def test_trials_that_are_asked_for_anew_are_not_added_to(folder, tmp_path, monkeypatch):
    """Those by which a search was extended, and was interrupted before they were trained."""
    totals: list[tuple[int, int]] = []

    def cut_off(_request):
        if len(totals) > 1:
            raise KeyboardInterrupt
        return 0.5

    def over(networks, *_):
        return [Timing(0.95, 0.5, 1.0, 30) for _ in networks]

    places = {
        "tables_dir": folder / "tables",
        "listener": Listener(training=lambda *counts: totals.append(counts)),
        **THREADS,
    }
    monkeypatch.setattr("nas.search.verification.measure_networks", over)
    monkeypatch.setattr("nas.search.trial_runner.evaluate_here", made_up(cut_off))
    search(run_config(folder, device=None, trials=4), tmp_path / "run", **places)
    assert totals == [(0, 4), (4, 5)]
    totals.clear()
    resume(tmp_path / "run", trials=4, **places)
    assert totals[0] == (4, 4)
