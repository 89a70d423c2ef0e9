"""Tables with estimated rows: flagged, wider, and refused where there is too little."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from nas.errors import TableError
from nas.latency.predict.completion import with_interpolated
from nas.latency.predict.predictor import LatencyPredictor
from nas.space.workload import Workload
from tests.tiny import AT_64, made_up_ms, made_up_table, tiny_space


@pytest.fixture
def space(tmp_path):
    return tiny_space(tmp_path)


@pytest.fixture
def table(tmp_path, space):
    """Measured at 64 and at 128 pixels, so that each kind has a few rows."""
    small = made_up_table(tmp_path / "a", space, resolution=64)
    large = made_up_table(tmp_path / "b", space, resolution=128)
    return replace(small, blocks={**large.blocks, **small.blocks})


def test_missing_blocks_are_estimated_and_flagged(table, space):
    blocks = space.blocks(Workload.square(96))
    completed = with_interpolated(table, blocks)
    missing = set(table.missing(blocks))
    assert missing and set(completed.interpolated) == missing
    assert not completed.missing(blocks)
    assert completed.latency_kind == "estimated" and table.latency_kind == "predicted"
    assert f"{len(missing)} further blocks interpolated, not measured" in completed.provenance()
    for block in missing:
        row = completed.blocks[block]
        assert row.runs == 0
        assert row.latency_ms == pytest.approx(made_up_ms(block), rel=0.6)


def test_networks_with_estimated_blocks_have_wider_intervals(table, space):
    network = space.sample(random.Random(0))
    predictor = LatencyPredictor.fit(with_interpolated(table, space.blocks(Workload.square(96))))
    measured, estimated = (predictor.predict([network], Workload.square(size)) for size in (64, 96))

    def width(found):
        return float((found.high_ms / found.low_ms)[0])

    assert width(measured) == pytest.approx(predictor.error.factor() ** 2)
    assert width(estimated) > width(measured)
    assert estimated.low_ms[0] > 0


def test_nothing_missing_changes_nothing(table, space):
    assert with_interpolated(table, space.blocks(AT_64)) is table


def test_too_few_rows_are_refused(table, space):
    few = replace(table, blocks=dict(list(table.blocks.items())[:5]))
    with pytest.raises(TableError):
        with_interpolated(few, space.blocks(Workload.square(96)))
