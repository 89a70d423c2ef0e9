"""The report page: one HTML file that needs nothing else, neither files nor a network."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from pathlib import Path
from platform import python_version
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from nas.config import SearchConfig
from nas.models.cost import network_cost
from nas.report.figures import FIGURE_HEIGHT, pareto_figure
from nas.report.wording import (
    accuracy_text,
    all_candidates,
    batch_size,
    budget_text,
    call_text,
    confidence_text,
    difference_text,
    duration_text,
    estimate_warning,
    final_text,
    finalists_rule,
    gmacs_text,
    headline,
    interval_text,
    ms_text,
    off_front,
    over_budget_text,
    points_text,
    presets_name,
    proxy_data,
    score_name,
    score_rule,
    shown_front,
    stage_text,
    top1_text,
    trials_text,
    warnings,
)
from nas.results.values import SEARCHED, Candidate, SearchResult
from nas.search.rungs import rung_images
from nas.space.architecture import Architecture, Stage
from nas.space.block import Block
from nas.space.block_kinds import kind_of

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
    text = render(result)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:  # an interrupt must not leave it behind either
        temporary.unlink(missing_ok=True)
        raise


def render(result: SearchResult) -> str:
    """The report as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(_context(result))


def _chart(result: SearchResult, chart_id: str, first: bool) -> Markup:
    html: str = pareto_figure(result).to_html(
        full_html=False,
        include_plotlyjs=first,
        div_id=chart_id,
        default_height=f"{FIGURE_HEIGHT}px",
        config={
            "displaylogo": False,
            "responsive": True,
            # Named one by one: plotly's own choice has a button that sends the chart away.
            "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
            "plotlyServerURL": "",
        },
    )
    return Markup(html)


def _context(result: SearchResult) -> dict[str, Any]:
    config = result.config
    candidates = all_candidates(result)
    return {
        "result": result,
        "config": config,
        "devices": [_device(seen, index) for index, seen in enumerate(result.everywhere)],
        "confidence": confidence_text(config),
        "headline": _unbroken(headline(result)),
        "warnings": warnings(result),
        "budget": budget_text(config),
        "call": call_text(result),
        "batch": batch_size(result),
        "proxy_data": proxy_data(config),
        "score_name": score_name(config).capitalize(),
        "score_rule": score_rule(config),
        "rungs": " > ".join(
            f"{images:,}" for images in rung_images(config.proxy.train_images, config.rungs)
        ),
        "finalists": finalists_rule(result),
        "trials": trials_text(result),
        "wall_time": duration_text(result.wall_s),
        "best": _best(result),
        "candidates": [_row(c, result) for c in candidates],
        "family": [_family_row(result, index) for index in range(len(result.references))],
        "published": presets_name(result) == "published",
        "versions": _versions(),
        "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    }


def _device(seen: SearchResult, index: int) -> dict[str, Any]:
    """The search as the page shows it on one device."""
    shown, best = shown_front(seen), seen.recommended
    chart_id = CHART_ID if index == 0 else f"{CHART_ID}-{index + 1}"
    return {
        "result": seen,
        "chart": _chart(seen, chart_id, first=index == 0),
        "chart_id": chart_id,
        "estimate_warning": estimate_warning(seen),
        "budget": budget_text(seen.config),
        "call": call_text(seen),
        "batch": batch_size(seen),
        "front": [_row(c, seen) for c in shown],
        "inside": _inside_interval(shown, confidence_text(seen.config)),
        "best": {**_row(best, seen), **_use(best, seen)} if best else None,
    }


def _use(best: Candidate, seen: SearchResult) -> dict[str, str]:
    """The recommended network's latency on one device, and how much of the budget that is."""
    return {
        "latency": ms_text(best.latency_ms),
        "used": f"{100 * best.latency_ms / seen.config.budget_ms:.0f}",
        "per_image": ms_text(best.latency_ms / batch_size(seen)),
    }


def _unbroken(text: str) -> str:
    """The text with numbers and their units kept on one line."""
    return text.replace(" ms", f"{NBSP}ms").replace("(budget ", f"(budget{NBSP}")


def _row(candidate: Candidate, result: SearchResult) -> dict[str, Any]:
    """A candidate as the tables show it."""
    macs, params = candidate.cost_at(result.config)
    measured, best = candidate.measured, result.recommended
    return {
        "number": candidate.number,
        "id": candidate.architecture.id,
        "origin": None if candidate.origin == SEARCHED else candidate.origin,
        "best": bool(best and best.number == candidate.number),
        "over": over_budget_text(candidate, result.config),
        "off": off_front(candidate, result),
        "predicted": ms_text(candidate.predicted.latency_ms),
        "interval": interval_text(candidate.predicted),
        "measured": ms_text(measured.latency_ms) if measured else None,
        "within": f"95% within ±{measured.ci_pct:.1f}%" if measured else None,
        "runs": measured.runs if measured else None,
        "difference": difference_text(candidate),
        "score": accuracy_text(candidate.score),
        "accuracy": accuracy_text(candidate.accuracy),
        "bonus": points_text(candidate.bonus) if score_rule(result.config) else None,
        "final": final_text(candidate),
        "gmacs": gmacs_text(macs),
        "mparams": f"{params:.1f}",
        "stem": candidate.architecture.stem_width,
        "stages": [stage_text(stage) for stage in candidate.architecture.stages],
    }


def _inside_interval(shown: Sequence[Candidate], confidence: str) -> str | None:
    """How many measured latencies their intervals held."""
    measured = [(c.predicted, c.measured) for c in shown if c.measured]
    if not measured:
        return None
    held = sum(p.low_ms <= m.latency_ms <= p.high_ms for p, m in measured)
    return f"{held} of {len(measured)} measured latencies lie inside their {confidence} interval."


def _best(result: SearchResult) -> dict[str, Any] | None:
    best = result.recommended
    if best is None:
        return None
    longer = best.sound_final
    return {
        **_row(best, result),
        "longer_score": accuracy_text(longer.score) if longer else None,
        "longer_images": longer.images if longer else None,
        "faster": _faster(best, result),
        "parts": _parts(best.architecture, result),
        "rest": _rest(best, result),
        "next": _next_steps(result),
    }


def _next_steps(result: SearchResult) -> list[tuple[str, str]]:
    """What to do with the winner: its purpose, and the file, code or command."""
    config, folder = result.config, str(result.run_dir)
    where = shlex.quote(folder)
    build = f"nas.build_network(nas.load_architecture({folder!r}), {config.num_classes})"
    return [
        ("Deploy and time", str(result.run_dir / "best.onnx")),
        ("Build it to train", f"import nas; network = {build}"),
        (
            "Predict its latency",
            f"python run_search.py predict {where} {_table_options(config)}",
        ),
        ("Search on", f"python run_search.py --resume {where} --trials {2 * config.trials}"),
    ]


def _table_options(config: SearchConfig) -> str:
    """Which table of which target, and the network's size where it is not the usual one."""
    options = {
        "target": config.target,
        "device": config.device,
        "precision": config.precision,
        "batch-size": config.batch_size,
        "resolution": config.resolution if config.resolution != 224 else None,
        "num-classes": config.num_classes if config.num_classes != 1000 else None,
    }
    given = ((name, value) for name, value in options.items() if value is not None)
    return " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in given)


def _faster(best: Candidate, result: SearchResult) -> str | None:
    """Speed beside the smallest preset, both from the same table."""
    if not result.references:
        return None
    reference = min(result.references, key=lambda r: r.predicted.latency_ms)
    ratio = reference.predicted.latency_ms / best.predicted.latency_ms
    if best.architecture == reference.architecture or 0.95 < ratio < 1.05:
        return None
    factor = f"{ratio:.1f}x faster" if ratio > 1 else f"{1 / ratio:.1f}x slower"
    return f"{factor} than {reference.name}, both {result.provenance}"


def _parts(architecture: Architecture, result: SearchResult) -> list[dict[str, Any]]:
    """Stem, stages and head: what they are, what they put out, and what they cost."""
    blocks = architecture.blocks(result.config.workload)
    depths = [stage.depth for stage in architecture.stages]
    bounds = [0, *accumulate(depths, initial=1), len(blocks)]
    total = network_cost(blocks)
    total_ms = sum(result.breakdown_ms)
    names = ["Stem", "Stage 1", "Stage 2", "Stage 3", "Stage 4", "Head"]
    stages: list[Stage | None] = [None, *architecture.stages, None]
    parts = []
    for index, (name, stage) in enumerate(zip(names, stages, strict=True)):
        extent = slice(bounds[index], bounds[index + 1])
        part, part_ms = blocks[extent], result.breakdown_ms[extent]
        cost = network_cost(part)
        parts.append(
            {
                "name": name,
                "stage": stage,
                "groups": _groups(stage),
                "note": kind_of(part[-1].kind).note(part[-1]),
                "output": _output(part[-1]),
                "ms": ms_text(sum(part_ms)),
                "ms_share": f"{100 * sum(part_ms) / total_ms:.1f}",
                "blocks_ms": [
                    (str(block), ms_text(block_ms))
                    for block, block_ms in zip(part, part_ms, strict=True)
                ],
                "gmacs": gmacs_text(cost.macs / 1e9, total.macs / 1e9),
                "macs_share": f"{100 * cost.macs / total.macs:.1f}",
                "mparams": f"{cost.params / 1e6:.2f}",
                "params_share": f"{100 * cost.params / total.params:.1f}",
            }
        )
    return parts


def _rest(best: Candidate, result: SearchResult) -> str:
    """How the parts' milliseconds add up to the prediction."""
    predicted_ms = best.predicted.latency_ms
    rest_ms = predicted_ms - sum(result.breakdown_ms)
    constant = f" and a constant of {rest_ms:+.2f}" if abs(rest_ms) >= 0.005 else ""
    return (
        f"The parts' milliseconds{constant} make the {ms_text(predicted_ms)} "
        f"{result.provenance} for the whole network."
    )


def _groups(stage: Stage | None) -> list[list[str]]:
    """The blocks of a stage in order, one list of kinds a group."""
    if stage is None:
        return []
    group = ["ncb"] * stage.num_ncb + ["ntb"] * bool(stage.ntb_width)
    return [group] * stage.repeats


def _output(block: Block) -> str:
    if kind_of(block.kind).pools:
        return f"{block.out_channels:,} classes"
    return f"{block.out_channels} x {block.out_height} x {block.out_width}"


def _family_row(result: SearchResult, index: int) -> dict[str, Any]:
    reference, config = result.references[index], result.config
    cost = network_cost(reference.architecture.blocks(config.workload))
    return {
        "name": reference.name,
        "predicted": ms_text(reference.predicted.latency_ms),
        "interval": interval_text(reference.predicted),
        "over": reference.predicted.latency_ms > config.budget_ms,
        "top1": top1_text(reference),
        "score": accuracy_text(reference.score) if reference.score is not None else None,
        "gmacs": gmacs_text(cost.macs / 1e9),
        "mparams": f"{cost.params / 1e6:.1f}",
        "stages": [stage_text(stage) for stage in reference.architecture.stages],
    }


def _versions() -> list[tuple[str, str]]:
    """Versions of what wrote the page; packages that are not installed are left out."""
    found = [("Python", python_version())]
    for name in _VERSIONED:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
