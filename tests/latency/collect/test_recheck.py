"""Checking whether a table is still valid."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from nas.errors import TableError
from nas.latency.collect.recheck import (
    Recheck,
    measured_workloads,
    recheck,
    unmeasured_networks,
)
from nas.latency.predict.intervals import ErrorSpread
from nas.latency.table.files import append_networks, read_table
from nas.measurement.protocol import Timing
from nas.space.workload import Workload
from tests.tiny import AT_64, made_up_table, tiny_space

SPREAD = ErrorSpread(own=0.015, freedom=20, shared=0.02)


def _recheck(space, *measured_ms: float, ci_pct: float = 0.5) -> Recheck:
    """Networks of which the table says 10 ms each."""
    rows = []
    for index, found_ms in enumerate(measured_ms):
        network = space.sample(random.Random(index))
        rows.append((network, (10.0, 9.6, 10.4), Timing(found_ms, ci_pct, 1.0, 30)))
    return Recheck(tuple(rows), SPREAD)


@pytest.mark.parametrize(
    ("measured_ms", "holds"),
    [
        ((10.1, 9.9, 10.2, 10.0, 9.8), True),
        ((10.4, 10.3, 10.5, 10.4, 10.2), True),  # a slower session
        ((11.0, 11.1, 10.9, 11.0, 11.1), False),  # more than sessions differ
        ((10.0, 10.6, 9.5, 10.0, 9.9), False),  # scattered
        ((10.3,), True),
        ((40.0,), False),
    ],
)
def test_a_table_is_rejected_when_its_errors_cannot_be_chance(measured_ms, holds, tmp_path):
    assert _recheck(tiny_space(tmp_path), *measured_ms).holds is holds


def test_a_valid_table_is_rejected_as_rarely_as_it_says(tmp_path):
    """Simulated sessions: both of the checks together reject about twice their level."""
    space, rng = tiny_space(tmp_path), np.random.default_rng(0)
    shared = rng.normal(0, SPREAD.shared, 1000)
    own = rng.normal(0, SPREAD.own, (1000, 5))
    rejected = [
        not _recheck(space, *(10 * np.exp(shared[n] + own[n]))).holds for n in range(len(shared))
    ]
    assert np.mean(rejected) <= 0.03


def test_on_a_busy_machine_a_table_cannot_be_judged(tmp_path):
    space = tiny_space(tmp_path)
    assert _recheck(space, 10.0).steady
    assert not _recheck(space, 10.0, ci_pct=150.0).steady


def test_every_image_size_of_a_table_is_verified(tmp_path):
    table = made_up_table(tmp_path / "tables", tiny_space(tmp_path))
    assert measured_workloads(table) == [AT_64]
    row = replace(table.networks[0], workload=Workload.square(96))
    append_networks(table.path, [row])
    assert measured_workloads(read_table(table.path)) == [AT_64, row.workload]


def test_inside_and_mean_error_are_those_of_the_networks(tmp_path):
    found = _recheck(tiny_space(tmp_path), 10.0, 12.5)
    assert found.inside == 1
    assert found.mean_error == pytest.approx(0.1)


def test_networks_are_new_to_the_table(tmp_path):
    space = tiny_space(tmp_path)
    table = made_up_table(tmp_path / "tables", space)
    networks = unmeasured_networks(table, space, 20, 0)
    assert len(networks) == 20
    assert not {row.architecture for row in table.networks} & set(networks)
    assert networks == unmeasured_networks(table, space, 20, 0)
    assert networks != unmeasured_networks(table, space, 20, 1)


@pytest.mark.slow
def test_a_made_up_table_does_not_hold(tmp_path):
    """Its rows are calculated, so real ONNX Runtime measurements contradict them."""
    space = tiny_space(tmp_path)
    table = made_up_table(tmp_path / "tables", space)
    found = recheck(table, space, 5, 0, AT_64)
    assert len(found.networks) == 5
    assert not found.holds


def test_a_table_without_networks_has_nothing_to_check(tmp_path):
    space = tiny_space(tmp_path)
    table = made_up_table(tmp_path / "tables", space)
    (table.path / "networks.csv").unlink()
    with pytest.raises(TableError, match="has no networks"):
        measured_workloads(read_table(table.path))
