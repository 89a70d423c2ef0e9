"""Adapting a table to a new device, with real ONNX Runtime measurements."""

from __future__ import annotations

import random

import pytest

from nas.errors import TableError
from nas.latency.collect.adapt import adapt_table
from nas.latency.collect.tables import collect_table
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.catalog import own_key
from nas.latency.table.files import read_table
from tests.tiny import AT_64, made_up_table, tiny_space


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapted")
    space = tiny_space(folder)
    made_up_table(folder / "tables", space, device="another-cpu-8c")
    result = adapt_table(space, "onnxruntime", 6, workload=AT_64, tables_dir=folder / "tables")
    return space, folder / "tables", result


@pytest.mark.slow
def test_makes_this_machines_table(adapted):
    space, _, result = adapted
    meta = result.table.meta
    assert meta.kind == "adapted"
    assert meta.folder == own_key("onnxruntime").folder
    assert result.table.latency_kind == "estimated"
    assert set(result.table.blocks) == set(space.blocks(AT_64))
    assert len(result.table.networks) == len(meta.relative_errors) == 6
    assert list(result.sources) == ["onnxruntime/another-cpu-8c.fp32.b1"]
    assert "another-cpu-8c" in result.table.provenance()
    networks = [space.sample(random.Random(seed)) for seed in range(10)]
    prediction = LatencyPredictor.fit(result.table).predict(networks, AT_64)
    assert (prediction.low_ms > 0).all() and (prediction.high_ms > prediction.low_ms).all()


@pytest.mark.slow
def test_an_adapted_table_is_neither_overwritten_nor_measured_further(adapted):
    space, tables_dir, result = adapted
    before = (result.table.path / "blocks.csv").read_bytes()
    with pytest.raises(TableError, match="is there already; delete the folder"):
        adapt_table(space, "onnxruntime", 6, workload=AT_64, tables_dir=tables_dir)
    with pytest.raises(TableError, match="was adapted, not measured; delete the folder"):
        collect_table(space, "onnxruntime", workload=AT_64, tables_dir=tables_dir)
    assert (result.table.path / "blocks.csv").read_bytes() == before
    assert read_table(result.table.path) == result.table


def test_without_other_tables_there_is_nothing_to_mix(tmp_path):
    with pytest.raises(TableError, match="measure it whole"):
        adapt_table(
            tiny_space(tmp_path),
            "onnxruntime",
            6,
            workload=AT_64,
            tables_dir=tmp_path,
        )


def test_too_few_samples_are_refused(tmp_path):
    with pytest.raises(TableError, match="--samples 2: at least 3"):
        adapt_table(tiny_space(tmp_path), "onnxruntime", 2, tables_dir=tmp_path)
