"""The limits, checked on all architectures of a small space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas.errors import ConfigError
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.catalog import load_table
from nas.models.cost import network_cost
from nas.search.limits import Budget, DeviceBudget
from nas.space.space_files import load_space
from nas.space.workload import IMAGENET
from tests.search.conftest import every
from tests.tiny import AT_64


def _high_ms(budget: Budget, architecture) -> float:
    return budget.latencies(architecture)[0].high_ms


def _within(budget: Budget, budget_ms: float) -> Budget:
    return replace(budget, devices=(replace(budget.devices[0], budget_ms=budget_ms),))


def test_fastest_is_the_fastest_of_all(budget, space):
    truth = min(_high_ms(budget, a) for a in every(space))
    assert _high_ms(budget, budget.fastest()) == pytest.approx(truth)


def test_a_budget_below_the_fastest_says_how_fast_that_is(budget):
    latency = budget.latencies(budget.fastest())[0]
    tight = _within(budget, 0.999 * latency.high_ms)
    message = f"predicted to take {latency.latency_ms:.2f} ms .* at most {latency.high_ms:.2f} ms"
    with pytest.raises(ConfigError, match=message):
        tight.require_feasible()
    assert _within(budget, 1.001 * latency.high_ms).require_feasible() == budget.fastest()


def test_the_upper_end_of_the_interval_counts(budget, space):
    architecture = every(space)[0]
    for confidence in (0.5, 0.9, 0.99):
        sure = replace(budget, confidence=confidence)
        high_ms = _high_ms(sure, architecture)
        assert _within(sure, 1.0001 * high_ms).fits(architecture)
        assert not _within(sure, 0.9999 * high_ms).fits(architecture)
    widths = [_high_ms(replace(budget, confidence=c), architecture) for c in (0.5, 0.9, 0.99)]
    assert widths == sorted(widths)


def test_more_fits_where_predictions_fell_near_a_limit(budget, space):
    def with_latencies_times(*factors: float) -> Budget:
        devices = tuple(
            replace(
                budget.devices[0],
                predictor=budget.devices[0].predictor.recalibrated(
                    networks, [f * ms for ms in predicted], AT_64
                ),
            )
            for f in factors
        )
        return replace(budget, devices=devices)

    networks = every(space)[:20]
    predicted = budget.devices[0].predictor.predict(networks, AT_64).latency_ms.tolist()
    same, faster = with_latencies_times(1.0), with_latencies_times(0.85)
    near = max(
        (a for a in every(space) if same.fits(a)), key=lambda a: same.latency_ratio([a]).max()
    )
    assert faster.allows_more_than(same, near)
    assert not same.allows_more_than(same, near) and not same.allows_more_than(faster, near)
    roomy = [_within(b, 10 * budget.devices[0].budget_ms) for b in (faster, same)]
    assert not roomy[0].allows_more_than(roomy[1], near)
    both, one = with_latencies_times(1.0, 1.0), with_latencies_times(0.85, 1.0)
    assert not one.allows_more_than(both, near)  # the other device is as it was


@pytest.mark.parametrize("limit", ["max_params", "max_macs"])
def test_limits_of_size_are_those_of_the_cost_model(budget, space, limit):
    sizes = {a: getattr(network_cost(a.blocks(AT_64)), limit[4:]) for a in every(space)}
    highest = sorted(sizes.values())[len(sizes) // 2]
    loose = replace(_within(budget, 1e9), **{limit: float(highest)})
    assert {a for a in sizes if loose.fits(a)} == {a for a in sizes if sizes[a] <= highest}
    ratio = loose.latency_ratio(list(sizes))
    assert np.isfinite(ratio).all()
    assert [bool(each > 1) for each in ratio[:, 0]] == [sizes[a] > highest for a in sizes]


@pytest.mark.parametrize(
    ("precisions", "width"), [(("fp32",), 4), (("fp16", "fp32"), 4), (("fp16",), 2)]
)
def test_a_size_is_that_of_the_weights_in_the_widest_precision(budget, space, precisions, width):
    (device,) = budget.devices
    table = device.predictor.table
    tables = [
        replace(table, meta=table.meta.model_copy(update={"precision": p})) for p in precisions
    ]
    devices = tuple(
        replace(device, predictor=LatencyPredictor.fit(found), budget_ms=1e9) for found in tables
    )
    sizes = {a: width * network_cost(a.blocks(AT_64)).weights for a in every(space)}
    highest = sorted(sizes.values())[len(sizes) // 2]
    limited = replace(budget, devices=devices, max_size_bytes=float(highest))
    assert {a for a in sizes if limited.fits(a)} == {a for a in sizes if sizes[a] <= highest}
    smallest = min(sizes.values())
    with pytest.raises(
        ConfigError, match=rf"--max-size {smallest - 1e4:.0f}B is below .* has {smallest}B"
    ):
        replace(limited, max_size_bytes=smallest - 1e4).require_feasible()


def test_a_limit_below_the_smallest_network_is_named(budget, space):
    smallest = min(network_cost(a.blocks(AT_64)).params for a in every(space))
    small = replace(budget, max_params=0.9 * smallest)
    with pytest.raises(ConfigError, match=f"--max-params .* which has {smallest}: raise it"):
        small.require_feasible()
    assert replace(_within(budget, 1e9), max_params=float(smallest)).require_feasible() in space


def test_limits_that_exclude_each_other_are_said_to():
    device = DeviceBudget(LatencyPredictor.fit(load_table("tensorrt")), 1e6)
    budget = Budget(load_space("nextvit"), (device,), IMAGENET, max_params=1e12)
    fast, small = (budget._least(slice(column, column + 1)) for column in (0, 1))
    least = [budget.ratios([fast])[0, 0] * 1e6, budget.ratios([small])[0, 1] * 1e12]
    assert fast != small
    both = replace(
        budget,
        devices=(replace(device, budget_ms=1.0001 * least[0]),),
        max_params=1.0001 * least[1],
    )
    with pytest.raises(ConfigError, match="keeps all limits at once"):
        both.require_feasible()


def test_every_device_counts(budget, space):
    device = budget.devices[0]
    slow = DeviceBudget(device.predictor, 0.8 * device.budget_ms)
    both = replace(budget, devices=(device, slow))
    only = replace(budget, devices=(slow,))
    assert [both.fits(a) for a in every(space)] == [only.fits(a) for a in every(space)]
    assert both.latency_ratio(every(space)).shape == (space.size, 2)
    assert len(both.latencies(every(space)[0])) == 2
