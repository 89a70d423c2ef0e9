"""The report page: one HTML file that needs no other files and no internet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from nas.accuracy.fidelity import rung_images
from nas.config import TRAINING
from nas.measurement.protocol import Timing
from nas.models.cost import network_cost
from nas.report.figures import FIGURE_HEIGHT, pareto_figure
from nas.report.notation import (
    accuracy_text,
    difference_text,
    duration_text,
    gmacs_text,
    interval_text,
    ms_text,
    points_text,
    stage_text,
)
from nas.report.page_network import network_section
from nas.report.score_wording import (
    accuracy_rule,
    finalists_rule,
    longer_text,
    proxy_data,
    score_name,
    score_rule,
)
from nas.report.wording import (
    batch_size,
    budget_text,
    call_text,
    calls_text,
    confidence_text,
    estimate_warning,
    headline,
    off_front,
    over_budget_text,
    over_other_budgets_text,
    published,
    references_name,
    shown_front,
    stopped_text,
    trials_text,
    verification_note,
    warning_prefix,
    warnings,
)
from nas.results.values import SEARCHED, Candidate, DeviceResult, Reference, SearchResult
from nas.system.atomic import write_whole

CHART_ID = "pareto"
NBSP = "\N{NO-BREAK SPACE}"

_VERSIONED = ("nextvit-nas", "torch", "optuna", "onnxruntime", "numpy")


def write_report(result: SearchResult, path: Path) -> None:
    """Write the report, whole or not at all.

    Args:
        result: the search, finished or stopped.
        path: the HTML file; its folder exists.

    Raises:
        OSError: the file cannot be written; an earlier report is left as it was.
    """
    write_whole(path, render(result))


def render(result: SearchResult) -> str:
    """Return the report as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(_context(result))


def _context(result: SearchResult) -> dict[str, Any]:
    config = result.config
    return {
        "result": result,
        "config": config,
        "devices": [_device(result, device) for device in result.devices],
        "confidence": confidence_text(config),
        "headline": _unbroken(headline(result)),
        "warnings": warnings(result),
        "calls": calls_text(result),
        "proxy_data": proxy_data(config),
        "trained_by_proxy": config.evaluator == TRAINING,
        "accuracy_rule": accuracy_rule(config),
        "score_name": score_name(config).capitalize(),
        "score_rule": score_rule(config),
        "rungs": " > ".join(
            f"{images:,}" for images in rung_images(config.proxy.train_images, config.rungs)
        ),
        "finalists": finalists_rule(result),
        "trials": trials_text(result),
        "stopped": stopped_text(result),
        "wall_time": duration_text(result.wall_s),
        "best": _best(result),
        "candidates": [_candidate_row(c, result) for c in result.candidates],
        "references_name": references_name(result),
        "published": published(result),
        "references": [_reference_row(r, result) for r in result.references],
        "versions": _versions(),
        "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    }


def _device(result: SearchResult, device: DeviceResult) -> dict[str, Any]:
    """Return the template's values for the section about one device."""
    shown, best = shown_front(result, device), result.recommended
    chart_id = f"{CHART_ID}-{device.index + 1}"
    return {
        "name": result.device_names[device.index],
        "table_name": device.table_name,
        "table_provenance": device.table_provenance,
        "provenance": device.provenance,
        "replace_command": device.replace_command,
        "note": verification_note(result, device),
        "chart": _chart(result, device, chart_id),
        "chart_id": chart_id,
        "warning_prefix": warning_prefix(result, device),
        "estimate_warning": estimate_warning(device),
        "budget": budget_text(device),
        "call": call_text(result.config, device),
        "batch": batch_size(device),
        "front": [_row(c, result, device) for c in shown],
        "inside": _inside_interval(shown, result, device),
        "best": _row(best, result, device) | _usage(best, device) if best else None,
    }


def _chart(result: SearchResult, device: DeviceResult, chart_id: str) -> Markup:
    html: str = pareto_figure(result, device).to_html(
        full_html=False,
        include_plotlyjs=device.index == 0,
        div_id=chart_id,
        default_height=f"{FIGURE_HEIGHT}px",
        config={
            "displaylogo": False,
            "responsive": True,
            # Named one by one: plotly's default has a button that uploads the chart.
            "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
            "plotlyServerURL": "",
        },
    )
    return Markup(html)


def _usage(best: Candidate, device: DeviceResult) -> dict[str, str]:
    """Latency of the recommended network on one device: a call's, an image's, percent of budget."""
    latency_ms = device.latency(best).latency_ms
    return {
        "latency": ms_text(latency_ms),
        "used": f"{100 * latency_ms / device.target.budget_ms:.0f}",
        "per_image": ms_text(latency_ms / batch_size(device)),
    }


def _unbroken(text: str) -> str:
    """Keep numbers and their units on one line, by no-break spaces."""
    return text.replace(" ms", f"{NBSP}ms").replace("(budget ", f"(budget{NBSP}")


def _row(candidate: Candidate, result: SearchResult, device: DeviceResult) -> dict[str, Any]:
    """Return the template's values for a candidate, with its latency on one device."""
    macs, params = candidate.size_at(result.config.workload)
    latency, best = device.latency(candidate), result.recommended
    measured = latency.measured
    return {
        "number": candidate.number,
        "id": candidate.architecture.id,
        "origin": None if candidate.origin == SEARCHED else candidate.origin,
        "best": bool(best and best.number == candidate.number),
        "over": over_budget_text(candidate, device),
        "over_other": over_other_budgets_text(candidate, result, device),
        "off": off_front(candidate, result, device),
        "predicted": ms_text(latency.predicted.latency_ms),
        "interval": interval_text(latency.predicted),
        "measured": ms_text(measured.latency_ms) if measured else None,
        "within": _within_text(measured) if measured else None,
        "runs": measured.runs if measured else None,
        "difference": difference_text(latency),
        "score": accuracy_text(candidate.score),
        "accuracy": accuracy_text(candidate.accuracy),
        "bonus": points_text(candidate.bonus) if score_rule(result.config) else None,
        "longer": longer_text(candidate),
        "gmacs": gmacs_text(macs),
        "mparams": f"{params:.1f}",
        "stem": candidate.architecture.stem_width,
        "stages": [stage_text(stage) for stage in candidate.architecture.stages],
    }


def _within_text(measured: Timing) -> str:
    rough = "" if measured.steady else ": rough, the machine was too busy"
    return f"95% within ±{measured.ci_pct:.1f}%{rough}"


def _inside_interval(
    shown: Sequence[Candidate], result: SearchResult, device: DeviceResult
) -> str | None:
    """Say how many measured latencies lie inside their predicted intervals; None without any."""
    latencies = [device.latency(candidate) for candidate in shown]
    measured = [(one.predicted, one.measured) for one in latencies if one.measured]
    if not measured:
        return None
    inside = sum(p.low_ms <= m.latency_ms <= p.high_ms for p, m in measured)
    confidence = confidence_text(result.config)
    return f"{inside} of {len(measured)} measured latencies lie inside their {confidence} interval."


def _best(result: SearchResult) -> dict[str, Any] | None:
    best = result.recommended
    if best is None:
        return None
    longer = best.converged_longer
    return {
        **_row(best, result, result.devices[0]),
        "longer_score": accuracy_text(longer.score) if longer else None,
        "longer_images": longer.images if longer else None,
        **network_section(result, best),
    }


def _candidate_row(candidate: Candidate, result: SearchResult) -> dict[str, Any]:
    """Return the template's values for a candidate, with its latencies on all devices."""
    rows = [_row(candidate, result, device) for device in result.devices]
    if len(rows) == 1:
        return {**rows[0], "devices": rows}
    over = [name for name, row in zip(result.device_names, rows, strict=True) if row["over"]]
    badges = {
        "over": f"over budget on {' and '.join(over)}" if over else "",
        "over_other": "",
        "off": False,  # every device has a front of its own
    }
    return {**rows[0], **badges, "devices": rows}


def _reference_row(reference: Reference, result: SearchResult) -> dict[str, Any]:
    cost = network_cost(reference.architecture.blocks(result.config.workload))
    top1 = reference.imagenet_top1
    latencies = [(reference.predicted[device.index], device) for device in result.devices]
    return {
        "name": reference.name,
        "devices": [
            {
                "predicted": ms_text(predicted.latency_ms),
                "interval": interval_text(predicted),
                "over": predicted.latency_ms > device.target.budget_ms,
            }
            for predicted, device in latencies
        ],
        "top1": f"{top1:.1f}%" if top1 is not None else None,
        "score": accuracy_text(reference.score) if reference.score is not None else None,
        "gmacs": gmacs_text(cost.macs / 1e9),
        "mparams": f"{cost.params / 1e6:.1f}",
        "stages": [stage_text(stage) for stage in reference.architecture.stages],
    }


def _versions() -> list[tuple[str, str]]:
    """Name and version of Python, and of those packages in `_VERSIONED` that are installed."""
    found = [("Python", python_version())]
    for name in _VERSIONED:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
