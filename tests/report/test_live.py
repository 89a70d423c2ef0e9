"""Progress while a search runs, on a terminal and in other outputs."""

from __future__ import annotations

import io

from rich.console import Console

from nas.accuracy.data.source import DataSummary
from nas.report.live import LivePrinter
from nas.search.callbacks import Trained
from tests.report.endings import CASES
from tests.report.makers import make_result


def _watch(terminal: bool, width: int = 120, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=output, force_terminal=terminal, width=width, color_system=None)
    printer = LivePrinter(console)
    listener = printer.listener()
    listener.stage("training")
    listener.training(0, 3)
    candidates = make_result(count=3).candidates
    for number, candidate in enumerate(candidates[:2], start=1):
        best = max(candidates[:number], key=lambda c: c.score)
        listener.trained(
            Trained(candidate, number, 3, (number,), 1, True, best, 0.25, 4.0, "predicted")
        )
    listener.trained(Trained(None, 3, 3, (2,), 1, False, None, 0.0, 1.0, "predicted"))
    printer.close()
    output.flush()
    return raw.getvalue().decode(encoding)


def test_lines_without_a_terminal() -> None:
    lines = _watch(terminal=False).splitlines()
    assert len(lines) == 4
    assert lines[0] == "Training candidates by proxy."
    assert lines[1].startswith("  1/3") and "on the front" in lines[1]
    assert lines[3] == "  3/3  training diverged and was stopped"


def test_a_terminal_shows_what_there_is_so_far() -> None:
    shown = _watch(terminal=True)
    best = max(make_result(count=3).candidates[:2], key=lambda c: c.score)
    assert "2/3" in shown and "time left" in shown
    assert f"best {100 * best.score:.1f}% at {best.latencies[0].latency_ms:.2f} ms" in shown
    assert "hypervolume 0.250" in shown
    assert "none within budget yet" in shown


def test_a_narrow_terminal_without_unicode() -> None:
    shown = _watch(terminal=True, width=40, encoding="ascii")
    bars = [line for line in shown.splitlines() if "trials" in line]
    assert bars and all("/3" in bar for bar in bars)
    assert all(
        f"{c.latencies[0].predicted.latency_ms:.2f} ms" in shown
        for c in make_result(count=3).candidates[:2]
    )


def test_data_are_one_line_whatever_their_names() -> None:
    file = io.StringIO()
    printer = LivePrinter(Console(file=file, width=40))
    data = DataSummary("imagefolder:/a\x1b[2Jb[red]", 2, 1112, 24, 24)
    printer.listener().data(data)
    assert file.getvalue() == (
        "Data: imagefolder:/a\\x1b[2Jb[red]: 2 classes, images: 1,112 train, 24 val, 24 test.\n"
    )


def test_messages_of_evaluators_do_not_reach_the_terminal_raw() -> None:
    file = io.StringIO()
    printer = LivePrinter(Console(file=file, width=120))
    failed = Trained(None, 1, 3, (1,), 1, False, None, 0.0, 0.0, "predicted", "Error: \x1b[2J [b]")
    printer.listener().trained(failed)
    assert "failed: Error: \\x1b[2J [b]" in file.getvalue()


def test_every_device_has_its_latency() -> None:
    file = io.StringIO()
    printer = LivePrinter(Console(file=file, width=120))
    candidate = CASES["two-devices"]().candidates[0]
    printer.trained(Trained(candidate, 1, 3, (1,), 1, True, candidate, 0.25, 4.0, "predicted"))
    here, there = (one.predicted.latency_ms for one in candidate.latencies)
    assert f"{here:7.2f} /{there:7.2f} ms predicted" in file.getvalue()
