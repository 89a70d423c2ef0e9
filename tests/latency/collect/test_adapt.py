"""Adapting a table to a new device, with real ONNX Runtime measurements."""

from __future__ import annotations

import itertools
import random
import shutil
from contextlib import nullcontext

import pytest

from nas.errors import TableError, TableWarning
from nas.latency.collect import adapt
from nas.latency.collect.adapt import adapt_table
from nas.latency.collect.tables import collect_table
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.catalog import own_key
from nas.latency.table.files import read_table
from tests.tiny import AT_64, made_up_table, tiny_space
from tests.unsteady import UnsteadyBench


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
    for count in (2, 101):
        with pytest.raises(TableError, match=f"--samples {count}: 3 to 100 networks"):
            adapt_table(tiny_space(tmp_path), "onnxruntime", count, tables_dir=tmp_path)


@pytest.fixture
def adapt_with(tmp_path, monkeypatch):
    """Adapts a table of the tiny space to this machine with an `UnsteadyBench`."""
    space = tiny_space(tmp_path)
    made_up_table(tmp_path / "tables", space, device="another-cpu-8c")

    def run(bench: UnsteadyBench):
        monkeypatch.setattr(adapt, "open_bench", lambda *_: nullcontext(bench))
        tables_dir = tmp_path / "tables"
        return adapt_table(space, "onnxruntime", 6, workload=AT_64, tables_dir=tables_dir)

    return run


def test_a_network_that_is_not_steady_is_left_out_with_a_warning(tmp_path, adapt_with):
    first = UnsteadyBench([], 0)
    table = adapt_with(first).table
    assert len(table.networks) == 6
    shutil.rmtree(table.path)
    with pytest.warns(TableWarning, match="2 of 6 networks are left out, as the machine"):
        table = adapt_with(UnsteadyBench(first.measured[2:4], times=1)).table
    assert {row.architecture for row in table.networks} == {*first.measured} - {
        *first.measured[2:4]
    }


def test_without_enough_steady_networks_no_table_is_made(tmp_path, adapt_with):
    first = UnsteadyBench([], 0)
    shutil.rmtree(adapt_with(first).table.path)
    with pytest.raises(TableError, match="4 of 6 networks are left out.* no table was made"):
        adapt_with(UnsteadyBench(first.measured[:4], times=1))
    assert [path.name for path in (tmp_path / "tables" / "onnxruntime").iterdir()] == [
        "another-cpu-8c.fp32.b1"
    ]


def test_sources_that_explain_nothing_make_no_table(tmp_path, adapt_with):
    bench = UnsteadyBench([], 0)
    scales = itertools.cycle([1.0, 1000.0])
    bench.scale = lambda: next(scales)
    with pytest.raises(TableError, match="do not explain the measured networks .* no table was"):
        adapt_with(bench)
