"""Which table the options mean."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.errors import TableError
from nas.latency.table.catalog import (
    changes,
    find_table,
    list_tables,
    load_table,
    measure_command,
    own_key,
    target_names,
    why_not_this_machine,
)
from nas.measurement.device import hardware, this_cpu
from nas.space.workload import Workload
from nas.system import folders
from tests.tiny import made_up_table, tiny_space


def test_targets_are_tables_and_runtimes():
    assert {"onnxruntime", "tensorrt", "coreml"} <= set(target_names())


def test_unknown_target_names_the_nearest():
    with pytest.raises(TableError, match="unknown target 'tensort': did you mean 'tensorrt'"):
        find_table("tensort")


def test_unknown_device_names_the_nearest():
    with pytest.raises(TableError, match="unknown device.*'nvidia-t3': did you mean 'nvidia-t4'"):
        find_table("tensorrt", device="nvidia-t3")


def test_no_table_of_these_options_names_those_there_are():
    with pytest.raises(TableError, match=r"--batch-size 4; there are: nvidia-t4\.fp16\.b8"):
        find_table("tensorrt", batch_size=4)


def test_own_table_comes_before_others(tmp_path):
    space = tiny_space(tmp_path)
    made_up_table(tmp_path / "tables", space, device="another-cpu-8c")
    assert find_table("onnxruntime", tables_dir=tmp_path / "tables") is None
    own = made_up_table(tmp_path / "tables", space)
    assert find_table("onnxruntime", tables_dir=tmp_path / "tables").path == own.path
    other = find_table("onnxruntime", "another-cpu-8c", tables_dir=tmp_path / "tables")
    assert other.meta.device == "another-cpu-8c"


def test_several_tables_ask_for_a_choice(tmp_path, monkeypatch):
    space = tiny_space(tmp_path)
    for device in ("one-cpu-8c", "two-cpu-8c"):
        made_up_table(tmp_path / "tables", space, device=device)
    monkeypatch.setattr("nas.latency.table.catalog.own_key", lambda *_: None)
    with pytest.raises(TableError, match="2 tables that fit.*choose one with --device"):
        find_table("onnxruntime", tables_dir=tmp_path / "tables")


def test_a_missing_own_table_names_the_command(tmp_path):
    with pytest.raises(TableError, match="tables measure --target onnxruntime"):
        load_table("onnxruntime", tables_dir=tmp_path)


def test_a_runtime_without_tables_that_cannot_run_here_says_why(tmp_path):
    with pytest.raises(TableError, match=r"no latency table for tensorrt.*cannot|can be measured"):
        find_table("tensorrt", tables_dir=tmp_path)


def test_another_device_without_a_table_is_said_to_be_another_one(tmp_path):
    with pytest.raises(TableError, match="no latency table for onnxruntime.*is not other-8c; meas"):
        find_table("onnxruntime", "other-8c", tables_dir=tmp_path)


def test_a_precision_the_runtime_lacks_is_refused():
    with pytest.raises(TableError, match="--precision fp16: target torch has fp32"):
        own_key("torch", "fp16")


def test_measure_command_names_what_is_not_the_default():
    key = own_key("onnxruntime", "fp16", 8)
    command = measure_command(key, "spaces/mine.yaml", Workload.square(256))
    assert command == (
        "python run_search.py tables measure --target onnxruntime --precision fp16 "
        "--batch-size 8 --space spaces/mine.yaml --resolution 256"
    )


@pytest.mark.parametrize("target", ["tensorrt", "coreml"])
def test_published_devices_cannot_be_verified(target):
    reason = why_not_this_machine(load_table(target))
    assert reason and len(reason.splitlines()) == 1


def test_only_the_own_table_is_verified(tmp_path):
    space = tiny_space(tmp_path)
    assert why_not_this_machine(made_up_table(tmp_path, space)) is None
    other = made_up_table(tmp_path, space, device="another-8c")
    assert changes(other.meta) is None
    assert why_not_this_machine(other) == "this machine is not a test device"


def test_another_thread_count_is_noticed(tmp_path):
    here = this_cpu()
    device = here.name.replace(f"-{here.threads}c", f"-{here.threads + 6}c")
    table = made_up_table(tmp_path, tiny_space(tmp_path), device=device)
    meta = table.meta.model_copy(update={"threads": here.threads + 6})
    said = f"threads {here.threads + 6}, now it is {here.threads}"
    assert said in changes(meta)
    assert said in why_not_this_machine(replace(table, meta=meta))


def test_another_cpu_quota_is_noticed(tmp_path):
    device = f"{hardware(this_cpu().name)}-{this_cpu().threads + 0.5:g}c"
    table = made_up_table(tmp_path, tiny_space(tmp_path), device=device)
    meta = table.meta.model_copy(update={"threads": this_cpu().threads})
    said = f"device {device}, now it is {this_cpu().name}"
    assert said in changes(meta)
    assert said in why_not_this_machine(replace(table, meta=meta))


def test_of_tables_of_one_name_the_first_folder_counts(tmp_path, monkeypatch):
    space = tiny_space(tmp_path)
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setattr(folders, "tables", lambda: (first, second))
    shipped = made_up_table(second, space)
    assert list_tables() == [shipped.path] and find_table("onnxruntime").path == shipped.path
    own = made_up_table(first, space)
    made_up_table(second, space, device="another-8c")
    assert [path.parents[1] for path in list_tables()] == [first, second]
    assert find_table("onnxruntime").path == own.path
    assert measure_command(own_key("onnxruntime"), tables_dir=second).count("--tables-dir") == 0
