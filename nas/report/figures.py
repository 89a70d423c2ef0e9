"""The Pareto figure: scores against latencies on one device, its budget, and the presets."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from nas.config import SearchConfig
from nas.report.figure_traces import BUDGET, FRONT, TEXT, candidate_traces, reference_traces
from nas.report.score_wording import proxy_name, score_name
from nas.report.wording import batch_size, budget_text, references_name, shown_front
from nas.results.values import DeviceResult, SearchResult

FONT = "system-ui, 'Segoe UI', sans-serif"
GRID = "rgba(128,138,155,0.22)"

FIGURE_HEIGHT = 600
"""Height of the figure in pixels."""

STRIP_SHARE = 0.055
"""Height of a preset's row below the chart, as a share of the plotting area."""

AXIS_SHARE = 0.165
"""Height between the chart and the rows of presets, for the latency axis and its title, as a share
of the plotting area."""


@dataclass(frozen=True)
class _Ranges:
    """Ranges of the axes, in milliseconds and percent."""

    low_ms: float
    high_ms: float
    low_pct: float
    high_pct: float


def pareto_figure(result: SearchResult, device: DeviceResult) -> go.Figure:
    """Plot every trained candidate, the front, the recommendation, the budget and the presets.

    x is the latency of one call on the device in ms: the measured one if there is one, else the
    predicted one. y is the score in percent. The presets have rows of their own below, on the same
    latency axis. A preset outside the axis is an arrow at its edge, so that the chart keeps its
    scale.
    """
    ranges = _ranges(result, device)
    strip = len(result.references) * STRIP_SHARE
    figure = go.Figure(layout=_layout(result, device, ranges, strip))
    figure.add_traces(candidate_traces(result, device))
    _add_budget(figure, device, ranges)
    if result.references:
        figure.add_traces(reference_traces(result, device, ranges.low_ms, ranges.high_ms))
        figure.add_annotation(
            text=f"{references_name(result)}, {device.provenance} latency",
            **_note(x=0, y=strip + 0.005, xanchor="left", yanchor="bottom"),
        )
    if not result.candidates:
        middle = (1 + strip) / 2
        figure.add_annotation(
            text="No candidate was trained in full", **_note(x=0.4, y=middle, size=15)
        )
    return figure


def _ranges(result: SearchResult, device: DeviceResult) -> _Ranges:
    budget = device.target.budget_ms
    if not result.candidates:
        return _Ranges(0.0, 1.25 * budget, 0.0, 100.0)
    latencies = [device.latency(c) for c in result.candidates]
    times = [latency.latency_ms for latency in latencies]
    times += [latency.predicted.latency_ms for latency in latencies]
    for candidate in shown_front(result, device):
        predicted = device.latency(candidate).predicted
        times += [predicted.low_ms, predicted.high_ms]
    longest = max(times)
    # A budget far above every candidate would leave most of the chart empty.
    shown_budget = budget if budget <= 2.5 * longest else longest
    low, high = min([*times, shown_budget]), max(longest, shown_budget)
    pad = 0.07 * (high - low) or 0.2 * high
    scores = [100 * c.score for c in result.candidates]
    margin = max(0.09 * (max(scores) - min(scores)), 0.6)
    return _Ranges(
        max(0.0, low - pad), high + 1.4 * pad, min(scores) - margin, max(scores) + margin
    )


def _layout(result: SearchResult, device: DeviceResult, ranges: _Ranges, strip: float) -> go.Layout:
    count = len(result.references)
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
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": TEXT, "activecolor": FRONT},
        **_axes(result, device, ranges, strip),
    )


def _axes(
    result: SearchResult, device: DeviceResult, ranges: _Ranges, strip: float
) -> dict[str, Any]:
    batch, count = batch_size(device), len(result.references)
    call = "one image" if batch == 1 else f"a batch of {batch}"
    grid = {"gridcolor": GRID, "zeroline": False, "showline": False, "ticks": ""}
    side = {"visible": False, "fixedrange": True}
    return {
        "xaxis": {
            **grid,
            "title": {"text": f"Latency of {call} (ms)", "standoff": 8},
            "range": [ranges.low_ms, ranges.high_ms],
        },
        "yaxis": {
            **grid,
            "title": {"text": _score_axis(result.config)},
            "range": [ranges.low_pct, ranges.high_pct],
            "domain": [strip + AXIS_SHARE if count else 0, 1],
        },
        # Arrows at the edge stay there when the latency axis is zoomed.
        "xaxis2": {**side, "overlaying": "x", "range": [0, 1], "anchor": "y2"},
        "xaxis3": {"visible": False, "overlaying": "x", "matches": "x", "anchor": "y2"},
        "yaxis2": {**side, "domain": [0, strip], "range": [count - 0.4, -0.6]},
    }


def _note(x: float, y: float, size: float = 12, **more: Any) -> dict[str, Any]:
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "showarrow": False}
    return {**place, "font": {"size": size, "color": TEXT}, **more}


def _add_budget(figure: go.Figure, device: DeviceResult, ranges: _Ranges) -> None:
    budget = device.target.budget_ms
    note = _note(0, 1.005, size=12.5, yanchor="bottom")
    note["font"] = {"size": 12.5, "color": BUDGET}
    if budget > ranges.high_ms:
        figure.add_annotation(
            text=f"budget {budget_text(device)} ▸", **{**note, "x": 1, "xanchor": "right"}
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
    figure.add_annotation(text=f"budget {budget_text(device)}", **{**note, **anchor})


def _score_axis(config: SearchConfig) -> str:
    return f"{score_name(config).capitalize()}, {escape(proxy_name(config))} (%)"
