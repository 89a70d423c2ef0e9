"""Traces of the Pareto figure: candidates, intervals, the front, and the preset networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from nas.config import SearchConfig
from nas.models.cost import network_cost
from nas.report.notation import (
    accuracy_text,
    architecture_lines,
    difference_text,
    gmacs_text,
    ms_text,
)
from nas.report.score_wording import longer_text, proxy_data, score_name, score_text, trained_on
from nas.report.wording import (
    budget_text,
    confidence_text,
    latency_text,
    off_front,
    over_budget,
    over_budget_text,
    over_other_budgets_text,
    predicted_text,
    published,
    shown_front,
)
from nas.results.values import SEARCHED, Candidate, DeviceResult, Reference, SearchResult

# Mid-tones: at least 3:1 against white and against near-black, and told apart by shape as well.
TRAINED = "#8a94a6"
FRONT = "#3b82f6"
INTERVAL = "rgba(59,130,246,0.30)"
RECOMMENDED = "#d97706"
BUDGET = "#e5484d"
PRESET = "#8b5cf6"
TEXT = "#76808f"


def candidate_traces(result: SearchResult, device: DeviceResult) -> list[go.Scatter]:
    """Make the traces of all candidates at their latencies on a device, and of the front."""
    best, shown = result.recommended, shown_front(result, device)
    over = [c for c in result.candidates if over_budget(c, device)]
    over_other = [c for c in shown if over_other_budgets_text(c, result, device)]
    off = [c for c in shown if off_front(c, result, device)]
    front = [c for c in shown if c not in over and c not in over_other and c not in off]
    named = {c.number for c in (*front, *off, *over, *over_other)}
    presets = [c for c in result.candidates if c.origin != SEARCHED]
    trained = [c for c in result.candidates if c.number not in named and c.origin == SEARCHED]
    ordinary = [c for c in front if not best or c.number != best.number]
    dots = _Dots(result, device)
    traces = [
        dots.trace(trained, "trained", {"color": TRAINED, "size": 7.5, "opacity": 0.75}),
        *_interval_traces(shown, device, result.config),
        *_front_line(front, device),
        dots.trace(ordinary, "Pareto front", _FRONT_MARKER),
        dots.trace(off, "off the front", _OFF_MARKER),
        dots.trace(over_other, "over budget on another device", _OVER_OTHER_MARKER),
        dots.trace(over, "over budget or too close", {"color": BUDGET, "size": 11, "symbol": "x"}),
        _preset_trace(dots, presets, "published" if published(result) else "preset"),
        _rung_trace(dots, result.partly_trained),
        dots.trace([best] if best else [], "recommended", _RECOMMENDED_MARKER),
    ]
    return [trace for trace in traces if trace.x]


_FRONT_MARKER = {
    "color": FRONT,
    "size": 11,
    "line": {"color": "rgba(255,255,255,0.85)", "width": 1},
}
_OFF_MARKER = {"color": FRONT, "size": 10, "symbol": "circle-open", "line": {"width": 2}}
_OVER_OTHER_MARKER = {"color": BUDGET, "size": 10, "symbol": "x-open", "line": {"width": 1.5}}
_PRESET_MARKER = {"color": PRESET, "size": 15, "symbol": "diamond-open", "line": {"width": 2}}
_RECOMMENDED_MARKER = {
    "color": RECOMMENDED,
    "size": 19,
    "symbol": "star",
    "line": {"color": "rgba(255,255,255,0.9)", "width": 1},
}


class _Dots:
    """Makes traces of candidates, with one dot for each.

    Args:
        result: the search.
        device: the device whose latencies are shown.
    """

    def __init__(self, result: SearchResult, device: DeviceResult) -> None:
        self._result, self._device = result, device

    def trace(
        self, candidates: Sequence[Candidate], name: str, marker: dict[str, Any]
    ) -> go.Scatter:
        """Make the trace of some candidates; ``name`` is its name in the legend."""
        return go.Scatter(
            x=[self._device.latency(c).latency_ms for c in candidates],
            y=[100 * c.score for c in candidates],
            name=name,
            mode="markers",
            marker=marker,
            hovertext=[_candidate_hover(c, self._result, self._device) for c in candidates],
            hoverinfo="text",
            cliponaxis=False,
        )


def _preset_trace(dots: _Dots, presets: Sequence[Candidate], name: str) -> go.Scatter:
    named = dots.trace(presets, name, _PRESET_MARKER)
    named.update(
        mode="markers+text",
        text=[escape(c.origin) for c in presets],
        textposition="bottom center",
        textfont={"color": PRESET, "size": 12},
    )
    return named


def _rung_trace(dots: _Dots, partly_trained: Sequence[Candidate]) -> go.Scatter:
    marker = {"color": TRAINED, "size": 6, "symbol": "circle-open"}
    early = dots.trace(partly_trained, "stopped at a rung", marker)
    # They were trained for less; inside the range they would compress the other scores.
    early.update(visible="legendonly")
    return early


def _front_line(front: Sequence[Candidate], device: DeviceResult) -> list[go.Scatter]:
    """Draw the best score up to each latency: a step at each candidate of the front."""
    if not front:
        return []
    return [
        go.Scatter(
            x=[*(device.latency(c).latency_ms for c in front), device.target.budget_ms],
            y=[*(100 * c.score for c in front), 100 * front[-1].score],
            mode="lines",
            line={"color": FRONT, "width": 2, "shape": "hv"},
            hoverinfo="skip",
            showlegend=False,
        )
    ]


def _interval_traces(
    shown: Sequence[Candidate], device: DeviceResult, config: SearchConfig
) -> list[go.Scatter]:
    """Draw predicted latencies with their intervals, and lines from them to measured latencies."""
    rows = [(100 * c.score, device.latency(c)) for c in shown]
    measured = [(pct, latency) for pct, latency in rows if latency.measured]
    name = f"{confidence_text(config)} interval"
    quiet = {"hoverinfo": "skip", "showlegend": False}
    link = _segments(
        [(latency.predicted.latency_ms, latency.latency_ms, pct) for pct, latency in measured],
        line={"color": FRONT, "width": 2.4, "dash": "dot"},
        opacity=0.75,
        **quiet,
    )
    span = _segments(
        [(latency.predicted.low_ms, latency.predicted.high_ms, pct) for pct, latency in rows],
        name=name,
        legendgroup=name,
        line={"color": INTERVAL, "width": 8},
        hoverinfo="skip",
    )
    tick = go.Scatter(
        x=[latency.predicted.latency_ms for _, latency in rows],
        y=[pct for pct, _ in rows],
        legendgroup=name,
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 9, "color": FRONT, "line": {"width": 2}},
        **quiet,
    )
    return [span, tick, link]


def _segments(segments: Iterable[tuple[float, float, float]], **style: Any) -> go.Scatter:
    """Draw horizontal lines, each given by its first x, its last x and its y."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for start, end, height in segments:
        xs += [start, end, None]
        ys += [height, height, None]
    return go.Scatter(x=xs, y=ys, mode="lines", **style)


def reference_traces(
    result: SearchResult, device: DeviceResult, low_ms: float, high_ms: float
) -> list[go.Scatter]:
    """Make a row for each preset: a diamond at its latency, or an arrow if that is off the axis.

    Args:
        result: the search.
        device: the device whose latencies are shown.
        low_ms, high_ms: ends of the latency axis in ms.
    """
    traces = []
    for row, reference in enumerate(result.references):
        time_ms = reference.predicted[device.index].latency_ms
        inside, faster = low_ms <= time_ms <= high_ms, time_ms < low_ms
        left_half = inside and time_ms < (low_ms + high_ms) / 2
        label = _reference_label(reference, time_ms)
        arrow = "triangle-left" if faster else "triangle-right"
        right = faster or left_half
        traces.append(
            go.Scatter(
                x=[time_ms if inside else float(not faster)],
                y=[row],
                xaxis="x3" if inside else "x2",
                yaxis="y2",
                mode="markers+text",
                marker={"color": PRESET, "size": 10, "symbol": "diamond" if inside else arrow},
                text=[f"  {label}" if right else f"{label}  "],
                textposition="middle right" if right else "middle left",
                textfont={"color": TEXT, "size": 12},
                hovertext=[_reference_hover(reference, result, device)],
                hoverinfo="text",
                cliponaxis=False,
                showlegend=False,
            )
        )
    return traces


def _reference_label(reference: Reference, time_ms: float) -> str:
    label = f"<b>{escape(reference.name)}</b>  {ms_text(time_ms)} ms"
    if reference.imagenet_top1 is None:
        return label
    return f"{label} · {reference.imagenet_top1:.1f}% ImageNet"


def _candidate_hover(candidate: Candidate, result: SearchResult, device: DeviceResult) -> str:
    config, latency = result.config, device.latency(candidate)
    macs, params = candidate.size_at(config.workload)
    kind = "" if candidate.origin == SEARCHED else f", {candidate.origin}"
    trained = trained_on(config)
    if candidate in result.partly_trained:
        trained += f" after {candidate.images:,} images"
    lines = [score_text(candidate, config), trained]
    if candidate.longer:
        lines.append(f"finalist: {longer_text(candidate)}")
    lines.append(latency_text(latency, device, config))
    if latency.measured:
        table = predicted_text(latency.predicted, device, config)
        lines.append(f"{table}, measured {difference_text(latency)}")
    over = over_budget_text(candidate, device)
    if over:
        lines.append(f"{over} of {budget_text(device)}")
    lines += [
        f"{name}: {latency_text(other.latency(candidate), other, config)}"
        for name, other in zip(result.device_names, result.devices, strict=True)
        if other.index != device.index
    ]
    over_other = over_other_budgets_text(candidate, result, device)
    if over_other:
        lines.append(over_other)
    lines.append(f"{gmacs_text(macs)} GMACs, {params:.1f} M parameters")
    return _hover(
        f"{candidate.architecture.id} (trial {candidate.number}{kind})",
        [*lines, *architecture_lines(candidate.architecture)],
    )


def _reference_hover(reference: Reference, result: SearchResult, device: DeviceResult) -> str:
    config = result.config
    cost = network_cost(reference.architecture.blocks(config.workload))
    top1, trained = "no published ImageNet-1k accuracy", "not trained in this run"
    if reference.imagenet_top1 is not None:
        top1 = f"{reference.imagenet_top1:.1f}% ImageNet-1k top-1, published, at 224x224"
    if reference.score is not None:
        score = f"{accuracy_text(reference.score)} {score_name(config)}"
        trained = f"{score} ({proxy_data(config)})"
    lines = [
        top1,
        trained,
        predicted_text(reference.predicted[device.index], device, config),
        f"{gmacs_text(cost.macs / 1e9)} GMACs, {cost.params / 1e6:.1f} M parameters",
    ]
    return _hover(reference.name, [*lines, *architecture_lines(reference.architecture)])


def _hover(title: str, lines: Iterable[str]) -> str:
    return "<br>".join([f"<b>{escape(title)}</b>", *map(escape, lines)])
