"""The Pareto figure: proxy accuracy over latency, the budget, the published family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from nas.config import SearchConfig
from nas.models.cost import network_cost
from nas.report.wording import (
    accuracy_text,
    all_candidates,
    architecture_lines,
    batch_size,
    budget_text,
    confidence_text,
    difference_text,
    final_text,
    gmacs_text,
    latency_text,
    ms_text,
    off_front,
    over_budget,
    over_budget_text,
    presets_name,
    proxy_data,
    proxy_name,
    score_name,
    score_text,
    shown_front,
    table_latency_text,
    top1_text,
)
from nas.results.values import SEARCHED, Candidate, Reference, SearchResult
from nas.space.architecture import Architecture

# Mid-tones: at least 3:1 against white and against near-black, and told apart by shape as well.
TRAINED = "#8a94a6"
FRONT = "#3b82f6"
INTERVAL = "rgba(59,130,246,0.30)"
RECOMMENDED = "#d97706"
BUDGET = "#e5484d"
PUBLISHED = "#8b5cf6"
TEXT = "#76808f"
FONT = "system-ui, 'Segoe UI', sans-serif"
GRID = "rgba(128,138,155,0.22)"

FIGURE_HEIGHT = 600
"""Pixels."""

STRIP_SHARE = 0.055
"""Height of one row of the published family, as a share of the plotting area."""

AXIS_SHARE = 0.165
"""Room between the chart and that strip, for the latency axis and the strip's title."""


@dataclass(frozen=True)
class _Ranges:
    """What the axes show: milliseconds and percent."""

    low_ms: float
    high_ms: float
    low_pct: float
    high_pct: float


def pareto_figure(result: SearchResult) -> go.Figure:
    """Every trained candidate, the front, the recommendation, the budget and the family.

    x is the latency of one call in ms, measured where it was measured; y is the proxy
    score in percent. The published family has a strip of its own below, on the same latency axis:
    a network far beyond it is an arrow at the edge, so that it cannot squash the chart.
    """
    candidates = all_candidates(result)
    ranges = _ranges(result, candidates)
    strip = len(result.references) * STRIP_SHARE
    figure = go.Figure(layout=_layout(result, ranges, strip))
    figure.add_traces(_candidate_traces(result, candidates))
    _add_budget(figure, result, ranges)
    if result.references:
        figure.add_traces(_family_traces(result, ranges))
        figure.add_annotation(
            text=f"Published Next-ViT family, {result.provenance} latency",
            **_note(x=0, y=strip + 0.005, xanchor="left", yanchor="bottom"),
        )
    if not candidates:
        middle = (1 + strip) / 2
        figure.add_annotation(
            text="No candidate was trained in full", **_note(x=0.4, y=middle, size=15)
        )
    return figure


def _ranges(result: SearchResult, candidates: Sequence[Candidate]) -> _Ranges:
    budget = result.config.budget_ms
    if not candidates:
        return _Ranges(0.0, 1.25 * budget, 0.0, 100.0)
    times = [c.latency_ms for c in candidates]
    times += [c.predicted.latency_ms for c in candidates]
    for candidate in shown_front(result):
        times += [candidate.predicted.low_ms, candidate.predicted.high_ms]
    longest = max(times)
    # A budget far above every candidate would leave most of the chart empty.
    shown_budget = budget if budget <= 2.5 * longest else longest
    low, high = min([*times, shown_budget]), max(longest, shown_budget)
    pad = 0.07 * (high - low) or 0.2 * high
    scores = [100 * c.score for c in candidates]
    margin = max(0.09 * (max(scores) - min(scores)), 0.6)
    return _Ranges(
        max(0.0, low - pad), high + 1.4 * pad, min(scores) - margin, max(scores) + margin
    )


def _layout(result: SearchResult, ranges: _Ranges, strip: float) -> go.Layout:
    batch, count = batch_size(result), len(result.references)
    call = "one image" if batch == 1 else f"a batch of {batch}"
    grid = {"gridcolor": GRID, "zeroline": False, "showline": False, "ticks": ""}
    side = {"visible": False, "fixedrange": True}
    return go.Layout(
        template="none",
        height=FIGURE_HEIGHT,
        margin={"l": 58, "r": 22, "t": 78, "b": 58 if not count else 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": TEXT, "size": 12.5, "family": FONT},
        hovermode="closest",
        hoverlabel={
            "bgcolor": "#1b2230",
            "bordercolor": "#3a4356",
            "font": {"color": "#f3f5f9", "size": 12.5, "family": FONT},
            "align": "left",
        },
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.045,
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
        },
        xaxis={
            **grid,
            "title": {"text": f"Latency of {call} (ms)", "standoff": 8},
            "range": [ranges.low_ms, ranges.high_ms],
        },
        yaxis={
            **grid,
            "title": {"text": _score_axis(result.config)},
            "range": [ranges.low_pct, ranges.high_pct],
            "domain": [strip + AXIS_SHARE if count else 0, 1],
        },
        # Arrows at the edge stay there when the latency axis is zoomed.
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": TEXT, "activecolor": FRONT},
        xaxis2={**side, "overlaying": "x", "range": [0, 1], "anchor": "y2"},
        xaxis3={"visible": False, "overlaying": "x", "matches": "x", "anchor": "y2"},
        yaxis2={**side, "domain": [0, strip], "range": [count - 0.4, -0.6]},
    )


def _note(x: float, y: float, size: float = 12, **more: Any) -> dict[str, Any]:
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "showarrow": False}
    return {**place, "font": {"size": size, "color": TEXT}, **more}


def _add_budget(figure: go.Figure, result: SearchResult, ranges: _Ranges) -> None:
    budget = result.config.budget_ms
    note = _note(0, 1.005, size=12.5, yanchor="bottom")
    note["font"] = {"size": 12.5, "color": BUDGET}
    if budget > ranges.high_ms:
        figure.add_annotation(
            text=f"budget {budget_text(result.config)} ▸", **{**note, "x": 1, "xanchor": "right"}
        )
        return
    line = {"color": BUDGET, "width": 1.6, "dash": "dash"}
    vertical = {"yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    figure.add_shape(
        type="line", x0=budget, x1=budget, line=line, **{**vertical, "yref": "y domain"}
    )
    figure.add_shape(
        type="rect",
        x0=budget,
        x1=max(20 * budget, 2 * ranges.high_ms),
        fillcolor=BUDGET,
        opacity=0.07,
        line_width=0,
        **vertical,
    )
    right = budget > (ranges.low_ms + ranges.high_ms) / 2
    anchor = {"x": budget, "xref": "x", "xanchor": "right" if right else "left"}
    figure.add_annotation(text=f"budget {budget_text(result.config)}", **{**note, **anchor})


def _candidate_traces(result: SearchResult, candidates: Sequence[Candidate]) -> list[go.Scatter]:
    config, best = result.config, result.recommended
    shown = shown_front(result)
    over = [c for c in candidates if over_budget(c, config)]
    off = [c for c in shown if off_front(c, result)]
    front = [c for c in shown if c not in over and c not in off]
    taken = {c.number for c in (*front, *off, *over)}
    published = [c for c in candidates if c.origin != SEARCHED]
    trained = [c for c in candidates if c.number not in taken and c.origin == SEARCHED]
    trained_marker = {"color": TRAINED, "size": 7.5, "opacity": 0.75}
    traces = [_dots(result, trained, "trained", trained_marker)]
    traces += _interval_traces(result, shown)
    traces += _front_line(result, front)
    ordinary = [c for c in front if not best or c.number != best.number]
    marker = {"color": FRONT, "size": 11, "line": {"color": "rgba(255,255,255,0.85)", "width": 1}}
    traces.append(_dots(result, ordinary, "Pareto front", marker))
    hollow = {"color": FRONT, "size": 10, "symbol": "circle-open", "line": {"width": 2}}
    traces.append(_dots(result, off, "off the front", hollow))
    failed = {"color": BUDGET, "size": 11, "symbol": "x"}
    traces.append(_dots(result, over, "over budget or too close", failed))
    diamond = {"color": PUBLISHED, "size": 15, "symbol": "diamond-open", "line": {"width": 2}}
    named = _dots(result, published, presets_name(result), diamond)
    named.update(
        mode="markers+text",
        text=[escape(c.origin) for c in published],
        textposition="bottom center",
        textfont={"color": PUBLISHED, "size": 12},
    )
    traces.append(named)
    partly = {"color": TRAINED, "size": 6, "symbol": "circle-open"}
    early = _dots(result, result.partly_trained, "stopped at a rung", partly)
    early.update(visible="legendonly")  # trained for less, they would press the others together
    traces.append(early)
    star = {"color": RECOMMENDED, "size": 19, "symbol": "star"}
    star["line"] = {"color": "rgba(255,255,255,0.9)", "width": 1}
    traces.append(_dots(result, [best] if best else [], "recommended", star))
    return [trace for trace in traces if trace.x]


def _dots(
    result: SearchResult, candidates: Sequence[Candidate], name: str, marker: dict[str, Any]
) -> go.Scatter:
    return go.Scatter(
        x=[c.latency_ms for c in candidates],
        y=[100 * c.score for c in candidates],
        name=name,
        mode="markers",
        marker=marker,
        hovertext=[_candidate_hover(c, result) for c in candidates],
        hoverinfo="text",
        cliponaxis=False,
    )


def _front_line(result: SearchResult, front: Sequence[Candidate]) -> list[go.Scatter]:
    """The best score to be had at each latency: a step up at each front candidate."""
    if not front:
        return []
    return [
        go.Scatter(
            x=[*(c.latency_ms for c in front), result.config.budget_ms],
            y=[*(100 * c.score for c in front), 100 * front[-1].score],
            mode="lines",
            line={"color": FRONT, "width": 2, "shape": "hv"},
            hoverinfo="skip",
            showlegend=False,
        )
    ]


def _interval_traces(result: SearchResult, shown: Sequence[Candidate]) -> list[go.Scatter]:
    """The table's latency and its interval of the front, tied to where it was measured."""
    moved = [c for c in shown if c.measured]
    links_ms: list[float | None] = []
    links_pct: list[float | None] = []
    for candidate in moved:
        links_ms += [candidate.predicted.latency_ms, candidate.latency_ms, None]
        links_pct += [100 * candidate.score, 100 * candidate.score, None]
    link = go.Scatter(
        x=links_ms,
        y=links_pct,
        mode="lines",
        line={"color": FRONT, "width": 2.4, "dash": "dot"},
        opacity=0.75,
        hoverinfo="skip",
        showlegend=False,
    )
    spans_ms: list[float | None] = []
    spans_pct: list[float | None] = []
    for candidate in shown:
        spans_ms += [candidate.predicted.low_ms, candidate.predicted.high_ms, None]
        spans_pct += [100 * candidate.score, 100 * candidate.score, None]
    name = f"{confidence_text(result.config)} interval"
    span = go.Scatter(
        x=spans_ms,
        y=spans_pct,
        name=name,
        legendgroup=name,
        mode="lines",
        line={"color": INTERVAL, "width": 8},
        hoverinfo="skip",
    )
    tick = go.Scatter(
        x=[c.predicted.latency_ms for c in shown],
        y=[100 * c.score for c in shown],
        legendgroup=name,
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 9, "color": FRONT, "line": {"width": 2}},
        hoverinfo="skip",
        showlegend=False,
    )
    return [span, tick, link]


def _family_traces(result: SearchResult, ranges: _Ranges) -> list[go.Scatter]:
    """A row for each published network: a diamond where it lies, an arrow where it is off."""
    traces = []
    middle = (ranges.low_ms + ranges.high_ms) / 2
    for row, reference in enumerate(result.references):
        time_ms = reference.predicted.latency_ms
        inside = ranges.low_ms <= time_ms <= ranges.high_ms
        faster = time_ms < ranges.low_ms
        side = "right" if faster or (inside and time_ms < middle) else "left"
        arrow = "triangle-left" if faster else "triangle-right"
        name = escape(reference.name)
        label = f"<b>{name}</b>  {ms_text(time_ms)} ms"
        label += f" · {top1} ImageNet" if (top1 := top1_text(reference)) else ""
        traces.append(
            go.Scatter(
                x=[time_ms if inside else float(not faster)],
                y=[row],
                xaxis="x3" if inside else "x2",
                yaxis="y2",
                mode="markers+text",
                marker={
                    "color": PUBLISHED,
                    "size": 10,
                    "symbol": "diamond" if inside else arrow,
                },
                text=[f"{label}  " if side == "left" else f"  {label}"],
                textposition=f"middle {side}",
                textfont={"color": TEXT, "size": 12},
                hovertext=[_reference_hover(reference, result)],
                hoverinfo="text",
                cliponaxis=False,
                showlegend=False,
            )
        )
    return traces


def _candidate_hover(candidate: Candidate, result: SearchResult) -> str:
    macs, params = candidate.cost_at(result.config)
    kind = "" if candidate.origin == SEARCHED else f", {candidate.origin}"
    trained = f"on {proxy_data(result.config)}"
    if candidate in result.partly_trained:
        trained += f" after {candidate.images:,} images"
    lines = [score_text(candidate, result.config), trained]
    if candidate.final:
        lines.append(f"finalist: {final_text(candidate)}")
    lines.append(latency_text(candidate, result))
    if candidate.measured:
        table = table_latency_text(candidate.predicted, result)
        lines.append(f"{table}, measured {difference_text(candidate)}")
    over = over_budget_text(candidate, result.config)
    if over:
        lines.append(f"{over} of {budget_text(result.config)}")
    lines.append(f"{gmacs_text(macs)} GMACs, {params:.1f} M parameters")
    return _hover(
        f"{candidate.architecture.id} (trial {candidate.number}{kind})",
        [*lines, *architecture_lines(candidate.architecture)],
    )


def _reference_hover(reference: Reference, result: SearchResult) -> str:
    macs, params = _cost(reference.architecture, result)
    trained = (
        f"{accuracy_text(reference.score)} {score_name(result.config)} "
        f"({proxy_data(result.config)})"
        if reference.score is not None
        else "not trained in this run"
    )
    top1 = top1_text(reference)
    lines = [
        *([f"{top1} ImageNet-1k top-1, published, at 224x224"] if top1 else []),
        trained,
        table_latency_text(reference.predicted, result),
        f"{gmacs_text(macs)} GMACs, {params:.1f} M parameters",
    ]
    return _hover(reference.name, [*lines, *architecture_lines(reference.architecture)])


def _cost(architecture: Architecture, result: SearchResult) -> tuple[float, float]:
    config = result.config
    cost = network_cost(architecture.blocks(config.workload))
    return cost.macs / 1e9, cost.params / 1e6


def _score_axis(config: SearchConfig) -> str:
    return f"{score_name(config).capitalize()}, {escape(proxy_name(config))} (%)"


def _hover(title: str, lines: Iterable[str]) -> str:
    return "<br>".join([f"<b>{escape(title)}</b>", *map(escape, lines)])
