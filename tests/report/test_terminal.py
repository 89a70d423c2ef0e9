"""The terminal output at the end of a search."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from nas.report.notation import ms_text
from nas.report.terminal import print_result
from nas.report.wording import headline, shown_front, verification_note
from nas.results.values import SearchResult
from tests.report.endings import CASES
from tests.report.makers import make_result, with_device_values, with_numbers


def printed(result: SearchResult, width: int = 80, terminal: bool = False) -> str:
    file = io.StringIO()
    print_result(result, Console(file=file, width=width, force_terminal=terminal))
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_every_case_fits_and_is_complete(result: SearchResult, width: int) -> None:
    text = printed(result, width)
    commands = [d.replace_command for d in result.devices if d.replace_command]
    lines = [line for line in text.splitlines() if not any(c in line for c in commands)]
    assert all(len(line) <= width for line in lines)
    flat = " ".join(text.split())
    assert headline(result) in flat
    rows = iter(line for line in text.splitlines() if re.match("[0-9a-f]{10} ", line[3:]))
    for device in result.devices:
        assert verification_note(result, device) in flat
        for candidate in shown_front(result, device):
            row = next(rows)
            assert row[3:13] == candidate.architecture.id
            assert f" {ms_text(device.latency(candidate).predicted.latency_ms)} (" in row
            assert "…" not in row
    assert next(rows, None) is None
    assert all(command in text for command in commands)


def test_plain_when_not_a_terminal() -> None:
    assert "\x1b" not in printed(make_result())
    assert "\x1b" in printed(make_result(), terminal=True)


def test_marks_recommended_over_budget_and_dominated() -> None:
    result = CASES["some-over-budget"]()
    lines = printed(result).splitlines()
    assert result.recommended
    assert any(line.startswith(f">  {result.recommended.architecture.id}") for line in lines)
    assert sum(line.startswith("!  ") for line in lines) == 1
    assert sum(line.startswith("-  ") for line in lines) == 1


def test_what_another_device_is_too_slow_for_is_marked() -> None:
    result = CASES["over-another-budget"]()
    first, second = printed(result).split("Pareto front within 12.5 ms")
    over = [line for line in first.splitlines() if line.startswith("x  ")]
    assert len(over) > 1 and "x over budget on another device" in first
    for line in over:
        assert line[3:13] in second
    assert "another device" not in second


def test_every_device_is_named_with_its_latency() -> None:
    result = CASES["three-devices"]()
    assert result.recommended
    text = " ".join(printed(result, 100).split())
    for name, device in zip(result.device_names, result.devices, strict=True):
        latency_ms = ms_text(device.latency(result.recommended).latency_ms)
        budget = f"{device.target.budget_ms:g} ms"
        assert f"device {name}, budget {budget} latency {latency_ms} ms" in text


def test_a_recommendation_off_the_front_is_in_the_table_with_its_longer_training() -> None:
    result = CASES["off-the-front"]()
    best = result.recommended
    assert best is not None and best not in result.devices[0].front
    text = printed(result, width=90)
    row = next(line for line in text.splitlines() if line.startswith(">"))
    assert best.architecture.id in row and "90.0%" in row
    assert "> recommended" in text
    assert "! 2 of 4 finalists were not trained longer: interrupted" in text
    assert "90.0% proxy score after 64,000 images" in " ".join(text.split())


def test_what_diverged_when_trained_longer_is_said() -> None:
    result = make_result()
    best = result.recommended
    assert best is not None and best.longer is not None
    gone = replace(best, longer=replace(best.longer, accuracy=0.0, diverged=True))
    text = printed(with_numbers(result, (gone,)), 90)
    assert "diverged" in next(line for line in text.splitlines() if line.startswith(">"))
    assert "0.0%" not in text.split("Recommended")[0] and "after 64,000" not in text


def test_a_narrow_terminal_loses_the_last_columns_first() -> None:
    assert all(name in printed(make_result(), 90) for name in ("longer", "GMACs", "params"))
    narrower = printed(make_result(), 80)
    assert "longer" in narrower and "GMACs" in narrower and "params" not in narrower
    assert "longer" not in printed(make_result(), 70).split("Recommended")[0]


def test_unverified_is_said() -> None:
    text = printed(CASES["predicted"]())
    assert "! Latencies are predicted, not verified: this" in text
    assert "predicted, not measured" in text


def test_markup_is_printed_as_it_is() -> None:
    result = make_result(kind="predicted")
    hostile = {"table_name": "[bold]x[/bold].b1", "unverified_because": "[red]no[/red]"}
    text = printed(with_device_values(result, **hostile))
    assert "[bold]x[/bold].b1" in text
    assert "[red]no[/red]" in text


def test_a_terminal_without_unicode() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    print_result(make_result(), Console(file=file, width=80))
    file.flush()
    assert "(12.6-14.2)" in raw.getvalue().decode("ascii")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
@pytest.mark.parametrize("case", CASES)
def test_any_width_in_any_encoding(case: str, encoding: str) -> None:
    result = CASES[case]()
    for width in range(30, 81, 5):
        raw = io.BytesIO()
        file = io.TextIOWrapper(raw, encoding=encoding)
        print_result(result, Console(file=file, width=width))
        file.flush()
        shown = raw.getvalue().decode(encoding)
        assert "ecommend" in shown
        if width >= 40:  # every number whole
            latencies = [d.latency(c).predicted for d in result.devices for c in d.front]
            assert all(ms_text(latency.latency_ms) in shown for latency in latencies)


def test_narrow_terminal_keeps_both_latencies() -> None:
    text = printed(make_result(), width=60)
    assert "measured ms" in text
    assert "±0.5%" in text  # the interval of 60 runs, not how far apart they were
    assert "GMACs" not in text
    assert all(len(line) <= 60 for line in text.splitlines())


def test_a_run_folder_that_is_not_utf_8_is_printed_with_its_bytes_escaped() -> None:
    text = printed(make_result(run_dir=Path(os.fsdecode(b"r\xe4"))), width=120)
    assert "r\\xe4/report.html" in text
