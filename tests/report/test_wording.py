"""Numbers and sentences that page, figure and terminal share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.report.wording import (
    all_candidates,
    batch_size,
    difference_text,
    duration_text,
    headline,
    ms_text,
    over_budget,
    over_budget_text,
    shown_front,
    stage_text,
    trials_text,
    warnings,
)
from nas.results.values import Latency
from nas.space.architecture import Stage
from nas.space.architecture_files import load_architecture
from tests.report.endings import CASES, make_result


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4821, "0.482"), (0.9996, "1.00"), (4.821, "4.82"), (9.996, "10.0"), (48.21, "48.2"),
     (99.96, "100"), (482.1, "482")],
)  # fmt: skip
def test_milliseconds_have_three_digits(value: float, text: str) -> None:
    assert ms_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.7, "1 min 0 s"), (910, "15 min 10 s"), (7260, "2 h 1 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_stage_notation() -> None:
    assert stage_text(Stage(4, 2, 256, 384, 3, 2, 0.75, 2)) == (
        "(NCB 256 x4 + NTB 384) x2, mlp 3/2, mix 0.75, sr 2"
    )
    assert stage_text(load_architecture("nextvit-small").stages[0]) == "NCB 96 x3, mlp 3"


def test_batch_is_the_tables() -> None:
    result = make_result(batch=8)
    assert batch_size(result) == 8
    assert batch_size(replace(result, table_name="unnamed")) == 8
    assert batch_size(replace(make_result(), table_name="unnamed")) == 1


def test_headlines() -> None:
    recommended = "Recommended: 13.3 ms measured (budget 15 ms), 92.7% proxy score after 64,000"
    assert headline(make_result()).startswith(recommended)
    assert "not measured (budget" in headline(CASES["predicted"]())
    assert "everything measured is over" in headline(CASES["all-over-budget"]())
    assert "no candidate was trained" in headline(CASES["none"]())


def test_front_measurements_reach_the_list_of_candidates() -> None:
    result = make_result()
    bare = replace(result, candidates=tuple(replace(c, measured=None) for c in result.candidates))
    measured = {c.number: c.measured for c in all_candidates(bare) if c.measured}
    assert measured == {c.number: c.measured for c in result.front}
    numbers = [c.number for c in all_candidates(bare)]
    assert numbers == sorted(numbers)


def test_front_shows_what_was_measured_over_budget() -> None:
    result = CASES["all-over-budget"]()
    assert result.front == ()
    assert len(shown_front(result)) == 5


def test_measured_too_close_to_the_budget_is_said_and_is_not_within_it() -> None:
    result = make_result()
    best = result.recommended
    assert best is not None and over_budget_text(best, result.config) == ""
    assert best.measured
    close = replace(best, again_high_ms=1.01 * result.config.budget_ms)
    assert over_budget_text(close, result.config) == "measured too close to the budget"
    assert over_budget(close, result.config)
    over = replace(best, measured=replace(best.measured, latency_ms=result.config.budget_ms + 1))
    assert over_budget_text(over, result.config) == "measured over the budget"
    candidates = tuple(close if c.number == best.number else c for c in result.candidates)
    front = tuple(c for c in result.front if c.number != best.number)
    without = replace(result, candidates=candidates, front=front, recommended=None)
    notes = " ".join(warnings(without))
    assert f"or too close to it, and not recommended: {best.architecture.id}" in notes


def test_candidates_that_stopped_at_a_rung_are_counted() -> None:
    result = make_result()
    count = len(all_candidates(result))
    partly = replace(result, partly_trained=result.candidates[:2])
    said = f"{count + 2} trained (2 of them stopped at a rung), "
    assert trials_text(partly).startswith(said)


def test_warns_where_the_interval_reaches_over_the_budget() -> None:
    result = make_result(kind="predicted")
    assert result.recommended
    best = replace(result.recommended, predicted=Latency(14.8, 14.1, 15.6))
    notes = warnings(replace(result, recommended=best))
    assert any("may miss the budget: its 90% interval (14.1–15.6 ms)" in n for n in notes)  # noqa: RUF001


def test_warns_of_a_machine_that_is_not_what_its_table_says() -> None:
    def said(slower: float) -> list[str]:
        return [n for n in warnings(make_result(slower=slower, seed=6)) if "than its table" in n]

    assert not said(1.0)
    assert any("% slower than its table says" in note for note in said(1.3))
    assert any("% faster than its table says" in note for note in said(0.7))
    assert all("tables verify onnxruntime/" in note for note in said(0.7))


def test_what_earlier_runs_trained_is_not_counted_as_trained() -> None:
    result = make_result()
    count = len(all_candidates(result))
    assert trials_text(result).startswith(f"{count} trained, ")
    taken = replace(result, imported=3)
    assert trials_text(taken).startswith(f"{count - 3} trained, 3 from earlier runs, ")


def test_difference_is_relative_to_the_table() -> None:
    candidate = next(c for c in make_result().front if c.measured)
    assert candidate.measured
    same = replace(
        candidate,
        measured=replace(candidate.measured, latency_ms=candidate.predicted.latency_ms * 0.9999),
    )
    assert difference_text(same) == "+0.0%"
    assert difference_text(replace(candidate, measured=None)) == ""
