"""Every way a search can end, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nas.config import TargetConfig
from nas.results.values import LongerTraining, SearchResult, StopReason, UnfinishedFinalists
from tests.report.makers import (
    breakdown_of,
    make_result,
    with_device,
    with_device_values,
    with_numbers,
)


def on_two_devices() -> SearchResult:
    """A verified search that was for a phone as well, whose latencies are estimates."""
    phone = TargetConfig(target="coreml", budget_ms=7.5)
    return with_device(make_result(seed=12), "estimated", phone, "coreml/iphone.fp16.b1", 3.3)


def on_three_devices() -> SearchResult:
    """Two devices of one runtime, and a second runtime on the first one's machine."""
    openvino = TargetConfig(target="openvino", budget_ms=18)
    server = TargetConfig(target="onnxruntime", budget_ms=60, device="epyc-8c", batch_size=8)
    result = make_result(seed=14, count=40)
    table = "openvino/xeon-8481c-2t.fp32.b1"
    result = with_device(result, "verified", openvino, table, 7.9)
    return with_device(result, "predicted", server, "onnxruntime/epyc-8c.fp32.b8", 25.0)


def over_the_budget_of_another_device() -> SearchResult:
    """Some of what keeps the first device's budget was measured over the second one's."""
    openvino = TargetConfig(target="openvino", budget_ms=12.5)
    table = "openvino/xeon-8481c-2t.fp32.b1"
    result = with_device(make_result(seed=12), "verified", openvino, table, 7.5)
    first, second = result.devices
    within = {c.number for c in second.front}
    kept = tuple(c for c in first.front if c.number in within)
    best = max(kept, key=lambda c: c.finalist_score)
    return replace(
        result,
        devices=(
            replace(first, front=kept, breakdown_ms=breakdown_of(best.architecture, 7.2)),
            replace(second, breakdown_ms=breakdown_of(best.architecture, 7.5)),
        ),
        recommended=best,
    )


def recommended_off_the_front() -> SearchResult:
    """Nothing was measured, and longer training preferred a network that another one beats."""
    result = make_result(kind="predicted", seed=3)
    (device,) = result.devices
    best = device.front[-1]
    beaten = max(
        (c for c in result.candidates if c not in device.front),
        key=lambda c: device.latency(c).latency_ms,
    )
    longer = {
        best.number: LongerTraining(0.8, 0.0, 64_000),
        beaten.number: LongerTraining(0.9, 0.0, 64_000),
    }
    result = with_numbers(result, (replace(best, longer=longer[best.number]),))
    result = with_numbers(result, (replace(beaten, longer=longer[beaten.number]),))
    result = with_device_values(result, breakdown_ms=breakdown_of(beaten.architecture, 7.2))
    return replace(
        result,
        recommended=next(c for c in result.candidates if c.number == beaten.number),
        unfinished_finalists=UnfinishedFinalists(2, 4, StopReason.INTERRUPTED),
    )


def unpublished_presets() -> SearchResult:
    """A search in a space whose presets have no published accuracy, one of them trained."""
    result = make_result(count=40, budget_ms=60.0, seed=5)
    references = tuple(replace(r, imagenet_top1=None) for r in result.references)
    return replace(result, references=references)


CASES: dict[str, Callable[[], SearchResult]] = {
    "verified": make_result,
    "predicted": lambda: make_result(kind="predicted", seed=3),
    "estimated-batch-8": lambda: make_result(kind="estimated", batch=8, scale=5.5, seed=4),
    "family-fits": lambda: make_result(count=40, budget_ms=60.0, seed=5),
    "all-over-budget": lambda: make_result(slower=4.0, seed=6, count=8),
    "some-over-budget": lambda: make_result(slower=1.04, seed=11, budget_ms=12),
    "one": lambda: make_result(count=1, seed=7),
    "none": lambda: make_result(count=0, kind="predicted", stopped=StopReason.INTERRUPTED),
    "stopped": lambda: make_result(stopped=StopReason.TIME_LIMIT_OF_CANDIDATES, seed=8),
    "two-devices": on_two_devices,
    "three-devices": on_three_devices,
    "over-another-budget": over_the_budget_of_another_device,
    "unpublished-presets": unpublished_presets,
    "off-the-front": recommended_off_the_front,
    "tiny-latencies": lambda: make_result(scale=0.3, budget_ms=0.9, count=120, seed=9),
}
"""Every kind of search end the report has to render, by name."""
