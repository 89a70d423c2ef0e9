"""The Pareto figure: what it draws, and where."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import pytest

from nas.report.figures import pareto_figure
from nas.report.wording import shown_front
from nas.results.values import DeviceResult, SearchResult
from tests.report.endings import CASES
from tests.report.makers import make_result


def _figures(result: SearchResult) -> list[tuple[DeviceResult, go.Figure]]:
    return [(device, pareto_figure(result, device)) for device in result.devices]


def _first_figure(result: SearchResult) -> go.Figure:
    return pareto_figure(result, result.devices[0])


def _trace(result: SearchResult, name: str) -> Any:
    return next(trace for trace in _first_figure(result).data if trace.name == name)


def _shown(trace: Any) -> bool:
    return "markers" in trace.mode and trace.yaxis != "y2" and trace.hovertext is not None


def test_every_candidate_is_drawn_and_in_view(result: SearchResult) -> None:
    for device, figure in _figures(result):
        low, high = figure.layout.xaxis.range
        drawn = {
            (x, y)
            for trace in figure.data
            if _shown(trace)
            for x, y in zip(trace.x, trace.y, strict=True)
        }
        for candidate in result.candidates:
            latency_ms = device.latency(candidate).latency_ms
            assert (latency_ms, 100 * candidate.score) in drawn
            assert low < latency_ms < high
        for candidate in shown_front(result, device):
            predicted = device.latency(candidate).predicted
            assert low < predicted.low_ms < predicted.high_ms < high


def test_budget_line_or_arrow(result: SearchResult) -> None:
    for device, figure in _figures(result):
        line = [shape for shape in figure.layout.shapes if shape.type == "line"]
        assert [shape.x0 for shape in line] == [device.target.budget_ms]
        texts = [annotation.text for annotation in figure.layout.annotations]
        assert f"budget {device.target.budget_ms:g} ms" in texts


def test_far_budget_is_an_arrow_at_the_edge() -> None:
    figure = _first_figure(make_result(budget_ms=500.0, count=3, scale=2.0))
    assert not figure.layout.shapes
    assert figure.layout.xaxis.range[1] < 250
    assert any("500 ms ▸" in annotation.text for annotation in figure.layout.annotations)


def test_far_references_do_not_squash_the_chart() -> None:
    result = make_result(scale=7.2, budget_ms=12.0)
    figure = _first_figure(result)
    assert figure.layout.xaxis.range[1] < 15
    strip = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert [trace.xaxis for trace in strip] == ["x2"] * 3
    assert "43.5 ms" in strip[0].text[0]
    assert "82.5% ImageNet" in strip[0].text[0]


def test_references_that_fit_lie_at_their_latency_and_are_diamonds() -> None:
    result = CASES["family-fits"]()
    trained = _trace(result, "published")
    assert trained.text == ("nextvit-small",)
    strip = [trace for trace in _first_figure(result).data if trace.yaxis == "y2"]
    assert strip[0].x == (result.references[0].predicted[0].latency_ms,)


def test_front_line_steps_through_the_front_to_the_budget() -> None:
    result = make_result()
    line = next(t for t in _first_figure(result).data if t.line.shape == "hv")
    (device,) = result.devices
    times = [device.latency(c).latency_ms for c in device.front]
    assert line.x == (*times, device.target.budget_ms)
    assert list(line.y) == sorted(line.y)


@pytest.mark.parametrize("kind", ["verified", "predicted", "estimated"])
def test_hover_names_network_and_provenance(kind: str) -> None:
    result = make_result(kind=kind)
    text = _trace(result, "recommended").hovertext[0]
    best = result.recommended
    assert best
    assert best.architecture.id in text
    assert "S4: (NCB" in text
    assert "GMACs" in text
    assert f"{100 * best.accuracy:.1f}% accuracy" in text
    assert "proxy score" in text and "on digits at 32x32" in text
    assert ("(95% within ±0.5%, 60 runs)" in text) == (kind == "verified")
    assert ("ms estimated" if kind == "estimated" else "ms predicted") in text


def test_off_budget_and_dominated_are_kept_apart_from_the_front() -> None:
    result = CASES["some-over-budget"]()
    over = _trace(result, "over budget or too close")
    assert min(over.x) > result.devices[0].target.budget_ms
    assert "measured over the budget of 12 ms" in over.hovertext[0]
    off = set(_trace(result, "off the front").x)
    assert off.isdisjoint(c.latencies[0].latency_ms for c in result.devices[0].front)


def test_presets_without_published_accuracy_have_latency_alone() -> None:
    result = CASES["unpublished-presets"]()
    figure = _first_figure(result)
    strip = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert len(strip) == 3
    assert all("ImageNet" not in trace.text[0] and " ms" in trace.text[0] for trace in strip)
    assert "no published ImageNet-1k accuracy" in strip[0].hovertext[0]
    assert _trace(result, "preset").text == ("nextvit-small",)
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert "Preset networks, predicted latency" in texts


def test_what_another_device_is_too_slow_for_is_kept_apart_from_the_front() -> None:
    result = CASES["over-another-budget"]()
    over = _trace(result, "over budget on another device")
    assert max(over.x) <= result.devices[0].target.budget_ms
    assert "over budget on openvino" in over.hovertext[0]
    assert "openvino: " in over.hovertext[0]
    assert "off the front" not in over.hovertext[0]
