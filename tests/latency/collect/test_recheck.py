"""Checking whether a table is still valid."""

from __future__ import annotations

import random

import pytest

from nas.errors import TableError
from nas.latency.collect.recheck import Recheck, recheck, unmeasured_networks
from nas.measurement.protocol import Timing
from tests.tiny import made_up_table, tiny_space


def _recheck(space, inside: int, count: int, outside_ms: float = 12.5) -> Recheck:
    rows = []
    for index in range(count):
        measured_ms = 10.0 if index < inside else outside_ms
        network = space.sample(random.Random(index))
        rows.append((network, (10.0, 9.0, 11.0), Timing(measured_ms, 0.5, 1.0, 30)))
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
    found = recheck(table, space, 5, 0)
    assert len(found.networks) == 5
    assert not found.holds


def test_a_table_without_networks_has_nothing_to_check(tmp_path):
    space = tiny_space(tmp_path)
    table = made_up_table(tmp_path / "tables", space)
    (table.path / "networks.csv").unlink()
    from nas.latency.table.files import read_table

    with pytest.raises(TableError, match="has no networks"):
        recheck(read_table(table.path), space, 5, 0)
