"""What a search prints when it ends: the front, the recommendation, what it rests on."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from nas.report.console import shown_text
from nas.report.wording import (
    accuracy_text,
    budget_text,
    call_text,
    confidence_text,
    difference_text,
    duration_text,
    estimate_warning,
    finalists_rule,
    gmacs_text,
    headline,
    interval_text,
    latency_text,
    ms_text,
    off_front,
    over_budget,
    proxy_data,
    score_name,
    score_rule,
    shown_front,
    trials_text,
    warnings,
)
from nas.results.values import SEARCHED, Candidate, Final, SearchResult

_FULL_WIDTH = 78
"""Columns of the whole table; a narrower terminal gets the latencies and the accuracy."""

_FINAL_WIDTH = 8
"""More columns that the finalists' scores need; without them the last is left out."""

_FINAL = "trained\nlonger"


def print_result(result: SearchResult, console: Console) -> None:
    """Print the front as a table, the recommendation, and every warning.

    Colours are the console's business: none where it is no terminal. The table is a line a
    network in 78 columns.
    """
    console.print()
    for seen in result.everywhere:
        front = shown_front(seen)
        if front:
            console.print(_table(seen, front, console))
            console.print(shown_text(console, _legend(seen, front), "dim"))
            console.print()
    style = "bold green" if result.recommended else "bold red"
    console.print(shown_text(console, headline(result), style))
    for seen in result.everywhere:
        estimate = estimate_warning(seen)
        if estimate:
            where = f"{seen.table_name}: " if result.elsewhere else ""
            console.print(shown_text(console, f"! {where}{estimate}", "yellow"))
            if seen.replace_command:  # in one piece, to be copied
                console.print(shown_text(console, f"    {seen.replace_command}"), soft_wrap=True)
    for warning in warnings(result):
        console.print(shown_text(console, f"! {warning}", "yellow"))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", overflow="fold")
    facts.add_column(overflow="fold")
    for what, text in _facts(result):
        facts.add_row(shown_text(console, what), shown_text(console, text))
    console.print(facts)


def _table(result: SearchResult, front: tuple[Candidate, ...], console: Console) -> Table:
    title = f"Pareto front within {budget_text(result.config)}, {result.table_name}"
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
    names = [f"{result.provenance} ms ({confidence})", "measured ms", score]
    further = _further(front, console.width)
    for name in (*names, *further):
        table.add_column(name, justify="right", vertical="bottom", overflow="fold")
    styles = {">": "bold green", "!": "red", "-": "dim", "": ""}
    for candidate in front:
        further_cells = _further_cells(candidate, result)
        cells = [*_cells(candidate, result), *(further_cells[name] for name in further)]
        style = styles[_mark(candidate, result)]
        table.add_row(*(shown_text(console, cell) for cell in cells), style=style)
    return table


def _further(front: tuple[Candidate, ...], width: int) -> list[str]:
    """The columns that a narrow terminal does not get."""
    if width < _FULL_WIDTH:
        return []
    if not any(candidate.final for candidate in front):
        return ["diff.", "GMACs", "params"]
    return [_FINAL, "diff.", "GMACs", "params"][: 4 if width >= _FULL_WIDTH + _FINAL_WIDTH else 3]


def _further_cells(candidate: Candidate, result: SearchResult) -> dict[str, str]:
    macs, params = candidate.cost_at(result.config)
    return {
        _FINAL: _final_cell(candidate.final),
        "diff.": difference_text(candidate) or "-",
        "GMACs": gmacs_text(macs),
        "params": f"{params:.1f} M",
    }


def _final_cell(final: Final | None) -> str:
    if final is None:
        return "-"
    return "diverged" if final.diverged else accuracy_text(final.score)


def _cells(candidate: Candidate, result: SearchResult) -> list[str]:
    predicted, measured = candidate.predicted, candidate.measured
    return [
        _mark(candidate, result),
        candidate.architecture.id,
        f"{ms_text(predicted.latency_ms)} ({interval_text(predicted)})",
        f"{ms_text(measured.latency_ms)} ±{measured.ci_pct:.1f}%" if measured else "no",
        accuracy_text(candidate.score),
    ]


def _mark(candidate: Candidate, result: SearchResult) -> str:
    best = result.recommended
    if best and best.number == candidate.number:
        return ">"
    if over_budget(candidate, result.config):
        return "!"
    return "-" if off_front(candidate, result) else ""


def _legend(result: SearchResult, front: tuple[Candidate, ...]) -> str:
    marks = {_mark(candidate, result) for candidate in front}
    entries = {
        ">": "> recommended",
        "!": "! measured over budget or too close",
        "-": "- not on the front",
    }
    return "   ".join(text for mark, text in entries.items() if mark in marks)


def _facts(result: SearchResult) -> list[tuple[str, str]]:
    best = result.recommended
    facts = []
    if best:
        name = "" if best.origin == SEARCHED else f" ({best.origin})"
        facts.append(("network", f"{best.architecture.id}{name}, {latency_text(best, result)}"))
    for seen in result.everywhere:
        facts.append(("latency of", call_text(seen)))
        facts.append(("table", seen.table_provenance))
        if seen.verified:
            facts.append(("verified", seen.verification_note))
    if any(candidate.measured for candidate in result.front):
        facts.append(("measured", f"± is the 95% interval, diff. is to {result.provenance}"))
    facts.append(("accuracy", f"proxy, on {proxy_data(result.config)}; not ImageNet accuracy"))
    if score_rule(result.config):
        facts.append(("score", score_rule(result.config)))
    if finalists_rule(result):
        facts.append(("finalists", finalists_rule(result)))
    facts.append(("trials", f"{trials_text(result)}; {duration_text(result.wall_s)}"))
    if best:
        facts.append(("best.onnx", "untrained weights, to deploy and time; train the network next"))
    facts.append(("report", str(result.run_dir / "report.html")))
    return facts
