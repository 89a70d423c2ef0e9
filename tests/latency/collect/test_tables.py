"""Measuring a table with a real runtime, interrupting it, and resuming."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from nas.errors import RuntimeUnavailableError, TableError, TableWarning
from nas.latency.collect import tables as collect
from nas.latency.collect.tables import (
    CALIBRATION_NETWORKS,
    calibration_networks,
    collect_table,
    measure_networks,
    missing_for,
)
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.catalog import own_key
from nas.latency.table.files import read_table, write_meta
from nas.measurement.protocol import DECIDING_EFFORT
from nas.measurement.runtimes import RUNTIMES
from nas.space.space_files import load_space
from nas.system import folders
from tests.tiny import AT_64, made_up_table, narrow_space, tiny_space
from tests.unsteady import UnsteadyBench

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    space = tiny_space(folder)
    events = []
    table = collect_table(
        space,
        "onnxruntime",
        workload=AT_64,
        tables_dir=folder,
        progress=lambda *event: events.append(event),
    )
    return space, table, events


def test_measures_every_block_and_the_calibration_networks(measured):
    space, table, events = measured
    assert set(table.blocks) == set(space.blocks(AT_64))
    assert len(table.networks) == CALIBRATION_NETWORKS
    assert not missing_for(table, space, AT_64)
    assert events[-1] == ("networks", CALIBRATION_NETWORKS, CALIBRATION_NETWORKS)
    assert all(timing.runs >= 12 for timing in table.blocks.values())
    meta = table.meta
    assert meta.runtime_version and meta.threads and meta.reference_ms
    assert meta.folder == own_key("onnxruntime").folder


def test_predicts_networks_it_has_not_seen(measured):
    """A loose bound, as tests share the machine; benchmarks/latency_predictor.py has the claim."""
    space, table, _ = measured
    predictor = LatencyPredictor.fit(table)
    known = {row.architecture for row in table.networks}
    rng = random.Random(7)
    networks = [n for n in (space.sample(rng) for _ in range(30)) if n not in known][:4]
    timings = measure_networks(networks, table, AT_64)
    for network, timing in zip(networks, timings, strict=True):
        predicted = predictor.predict([network], AT_64).latency_ms[0]
        assert predicted == pytest.approx(timing.latency_ms, rel=0.5)


def test_networks_to_decide_by_are_measured_longest(measured, monkeypatch):
    _, table, _ = measured
    efforts = []
    real = collect.network_rows

    def network_rows(*args, effort):
        efforts.append(effort)
        return real(*args, effort=effort)

    monkeypatch.setattr(collect, "network_rows", network_rows)
    (timing,) = measure_networks([table.networks[0].architecture], table, AT_64)
    assert timing.latency_ms > 0 and efforts == [DECIDING_EFFORT]


def test_a_network_that_occurs_twice_is_measured_once(measured):
    _, table, _ = measured
    one, other = (row.architecture for row in table.networks[:2])
    events = []
    timings = measure_networks([one, other, one], table, AT_64, lambda *e: events.append(e))
    assert timings[0] == timings[2] != timings[1] and events[-1] == (2, 2)


def test_a_complete_table_is_not_measured_again(measured, tmp_path):
    space, table, _ = measured
    before = (table.path / "blocks.csv").read_bytes()
    again = collect_table(space, "onnxruntime", workload=AT_64, tables_dir=table.path.parents[1])
    assert again.blocks == table.blocks
    assert (table.path / "blocks.csv").read_bytes() == before


def test_a_table_of_another_version_or_thread_count_is_refused(measured, tmp_path):
    import shutil

    space, table, _ = measured
    for update, message in (
        ({"runtime_version": "0.9"}, "runtime version 0.9"),
        ({"threads": 99}, "threads 99"),
    ):
        folder = tmp_path / message.replace(" ", "-")
        shutil.copytree(table.path.parents[1], folder)
        path = folder / "onnxruntime" / table.meta.folder
        write_meta(path, table.meta.model_copy(update=update))
        with pytest.raises(TableError, match=message):
            collect_table(space, "onnxruntime", workload=AT_64, tables_dir=folder)


@pytest.mark.parametrize("version", [RUNTIMES["onnxruntime"].version(), "0.9"])
def test_a_table_that_is_only_read_is_completed_elsewhere(tmp_path, monkeypatch, version):
    space = tiny_space(tmp_path)
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    monkeypatch.setattr(folders, "tables", lambda: (own, shipped))
    monkeypatch.setattr(folders, "new_tables", lambda: own)
    table = made_up_table(shipped, space)
    threads = RUNTIMES["onnxruntime"].device().threads
    meta = table.meta.model_copy(update={"runtime_version": version, "threads": threads})
    write_meta(table.path, meta)
    before = {path: path.read_bytes() for path in table.path.iterdir()}
    begun = []
    monkeypatch.setattr(collect, "open_bench", lambda key, reference_ms: begun.append(reference_ms))
    if version == "0.9":  # new rows would not be comparable with those
        with pytest.raises(TypeError):  # for want of a bench
            collect_table(space, "onnxruntime", workload=AT_64)
        assert begun == [None]
    else:
        found = collect_table(space, "onnxruntime", workload=AT_64)
        assert found.path == own / "onnxruntime" / meta.folder
        assert found.blocks == read_table(table.path).blocks and not begun
    assert {path: path.read_bytes() for path in table.path.iterdir()} == before


@pytest.fixture
def collect_with(tmp_path, monkeypatch):
    """Collects a table of the tiny space with an `UnsteadyBench`."""

    def run(bench: UnsteadyBench):
        monkeypatch.setattr(collect, "open_bench", lambda *_: nullcontext(bench))
        space = tiny_space(tmp_path)
        return collect_table(space, "onnxruntime", workload=AT_64, tables_dir=tmp_path)

    return run


def test_a_block_that_is_steady_the_second_time_enters_the_table(tmp_path, collect_with):
    blocks = tiny_space(tmp_path).blocks(AT_64)
    bench = UnsteadyBench(blocks[3:5], times=1)
    table = collect_with(bench)
    assert set(table.blocks) == set(blocks)
    assert [bench.measured.count(block) for block in blocks[2:6]] == [1, 2, 2, 1]
    assert all(timing.steady for timing in table.blocks.values())


def test_a_block_that_is_never_steady_is_left_out_and_measured_by_the_next_run(
    tmp_path, collect_with
):
    *_, block = tiny_space(tmp_path).blocks(AT_64)
    with pytest.raises(TableError, match="1 blocks and 0 networks are left out, as the machine"):
        collect_with(UnsteadyBench([block], times=9))
    again = UnsteadyBench([], 0)
    assert block in collect_with(again).blocks
    assert again.measured == [block]


def test_a_network_that_is_not_steady_is_left_out_with_a_warning(tmp_path, collect_with):
    network = calibration_networks(tiny_space(tmp_path), CALIBRATION_NETWORKS)[5]
    with pytest.warns(TableWarning, match="0 blocks and 1 networks are left out"):
        table = collect_with(UnsteadyBench([network], times=1))
    assert len(table.networks) == CALIBRATION_NETWORKS - 1
    LatencyPredictor.fit(table)


def test_a_target_that_cannot_be_measured_says_so(tmp_path):
    with pytest.raises(RuntimeUnavailableError, match="unknown target 'npu'"):
        collect_table(tiny_space(tmp_path), "npu", tables_dir=tmp_path)


def test_calibration_networks_span_the_space():
    space = load_space("nextvit")
    networks = calibration_networks(space, 24)
    assert len(set(networks)) == 24
    assert networks == calibration_networks(space, 24)
    depths = [network.depth for network in networks]
    assert min(depths) <= 12 and max(depths) >= 24


@pytest.mark.slow
def test_killed_while_measuring_goes_on_and_keeps_every_row(tmp_path):
    space = narrow_space(tmp_path)
    command = [
        *(sys.executable, "-m", "tests.brief_bench", "tables", "measure"),
        *("--target", "onnxruntime"),
        *("--space", str(tmp_path / "narrow.yaml"), "--resolution", "64"),
        *("--tables-dir", str(tmp_path / "tables")),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    folder = tmp_path / "tables" / "onnxruntime" / own_key("onnxruntime").folder
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (folder / "blocks.csv").exists():
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.send_signal(signal.SIGKILL)
    process.wait()
    gone = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < gone, "what measured must end with what asked it to"
        time.sleep(0.1)
    kept = (folder / "blocks.csv").read_text()
    # A kill during a write can leave this behind.
    (folder / "blocks.csv").write_text(kept + "ncb,32,3")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr  # a busy machine's rows may not make a predictor
    table = read_table(folder)
    assert (folder / "blocks.csv").read_text().startswith(kept)
    assert not missing_for(table, space, AT_64)
