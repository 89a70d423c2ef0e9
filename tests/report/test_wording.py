"""Numbers and sentences that page, figure and terminal share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.measurement.protocol import Timing
from nas.report.notation import difference_text, duration_text, ms_text, stage_text
from nas.report.wording import (
    batch_size,
    headline,
    latency_text,
    over_budget,
    over_budget_text,
    shown_front,
    stop_text,
    stopped_text,
    trials_text,
    unfinished_text,
    verification_note,
    warnings,
)
from nas.results.values import DeviceLatency, Latency, StopReason, UnfinishedFinalists
from nas.space.architecture import Stage
from nas.space.architecture_files import load_architecture
from tests.report.endings import CASES
from tests.report.makers import make_result, with_device_values, with_latency, with_numbers


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


def test_batch_is_the_targets() -> None:
    assert batch_size(make_result(batch=8).devices[0]) == 8
    assert batch_size(make_result().devices[0]) == 1


def test_headlines() -> None:
    recommended = "Recommended: 13.3 ms measured (budget 15 ms), 92.7% proxy score after 64,000"
    assert headline(make_result()).startswith(recommended)
    assert "not measured (budget" in headline(CASES["predicted"]())
    assert "everything measured is over" in headline(CASES["all-over-budget"]())
    assert "no candidate was trained" in headline(CASES["none"]())


def test_headline_names_two_devices_and_counts_more() -> None:
    said = headline(CASES["two-devices"]())
    assert " ms measured (onnxruntime, budget 15 ms) and " in said
    assert " ms estimated, not measured (coreml, budget 7.5 ms), " in said
    said = headline(CASES["three-devices"]())
    assert said.startswith("Recommended: within budget on 3 devices (2 of them measured), ")


def test_front_shows_what_was_measured_over_budget() -> None:
    result = CASES["all-over-budget"]()
    (device,) = result.devices
    assert device.front == ()
    assert len(shown_front(result, device)) == 5


def test_measured_too_close_to_the_budget_is_said_and_is_not_within_it() -> None:
    result = make_result()
    (device,), best = result.devices, result.recommended
    assert best is not None and over_budget_text(best, device) == ""
    latency, budget_ms = device.latency(best), device.target.budget_ms
    assert latency.measured
    near = replace(latency, remeasured_high_ms=1.01 * budget_ms)
    close = with_latency(best, 0, near)
    assert over_budget_text(close, device) == "measured too close to the budget"
    assert over_budget(close, device)
    slow = replace(latency, measured=replace(latency.measured, latency_ms=budget_ms + 1))
    over = with_latency(best, 0, slow)
    assert over_budget_text(over, device) == "measured over the budget"
    front = tuple(c for c in device.front if c.number != best.number)
    without = with_device_values(with_numbers(result, (close,)), front=front)
    notes = " ".join(warnings(replace(without, recommended=None)))
    assert f"or too close to it, and not recommended: {best.architecture.id}" in notes


@pytest.mark.parametrize("reason", StopReason)
def test_every_stop_reason_has_a_text(reason: StopReason) -> None:
    result = make_result(stopped=reason)
    text = stop_text(reason, result.config)
    assert text and text == stopped_text(result)
    assert f"Stopped early: {text}" in warnings(result)
    unfinished = UnfinishedFinalists(1, 4, reason)
    said = unfinished_text(replace(result, unfinished_finalists=unfinished))
    assert said == f"1 of 4 finalists were not trained longer: {text}"


def test_the_time_limit_of_candidates_is_named() -> None:
    text = stopped_text(make_result(stopped=StopReason.TIME_LIMIT_OF_CANDIDATES))
    assert text == "no further candidate fitted into the time limit of 720 s"
    assert stopped_text(make_result()) == unfinished_text(make_result()) == ""


def test_verification_says_how_or_why_not() -> None:
    result = make_result()
    (device,) = result.devices
    assert verification_note(result, device) == (
        "The front was measured whole on this machine (Intel Xeon Platinum 8481C, onnxruntime "
        "1.32.0)."
    )
    unverified = replace(device, verified=False)
    assert "no candidate is within budget" in verification_note(result, unverified)
    nothing = replace(result, candidates=())
    assert "no candidate was trained in full" in verification_note(nothing, unverified)
    stopped = replace(unverified, unverified_because=StopReason.VERIFICATION_INTERRUPTED)
    assert verification_note(result, stopped) == (
        "Latencies are predicted, not verified: measuring the front was interrupted; go on with "
        "--resume."
    )


def test_candidates_that_stopped_at_a_rung_are_counted() -> None:
    result = make_result()
    count = len(result.candidates)
    partly = replace(result, partly_trained=result.candidates[:2])
    said = f"{count + 2} trained (2 of them stopped at a rung), "
    assert trials_text(partly).startswith(said)


def test_warns_where_the_interval_reaches_over_the_budget() -> None:
    result = make_result(kind="predicted")
    assert result.recommended
    near = DeviceLatency(Latency(14.8, 14.1, 15.6))
    notes = warnings(with_numbers(result, (with_latency(result.recommended, 0, near),)))
    assert any("may miss the budget: its 90% interval (14.1–15.6 ms)" in n for n in notes)  # noqa: RUF001


def test_a_latency_measured_on_a_busy_machine_is_not_just_called_measured() -> None:
    result = make_result()
    (device,), best = result.devices, result.recommended
    assert best is not None and "busy" not in headline(result) + " ".join(warnings(result))
    latency = device.latency(best)
    assert latency.measured is not None
    rough = replace(latency.measured, ci_pct=150.0)
    best = with_latency(best, 0, replace(latency, measured=rough))
    result = with_numbers(result, (best,))
    said = "ms measured while the machine was too busy"
    assert said in headline(result)
    assert f"{said} (95% within ±150.0%" in latency_text(
        device.latency(best), device, result.config
    )
    (warning,) = (text for text in warnings(result) if "busy" in text)
    assert f"too busy to measure {best.architecture.id} " in warning
    assert "again when the machine does less" in warning


def test_warns_of_a_machine_that_is_not_what_its_table_says() -> None:
    def said(slower: float) -> list[str]:
        return [n for n in warnings(make_result(slower=slower, seed=6)) if "than its table" in n]

    assert not said(1.0)
    assert any("% slower than its table says" in note for note in said(1.3))
    assert any("% faster than its table says" in note for note in said(0.7))
    assert all("tables verify onnxruntime/" in note for note in said(0.7))


def test_what_earlier_runs_trained_is_not_counted_as_trained() -> None:
    result = make_result()
    count = len(result.candidates)
    assert trials_text(result).startswith(f"{count} trained, ")
    taken = replace(result, imported=3)
    assert trials_text(taken).startswith(f"{count - 3} trained, 3 from earlier runs, ")


def test_difference_is_relative_to_the_prediction() -> None:
    predicted = Latency(10.0, 9.0, 11.0)
    same = DeviceLatency(predicted, Timing(9.999, 0.5, 1.0, 60))
    assert difference_text(same) == "+0.0%"
    assert difference_text(DeviceLatency(predicted, Timing(9.0, 0.5, 1.0, 60))) == "-10.0%"
    assert difference_text(DeviceLatency(predicted)) == ""
