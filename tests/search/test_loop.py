"""The network to recommend is measured twice, and the search acts on the second measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from nas.api import resume, search
from nas.errors import RuntimeUnavailableError
from nas.measurement.protocol import Timing
from nas.report.wording import warnings
from nas.results.values import StopReason
from nas.search.loop import SearchLoop
from nas.space.architecture import Architecture
from tests.search.runs import THREADS, Device, made_up, measured_of, note_of, run_config
from tests.tiny import AT_64

Measuring = Callable[[int, Sequence[Architecture], list[Timing]], list[Timing]]
"""Gives the timings of a measurement from its number, the networks and the expected timings."""


@pytest.fixture
def places(folder):
    return {"tables_dir": folder / "tables", **THREADS}


@pytest.fixture
def faster(monkeypatch, folder) -> Callable[[float], None]:
    """Has training find networks the more accurate, the faster they are, by so much a ms; until
    that is asked for, the slower they are."""
    predictor = Device(folder / "tables").predictor

    def better_by(per_ms: float) -> None:
        def score(request):
            found = predictor.predict([request.architecture], AT_64)
            return 0.5 - per_ms * float(found.latency_ms[0])

        monkeypatch.setattr("nas.search.trial_runner.evaluate_here", made_up(score))

    better_by(-0.1)
    return better_by


@pytest.fixture
def measured(monkeypatch, device: Device, faster):
    """Has what is measured changed; returns the networks of each measuring, a list that grows."""

    def changed(measuring: Measuring) -> list[list[str]]:
        seen: list[list[str]] = []

        def measure(networks, *_):
            seen.append([network.id for network in networks])
            expected = device.measure(networks, None, AT_64, None)
            return measuring(len(seen), networks, expected)

        monkeypatch.setattr("nas.search.verification.measure_networks", measure)
        return seen

    return changed


def test_what_is_recommended_was_measured_twice(folder, tmp_path, device, places, measured):
    """The first is over the budget when it is measured once more."""

    def slower_alone(place, networks, expected):
        return [replace(expected[0], latency_ms=0.88)] if place == 2 else expected

    seen = measured(slower_alone)
    config = run_config(folder, device=None, budget_ms=0.8, trials=8)
    result = search(config, tmp_path / "run", **places)
    by_id = {c.architecture.id: c for c in result.candidates}
    (lost,), (best,) = seen[1], seen[-1]
    assert lost != best and result.recommended == by_id[best]
    assert measured_of(by_id[best]).runs == 60
    assert by_id[lost].latencies[0].high_ms > 0.8
    assert by_id[lost] not in result.devices[0].front
    assert all(c.measured for c in result.devices[0].front)  # also what took its place
    once_ms = device.measure([by_id[lost].architecture], None, AT_64, None)[0].latency_ms
    assert measured_of(by_id[lost]).latency_ms == pytest.approx((once_ms * 0.88) ** 0.5)
    calls = len(seen)
    again = resume(tmp_path / "run", **places)
    assert len(seen) == calls and again.recommended == result.recommended


@pytest.mark.parametrize("stays", [False, True], ids=["once", "twice"])
def test_a_disturbed_measurement_is_done_again(folder, tmp_path, device, places, measured, stays):
    """A disturbed measurement does not lose a candidate; the more certain measurement counts."""

    def disturbed(place, networks, expected):
        if place == 2:
            return [replace(expected[0], latency_ms=0.88, ci_pct=13.0)]
        if place == 3 and stays:
            return [replace(expected[0], latency_ms=5.0, ci_pct=80.0)]
        return expected

    seen = measured(disturbed)
    config = run_config(folder, device=None, budget_ms=0.8, trials=8)
    result = search(config, tmp_path / "run", **places)
    by_id = {c.architecture.id: c for c in result.candidates}
    (first,), (once_more,) = seen[1], seen[2]
    assert first == once_more
    assert (result.recommended == by_id[first]) is not stays
    once_ms = device.measure([by_id[first].architecture], None, AT_64, None)[0].latency_ms
    expected_ms = (once_ms * 0.88) ** 0.5 if stays else once_ms
    assert measured_of(by_id[first]).latency_ms == pytest.approx(expected_ms)


def test_ctrl_c_before_it_was_measured_twice(folder, tmp_path, places, measured):
    def cut_off(place, networks, expected):
        if place == 2:
            raise KeyboardInterrupt
        return expected

    seen = measured(cut_off)
    config = run_config(folder, device=None, budget_ms=0.8, trials=8)
    stopped = search(config, tmp_path / "run", **places)
    assert stopped.stopped is StopReason.INTERRUPTED
    assert stopped.devices[0].verified and measured_of(stopped.recommended).runs == 30
    result = resume(tmp_path / "run", **places)
    assert result.stopped is None and measured_of(result.recommended).runs == 60
    assert len(seen[1]) == 1 and seen[1] == seen[2]


def test_where_nothing_is_left_the_search_goes_on(folder, tmp_path, places, measured):
    def slower_again(place, networks, expected):
        return [replace(expected[0], latency_ms=0.95)] if place == 2 else expected

    seen = measured(slower_again)
    config = run_config(folder, device=None, budget_ms=0.8, trials=1)
    result = search(config, tmp_path / "run", **places)
    lost = result.candidates[0]
    assert seen[:2] == [[lost.architecture.id]] * 2 and measured_of(lost).latency_ms > 0.8
    assert len(result.candidates) > 1
    assert result.recommended != lost and measured_of(result.recommended).runs == 60


def test_a_runtime_that_fails_the_second_time(folder, tmp_path, places, measured):
    def fails_again(place, networks, expected):
        if place == 2:
            raise RuntimeUnavailableError("onnxruntime is out of memory")
        return expected

    seen = measured(fails_again)
    config = run_config(folder, device=None, budget_ms=0.8, trials=8)
    result = search(config, tmp_path / "run", **places)
    assert len(seen) == 2 and measured_of(result.recommended).runs == 30
    assert "not verified: onnxruntime is out of memory" in note_of(result)
    again = resume(tmp_path / "run", **places)
    assert again.devices[0].verified and measured_of(again.recommended).runs == 60


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (RuntimeUnavailableError("onnxruntime is out of memory"), "onnxruntime is out of memory"),
        (KeyboardInterrupt(), "measuring the front was interrupted; go on with --resume"),
    ],
)
def test_what_takes_its_place_cannot_be_measured(
    folder, tmp_path, places, measured, faster, error, note
):
    """The most accurate is the fastest, until it is measured once more: no other was measured."""
    faster(0.1)

    def slower_then_nothing(place, networks, expected):
        if place == 2:
            too_close_ms = 0.615**2 / expected[0].latency_ms  # the mean of both is 0.615 ms
            return [replace(expected[0], latency_ms=too_close_ms)]
        if place == 3:
            raise error
        return expected

    seen = measured(slower_then_nothing)
    config = run_config(folder, device=None, budget_ms=0.62, trials=4, size_bonus=0.0)
    result = search(config, tmp_path / "run", **places)
    assert seen[0] == seen[1] and len(seen[0]) == 1 and len(seen) == 3
    assert not result.devices[0].verified and note in note_of(result)
    assert result.recommended.architecture.id not in seen[0]
    again = resume(tmp_path / "run", **places)
    assert again.devices[0].verified and measured_of(again.recommended).runs == 60


def test_what_comes_onto_the_front_beside_it_is_measured(
    folder, tmp_path, places, measured, faster
):
    faster(0.1)

    def slower_again(place, networks, expected):
        return [replace(expected[0], latency_ms=0.8)] if place == 2 else expected

    seen = measured(slower_again)
    config = run_config(folder, device=None, trials=6, size_bonus=0.0)
    result = search(config, tmp_path / "run", **places)
    assert seen[0] == seen[1] == [result.recommended.architecture.id]
    assert len(result.devices[0].front) > 1 and all(c.measured for c in result.devices[0].front)


def test_finalists_that_could_not_be_trained_are_not_tried_again(
    folder, tmp_path, monkeypatch, places, measured
):
    tried = []

    def died(_loop):
        tried.append(1)
        return StopReason.WORKERS_DIED

    monkeypatch.setattr(SearchLoop, "_train_finalists", died)
    seen = measured(
        lambda place, networks, expected: (
            [replace(expected[0], latency_ms=0.88)] if place == 2 else expected
        )
    )
    config = run_config(folder, device=None, budget_ms=0.8, trials=8, finalists=3)
    result = search(config, tmp_path / "run", **places)
    assert len(seen) > 2 and len(tried) == 1
    assert result.unfinished_finalists.reason is StopReason.WORKERS_DIED
    assert "a training process died" in " ".join(warnings(result))
