"""Checking whether a table is still valid."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from nas.errors import TableError
from nas.latency.collect.recheck import (
    Recheck,
    measured_workloads,
    recheck,
    unmeasured_networks,
)
from nas.latency.table.files import append_networks, read_table
from nas.measurement.protocol import Timing
from nas.space.workload import Workload
from tests.tiny import AT_64, made_up_table, tiny_space


def _recheck(
    space, inside: int, count: int, outside_ms: float = 12.5, ci_pct: float = 0.5
) -> Recheck:
    rows = []
    for index in range(count):
        measured_ms = 10.0 if index < inside else outside_ms
        network = space.sample(random.Random(index))
        rows.append((network, (10.0, 9.0, 11.0), Timing(measured_ms, ci_pct, 1.0, 30)))
    return Recheck(tuple(rows))


@pytest.mark.parametrize(("inside", "holds"), [(5, True), (4, True), (3, True), (2, False)])
def test_a_table_is_rejected_when_misses_cannot_be_chance(inside, holds, tmp_path):
    found = _recheck(tiny_space(tmp_path), inside, 5)
    assert found.inside == inside
    assert found.holds is holds


def test_a_table_that_is_far_off_is_rejected_however_few_were_measured(tmp_path):
    space = tiny_space(tmp_path)
    assert not _recheck(space, 2, 3, outside_ms=40.0).holds
    assert not _recheck(space, 0, 1, outside_ms=40.0).holds


def test_on_a_busy_machine_a_table_cannot_be_judged(tmp_path):
    space = tiny_space(tmp_path)
    assert _recheck(space, 5, 5).steady
    assert not _recheck(space, 5, 5, ci_pct=150.0).steady


def test_every_image_size_of_a_table_is_verified(tmp_path):
    table = made_up_table(tmp_path / "tables", tiny_space(tmp_path))
    assert measured_workloads(table) == [AT_64]
    row = replace(table.networks[0], workload=Workload.square(96))
    append_networks(table.path, [row])
    assert measured_workloads(read_table(table.path)) == [AT_64, row.workload]


def test_mean_error(tmp_path):
    assert _recheck(tiny_space(tmp_path), 1, 2).mean_error == pytest.approx(0.1)


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
