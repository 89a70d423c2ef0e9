"""Prints the result of a search: the front, the recommendation, and the facts behind them."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from nas.config import SearchConfig
from nas.measurement.protocol import Timing
from nas.report.console import shown_text
from nas.report.notation import (
    accuracy_text,
    difference_text,
    duration_text,
    gmacs_text,
    interval_text,
    ms_text,
)
from nas.report.score_wording import accuracy_rule, finalists_rule, score_name, score_rule
from nas.report.wording import (
    budget_text,
    call_text,
    confidence_text,
    estimate_warning,
    headline,
    latency_text,
    off_front,
    over_budget,
    over_other_budgets_text,
    shown_front,
    trials_text,
    verification_note,
    warning_prefix,
    warnings,
)
from nas.results.values import SEARCHED, Candidate, DeviceResult, LongerTraining, SearchResult

_FULL_WIDTH = 78
"""Width of the whole table in characters; a narrower terminal shows latencies and scores alone."""

_LONGER_WIDTH = 8
"""Width in characters of the column of the finalists' scores. If a terminal has no room for it, the
number of parameters is not shown."""

_LONGER = "trained\nlonger"


def print_result(result: SearchResult, console: Console) -> None:
    """Print the front on each device as a table, the recommendation, and every warning.

    The console drops colours if it is not a terminal. The table has one line per network if the
    console is at least 78 characters wide.
    """
    console.print()
    for device in result.devices:
        front = shown_front(result, device)
        if front:
            console.print(_table(result, device, front, console))
            console.print(shown_text(console, _legend(result, device, front), "dim"))
            console.print()
    style = "bold green" if result.recommended else "bold red"
    console.print(shown_text(console, headline(result), style))
    _print_warnings(result, console)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", overflow="fold")
    facts.add_column(overflow="fold")
    for what, text in _facts(result):
        facts.add_row(shown_text(console, what), shown_text(console, text))
    console.print(facts)


def _print_warnings(result: SearchResult, console: Console) -> None:
    for device in result.devices:
        estimate = estimate_warning(device)
        if estimate:
            text = f"! {warning_prefix(result, device)}{estimate}"
            console.print(shown_text(console, text, "yellow"))
            if device.replace_command:  # on one line, so that it can be copied
                command = shown_text(console, f"    {device.replace_command}")
                console.print(command, soft_wrap=True)
    for warning in warnings(result):
        console.print(shown_text(console, f"! {warning}", "yellow"))


def _table(
    result: SearchResult, device: DeviceResult, front: tuple[Candidate, ...], console: Console
) -> Table:
    title = f"Pareto front within {budget_text(device)}, {device.table_name}"
    table = Table(
        title=shown_text(console, title, "bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", width=1)
    table.add_column("network", overflow="fold")
    confidence = confidence_text(result.config)
    score = score_name(result.config).replace("accuracy", "acc.").replace(" ", "\n")
    names = [f"{device.provenance} ms ({confidence})", "measured ms", score]
    further = _further(front, console.width)
    for name in (*names, *further):
        table.add_column(name, justify="right", vertical="bottom", overflow="fold")
    styles = {">": "bold green", "!": "red", "x": "dim", "-": "dim", "": ""}
    for candidate in front:
        mark = _mark(candidate, result, device)
        further_cells = _further_cells(candidate, device, result.config)
        cells = [mark, *_cells(candidate, device), *(further_cells[name] for name in further)]
        table.add_row(*(shown_text(console, cell) for cell in cells), style=styles[mark])
    return table


def _further(front: tuple[Candidate, ...], width: int) -> list[str]:
    """Names of the optional columns for which a console of this width has room."""
    if width < _FULL_WIDTH:
        return []
    if not any(candidate.longer for candidate in front):
        return ["diff.", "GMACs", "params"]
    count = 4 if width >= _FULL_WIDTH + _LONGER_WIDTH else 3
    return [_LONGER, "diff.", "GMACs", "params"][:count]


def _further_cells(
    candidate: Candidate, device: DeviceResult, config: SearchConfig
) -> dict[str, str]:
    macs, params = candidate.size_at(config.workload)
    return {
        _LONGER: _longer_cell(candidate.longer),
        "diff.": difference_text(device.latency(candidate)) or "-",
        "GMACs": gmacs_text(macs),
        "params": f"{params:.1f} M",
    }


def _longer_cell(longer: LongerTraining | None) -> str:
    if longer is None:
        return "-"
    if longer.diverged:
        return "failed" if longer.message else "diverged"
    return accuracy_text(longer.score)


def _cells(candidate: Candidate, device: DeviceResult) -> list[str]:
    latency = device.latency(candidate)
    predicted, measured = latency.predicted, latency.measured
    return [
        candidate.architecture.id,
        f"{ms_text(predicted.latency_ms)} ({interval_text(predicted)})",
        _measured_cell(measured),
        accuracy_text(candidate.score),
    ]


def _measured_cell(measured: Timing | None) -> str:
    if measured is None:
        return "no"
    rough = "" if measured.steady else " rough"
    return f"{ms_text(measured.latency_ms)} ±{measured.ci_pct:.1f}%{rough}"


def _mark(candidate: Candidate, result: SearchResult, device: DeviceResult) -> str:
    best = result.recommended
    if best and best.number == candidate.number:
        return ">"
    if over_budget(candidate, device):
        return "!"
    if over_other_budgets_text(candidate, result, device):
        return "x"
    return "-" if off_front(candidate, result, device) else ""


def _legend(result: SearchResult, device: DeviceResult, front: tuple[Candidate, ...]) -> str:
    marks = {_mark(candidate, result, device) for candidate in front}
    entries = {
        ">": "> recommended",
        "!": "! measured over budget or too close",
        "x": "x over budget on another device",
        "-": "- not on the front",
    }
    return "   ".join(text for mark, text in entries.items() if mark in marks)


def _facts(result: SearchResult) -> list[tuple[str, str]]:
    config, best = result.config, result.recommended
    facts = []
    if best:
        name = "" if best.origin == SEARCHED else f" ({best.origin})"
        facts.append(("network", f"{best.architecture.id}{name}"))
    for name, device in zip(result.device_names, result.devices, strict=True):
        if len(result.devices) > 1:
            facts.append(("device", f"{name}, budget {budget_text(device)}"))
        if best:
            facts.append(("latency", latency_text(device.latency(best), device, config)))
        facts.append(("latency of", call_text(config, device)))
        facts.append(("table", device.table_provenance))
        if device.verified:
            facts.append(("verified", verification_note(result, device)))
    compared_to = " or ".join(
        dict.fromkeys(
            device.provenance
            for device in result.devices
            if any(device.latency(candidate).measured for candidate in device.front)
        )
    )
    if compared_to:
        facts.append(
            ("measured", f"± is the 95% interval of this measurement, diff. is to {compared_to}")
        )
    facts.append(("accuracy", accuracy_rule(config)))
    if score_rule(config):
        facts.append(("score", score_rule(config)))
    if finalists_rule(result):
        facts.append(("finalists", finalists_rule(result)))
    facts.append(("trials", f"{trials_text(result)}; {duration_text(result.wall_s)}"))
    if best:
        facts.append(("best.onnx", "untrained weights, to deploy and time; train the network next"))
    facts.append(("report", str(result.run_dir / "report.html")))
    return facts
