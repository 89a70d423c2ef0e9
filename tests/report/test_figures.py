"""The Pareto figure: what it draws, and where."""

from __future__ import annotations

from typing import Any

import pytest

from nas.report.figures import pareto_figure
from nas.report.wording import all_candidates, shown_front
from nas.results.values import SearchResult
from tests.report.endings import CASES, make_result


def _trace(result: SearchResult, name: str) -> Any:
    return next(trace for trace in pareto_figure(result).data if trace.name == name)


def _shown(trace: Any) -> bool:
    return "markers" in trace.mode and trace.yaxis != "y2" and trace.hovertext is not None


def test_every_candidate_is_drawn_and_in_view(result: SearchResult) -> None:
    figure = pareto_figure(result)
    low, high = figure.layout.xaxis.range
    drawn = {
        (x, y)
        for trace in figure.data
        if _shown(trace)
        for x, y in zip(trace.x, trace.y, strict=True)
    }
    for candidate in all_candidates(result):
        assert (candidate.latency_ms, 100 * candidate.score) in drawn
        assert low < candidate.latency_ms < high
    for candidate in shown_front(result):
        assert low < candidate.predicted.low_ms < candidate.predicted.high_ms < high


def test_budget_line_or_arrow(result: SearchResult) -> None:
    figure = pareto_figure(result)
    line = [shape for shape in figure.layout.shapes if shape.type == "line"]
    assert [shape.x0 for shape in line] == [result.config.budget_ms]
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert f"budget {result.config.budget_ms:g} ms" in texts


def test_far_budget_is_an_arrow_at_the_edge() -> None:
    figure = pareto_figure(make_result(budget_ms=500.0, count=3, scale=2.0))
    assert not figure.layout.shapes
    assert figure.layout.xaxis.range[1] < 250
    assert any("500 ms ▸" in annotation.text for annotation in figure.layout.annotations)


def test_far_references_do_not_squash_the_chart() -> None:
    result = make_result(scale=7.2, budget_ms=12.0)
    figure = pareto_figure(result)
    assert figure.layout.xaxis.range[1] < 15
    strip = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert [trace.xaxis for trace in strip] == ["x2"] * 3
    assert "43.5 ms" in strip[0].text[0]
    assert "82.5% ImageNet" in strip[0].text[0]


def test_references_that_fit_lie_at_their_latency_and_are_diamonds() -> None:
    result = CASES["family-fits"]()
    trained = _trace(result, "published")
    assert trained.text == ("nextvit-small",)
    strip = [trace for trace in pareto_figure(result).data if trace.yaxis == "y2"]
    assert strip[0].x == (result.references[0].predicted.latency_ms,)


def test_front_line_steps_through_the_front_to_the_budget() -> None:
    result = make_result()
    line = next(t for t in pareto_figure(result).data if t.line.shape == "hv")
    assert line.x == (*(c.latency_ms for c in result.front), result.config.budget_ms)
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
    assert min(over.x) > result.config.budget_ms
    assert "measured over the budget of 12 ms" in over.hovertext[0]
    off = set(_trace(result, "off the front").x)
    assert off.isdisjoint(c.latency_ms for c in result.front)
