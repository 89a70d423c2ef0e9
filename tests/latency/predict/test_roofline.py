"""The roofline fit finds the device that made the latencies."""

from __future__ import annotations

import random

import pytest

from nas.latency.predict.roofline import Roofline, fit_roofline
from nas.space.architecture_files import load_architecture
from nas.space.space_files import load_space
from nas.space.workload import Workload


def test_recovers_a_known_device():
    truth = Roofline(12.0, 0.2, 0.008, "fp16", 4)
    space, rng = load_space("nextvit"), random.Random(0)
    networks = [
        space.sample(rng, rng.uniform(-3, 3)).blocks(Workload.square(size))
        for size in (224, 384) * 6
    ]
    latency_ms = [sum(truth.block_ms(block) for block in blocks) for blocks in networks]
    fit = fit_roofline(networks, latency_ms, "fp16", 4)
    assert fit.peak_gflop_per_ms == pytest.approx(12.0, rel=0.02)
    assert fit.gbyte_per_ms == pytest.approx(0.2, rel=0.02)
    assert fit.overhead_ms == pytest.approx(0.008, rel=0.05)


def test_block_time_is_the_slower_of_arithmetic_and_traffic_plus_overhead():
    head = load_architecture("nextvit-small").blocks()[-1]
    no_arithmetic = Roofline(1e12, 0.001, 0.0, "fp32", 1)
    # Pooling reads 7x7x1024 and writes 1024; the classifier reads weights, input, writes 1000.
    values = 1024 * 49 + 1024 + (1024 * 1000 + 1000) + 1024 + 1000
    assert no_arithmetic.block_ms(head) == pytest.approx(4e-9 * values / 0.001)
    no_traffic = Roofline(1.0, 1e12, 0.5, "fp32", 1)
    assert no_traffic.block_ms(head) == pytest.approx(2 * 0.5 + 2e-9 * 1024 * 1000)
