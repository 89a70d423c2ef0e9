"""`tables ...`, `predict` and `measure` as their user runs them."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from nas.cli import main
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.catalog import list_tables
from nas.latency.table.files import read_table, write_meta
from nas.measurement import protocol
from nas.measurement.runtimes import RUNTIMES
from nas.space.architecture_files import load_architecture
from nas.system import folders
from tests.samples import TINY
from tests.tiny import AT_64, made_up_table, tiny_space

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(capsys):
    """Runs a command; returns its exit code and what it printed, errors included."""

    def call(*arguments: object) -> tuple[int, str]:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out + captured.err

    return call


@pytest.fixture
def tables(tmp_path):
    """A folder with a complete table of this machine, calculated."""
    made_up_table(tmp_path / "tables", tiny_space(tmp_path))
    return tmp_path / "tables"


def _reshape(path):
    """An ONNX file that loads, and fails when it is run with the inputs it is given."""
    given = [
        helper.make_tensor_value_info("images", TensorProto.FLOAT, [2, 3]),
        helper.make_tensor_value_info("shape", TensorProto.INT64, [2]),
    ]
    made = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["a", "b"])
    node = helper.make_node("Reshape", ["images", "shape"], ["out"])
    graph = helper.make_graph([node], "reshape", given, [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def _relu(path, shape):
    """An ONNX file of one operator; a string is a dimension left open."""
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)
    node = helper.make_node("Relu", ["images"], ["out"])
    graph = helper.make_graph([node], "relu", [given], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def test_runtimes_lists_every_target_with_what_is_missing(run):
    code, text = run("tables", "runtimes")
    assert code == 0
    assert set(RUNTIMES) <= set(text.split())
    assert "yes, version" in text and "pip install" in text


def test_a_runtime_upgrade_is_noticed(run, tables):
    """The calculated table says it was measured with version 1.0."""
    for command in (
        ("tables", "list"),
        ("tables", "show"),
        ("predict", tables.parent / "tiny.json", "--target", "onnxruntime", "--resolution", 64),
    ):
        (tables.parent / "tiny.json").write_text(
            json.dumps(tiny_space(tables.parent).sample(random.Random(0)).to_json())
        )
        code, text = run(*command, "--tables-dir", tables)
        assert code == 0, text
        assert "runtime version 1.0, now it is" in text


def test_one_broken_table_hides_no_others(run, tables):
    broken = tables / "openvino" / "x-2c.fp32.b1"
    broken.mkdir(parents=True)
    (broken / "meta.json").write_text("{")
    for command in ("list", "show"):
        code, text = run("tables", command, "--tables-dir", tables)
        assert code == 2
        assert "24 networks" in text and "x-2c.fp32.b1/meta.json: not readable as JSON" in text


@pytest.mark.parametrize("factor", [1000, 0.001])
@pytest.mark.parametrize("files", [("networks",), ("blocks",), ("blocks", "networks")])
def test_a_table_in_another_unit_is_refused(run, tables, files, factor):
    (path,) = (tables / "onnxruntime").iterdir()
    for name in files:
        lines = (path / f"{name}.csv").read_text().splitlines(keepends=True)
        changed = [lines[0]]
        for line in lines[1:]:
            *before, latency_ms, ci, spread, runs, reference = line.rsplit(",", 5)
            scaled = f"{float(latency_ms) * factor:.9f}"
            changed.append(",".join([*before, scaled, ci, spread, runs, reference]))
        (path / f"{name}.csv").write_text("".join(changed))
    code, text = run("tables", "show", "--tables-dir", tables)
    assert code == 2 and "ms" in text and len(text.splitlines()) == 1


def test_predict_says_where_the_milliseconds_go(run, tables):
    network = tiny_space(tables.parent).sample(random.Random(0))
    path = tables.parent / "net.json"
    path.write_text(json.dumps(network.to_json()))
    code, text = run(
        *("predict", path, "--target", "onnxruntime", "--resolution", 64, "--tables-dir", tables)
    )
    assert code == 0
    assert "ms predicted (90% interval" in text
    lines = [line.split() for line in text.splitlines() if line.startswith("  ")]
    total = float(text.split(" ms predicted")[0].split()[-1])
    assert sum(float(line[0]) for line in lines) == pytest.approx(total, abs=0.02)
    assert len(lines) == len(network.blocks(AT_64)) + 1


def test_predict_of_a_file_whose_name_is_not_utf_8(run, tables, tmp_path):
    network = tmp_path / os.fsdecode(b"r\xe4.json")
    space = tiny_space(tmp_path)
    network.write_text(json.dumps(space.sample(random.Random(0)).to_json()))
    options = ("--target", "onnxruntime", "--resolution", "64", "--tables-dir", tables)
    code, text = run("predict", network, *options)
    assert code == 0 and f"{tmp_path}/r\\udce4.json at 64 pixels: " in text


def test_predict_of_a_block_that_was_not_measured(run, tables):
    path = tables.parent / "net.json"
    path.write_text(json.dumps(TINY.to_json()))
    arguments = ("predict", path, "--target", "onnxruntime", "--resolution", 64)
    code, text = run(*arguments, "--tables-dir", tables)
    assert code == 2 and "--interpolate" in text and len(text.splitlines()) == 1
    # The tiny table has too few of a kind.
    code, text = run(*arguments, "--tables-dir", tables, "--interpolate")
    assert code == 2 and "needs at least 2" in text and len(text.splitlines()) == 1


def test_predict_estimates_what_the_committed_table_lacks(run):
    arguments = ("--target", "onnxruntime", "--device", "amd-epyc-model17-2c", "--resolution", 256)
    code, text = run("predict", "nextvit-small", *arguments, "--interpolate")
    assert code == 0
    assert "ms estimated" in text and "  interpolated" in text
    assert "an estimate; to replace it, measure on the device" in text
    assert "tables measure --target onnxruntime --resolution 256" in text


def test_verify_refuses_tables_of_other_machines(run, tables):
    code, text = run("tables", "verify", "tensorrt/nvidia-t4.fp16.b8")
    assert code == 2 and "cannot be verified here" in text
    code, text = run("tables", "verify", "onnxruntime/nonesuch.fp32.b1", "--tables-dir", tables)
    assert code == 2 and "unknown table" in text


@pytest.mark.slow
def test_verify_measures_and_rejects_a_wrong_table(run, tables):
    (path,) = (tables / "onnxruntime").iterdir()
    name = f"onnxruntime/{path.name}"
    space = tables.parent / "tiny.yaml"
    code, text = run(
        *("tables", "verify", name, "--networks", 4, "--space", space, "--tables-dir", tables)
    )
    assert code == 1
    assert "at 64 pixels no longer holds" in text
    assert "networks inside their 90% interval" in text


@pytest.mark.slow
def test_measure_any_model(run, tmp_path):
    path = _relu(tmp_path / "relu.onnx", [1, 3, 64, 64])
    code, text = run("measure", path, "--target", "onnxruntime", "--json")
    assert code == 0
    found = json.loads(text)
    assert found["latency_ms"] > 0 and found["runs"] > 0 and found["reference_ms"] > 0
    assert found["inputs"] == {"images": [1, 3, 64, 64]}
    assert found["target"] == "onnxruntime" and found["runtime_version"] and found["sha256"]
    assert list(found) == [
        *("file", "sha256", "inputs", "target", "runtime_version", "device"),
        *("device_description", "threads", "precision", "overhead_ms", "date"),
        *("latency_ms", "ci_pct", "spread_pct", "runs", "reference_ms", "steady"),
    ]
    code, text = run(
        *("measure", _relu(tmp_path / "open.onnx", ["n", 3, "h", "w"])),
        *("--target", "onnxruntime", "--shape", "images=2x3x32x32"),
    )
    assert code == 0 and "images 2x3x32x32" in text and "ms measured" in text


@pytest.mark.slow
def test_measure_on_a_busy_machine_says_so(run, tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_CI_PCT", -1.0)  # as if no interval were narrow enough
    path = _relu(tmp_path / "relu.onnx", [1, 3, 8, 8])
    code, text = run("measure", path, "--target", "onnxruntime")
    assert code == 0 and "ms measured while the machine was too busy (95% interval" in text
    assert "measure it again when the machine does less" in text
    code, text = run("measure", path, "--target", "onnxruntime", "--json")
    assert code == 0 and json.loads(text)["steady"] is False


@pytest.mark.slow
def test_measure_keeps_to_the_users_file_whatever_its_name(run, tmp_path):
    found = []
    for name in ("mine.onnx", "reference.onnx", "empty.onnx"):
        code, text = run(
            *("measure", _relu(tmp_path / name, [1, 3, 512, 512])),
            *("--target", "onnxruntime", "--json"),
        )
        assert code == 0
        found.append(json.loads(text)["latency_ms"])
    assert max(found) < 3 * min(found)  # an empty model, or the reference block, is far from that


@pytest.mark.slow
def test_a_model_that_fails_when_it_runs_is_one_line(run, tmp_path):
    code, text = run("measure", _reshape(tmp_path / "m.onnx"), "--target", "onnxruntime")
    assert code == 2 and "cannot run m.onnx" in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("shape", "arguments", "expected"),
    [
        (["n", 3, "h", "w"], (), "leaves the shape of input 'images' open"),
        ([1, 3, 8, 8], ("--shape", "image=1x3x8x8"), "unknown input 'image': did you mean"),
        ([1, 3, 8, 8], ("--shape", "images=1x3x9x8"), "is made for 8 in dimension 2, not 9"),
        ([1, 3, 8, 8], ("--shape", "images=1x3"), "has 4 dimensions there, not 2"),
        ([1, 3, 8, 8], ("--shape", "images"), "write for example"),
        ([1, 3, 8, 8], ("--target", "onnxruntim"), "did you mean 'onnxruntime'"),
        ([1, 3, 8, 8], ("--target", "torch"), "does not run ONNX files"),
    ],
)
def test_measure_mistakes_are_one_line(run, tmp_path, shape, arguments, expected):
    path = _relu(tmp_path / "model.onnx", shape)
    target = () if "--target" in arguments else ("--target", "onnxruntime")
    code, text = run("measure", path, *target, *arguments)
    assert code == 2 and expected in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x09\x12"])
def test_measure_refuses_what_is_no_model(run, tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    code, text = run("measure", path, "--target", "onnxruntime")
    assert code == 2 and len(text.splitlines()) == 1
    code, text = run("measure", tmp_path, "--target", "onnxruntime")
    assert code == 2 and "cannot be read" in text


def test_measure_takes_a_name_that_is_not_utf_8(run, tmp_path):
    path = tmp_path / os.fsdecode(b"r\xe4.onnx")
    _relu(tmp_path / "relu.onnx", [1, 3, 64, 64])
    (tmp_path / "relu.onnx").rename(path)
    code, text = run("measure", path, "--target", "onnxruntime")
    assert code == 0 and "r\\xe4.onnx: " in text, text


def test_adapted_tables_say_so(run, tables):
    (path,) = (tables / "onnxruntime").iterdir()
    from nas.latency.table.files import read_table

    table = read_table(path)
    errors = tuple(0.01 * (index % 3 - 1) for index in range(len(table.networks)))
    update = {"kind": "adapted", "source": "a/b, c/d", "relative_errors": errors}
    write_meta(path, table.meta.model_copy(update=update))
    code, text = run("tables", "show", "--tables-dir", tables)
    assert code == 0
    assert "estimated from 24 networks measured on" in text and "a/b, c/d" in text
    assert "an estimate; to replace it, delete " in text


def test_tables_show_prints_the_leave_one_out_error(capsys):
    assert main(["tables", "show", "tensorrt/nvidia-t4.fp16.b8"]) == 0
    text = capsys.readouterr().out
    match = re.search(r"leave-one-out error on its 9 networks: mean (\d\.\d)%", text)
    assert match and float(match[1]) <= 4.0
    assert "estimated from 9 published latencies of an NVIDIA T4" in text
    assert "tables measure --target tensorrt" in text
    assert main(["tables", "list"]) == 0
    assert "coreml/iphone12-pro-max.fp16.b1" in capsys.readouterr().out


def test_tables_show_an_empty_folder(capsys, tmp_path):
    assert main(["tables", "show", "--tables-dir", str(tmp_path)]) == 0
    assert "tables measure" in capsys.readouterr().out


def test_published_tables_that_are_cut_short_or_misplaced(refused, tmp_path):
    tables = tmp_path / "tables"
    shutil.copytree(folders.shipped_tables() / "tensorrt", tables / "tensorrt")
    (table,) = (tables / "tensorrt").iterdir()
    rows = (table / "networks.csv").read_text().splitlines(keepends=True)
    predict = ["predict", "nextvit-small", "--target", "tensorrt", "--tables-dir", str(tables)]
    (table / "networks.csv").write_text("".join(rows[:3]))
    assert "has 2 whole networks, the predictor needs at least 5" in refused(*predict)
    (table / "networks.csv").write_text("".join([*rows, rows[-1]]))
    assert f"networks.csv:{len(rows) + 1}: a second row for the network" in refused(*predict)
    (table / "networks.csv").write_text("".join(rows))
    table.rename(table.with_name("nvidia-t5.fp16.b8"))
    assert "describes 'tensorrt/nvidia-t4.fp16.b8', its folder is" in refused(*predict)


def test_tables_folders_that_are_none(refused, tmp_path):
    predict = ["predict", "nextvit-small", "--target", "tensorrt"]
    missing = str(tmp_path / "none")
    assert "no such folder" in refused(*predict, "--tables-dir", missing)
    assert "no such folder" in refused("tables", "list", "--tables-dir", missing)
    (tmp_path / "file").write_text("")
    assert "is no folder" in refused(*predict, "--tables-dir", str(tmp_path / "file"))


def test_names_that_look_like_markup_are_printed_as_they_are(tmp_path, capsys):
    path = tmp_path / "[bold]a[wrong].json"
    path.write_text(json.dumps(load_architecture("nextvit-small").to_json()))
    assert main(["predict", str(path), "--target", "tensorrt"]) == 0
    assert "[bold]a[wrong].json" in capsys.readouterr().out.replace("\n", "")


def test_predicting_does_not_load_torch():
    code = (
        "import sys; from nas.cli import main; "
        "code = main(['predict', 'nextvit-base', '--target', 'tensorrt']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "ms estimated" in text
    assert "tables measure --target tensorrt" in text


def test_tables_that_come_with_the_project_are_readable():
    tables = [read_table(path) for path in list_tables(folders.shipped_tables())]
    assert {"coreml", "onnxruntime", "tensorrt"} <= {table.meta.target for table in tables}
    for table in tables:
        assert len(LatencyPredictor.fit(table).relative_errors) == len(table.networks)
