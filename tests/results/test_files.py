"""The files of a run: what they hold, for one device and for several."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pandas as pd
import pytest

import nas
from nas.errors import ArchitectureError, RunError, UserError
from nas.report.page import write_report
from nas.report.result_json import result_json
from nas.results.files import network_json, write_best, write_each, write_trials, writers_of
from nas.results.values import SearchResult, StopReason, UnfinishedFinalists
from nas.space.architecture_files import BEST_FORMAT
from tests.report.endings import CASES
from tests.report.makers import make_result, with_device_values
from tests.samples import TINY

EARLIER_RUN = Path(__file__).resolve().parents[1] / "golden" / "formats" / "run"

DEVICE_COLUMNS = (
    *("predicted_ms", "low_ms", "high_ms", "provenance"),
    *("measured_ms", "measured_ci_pct", "measured_spread_pct", "measured_runs", "front"),
)


def written_trials(result: SearchResult, folder: Path) -> pd.DataFrame:
    write_trials(result, folder / "trials.csv")
    assert [path.name for path in folder.iterdir()] == ["trials.csv"]
    return pd.read_csv(folder / "trials.csv")


def test_columns_are_named_by_target_with_one_device_too(tmp_path: Path) -> None:
    assert list(written_trials(make_result(), tmp_path)) == [
        *("number", "id", "origin", "accuracy", "score", "images"),
        *("longer_accuracy", "longer_score", "longer_images", "finalist_score"),
        *("standard_error", "weights"),
        *(f"onnxruntime_{column}" for column in DEVICE_COLUMNS),
        *("recommended", "gmacs", "mparams", "architecture"),
    ]


def test_a_row_is_what_the_result_says_of_a_candidate(tmp_path: Path) -> None:
    result = CASES["three-devices"]()
    assert result.recommended
    trials = written_trials(result, tmp_path)
    assert list(trials["number"]) == [c.number for c in result.candidates]
    (best,) = trials[trials["recommended"]].to_dict("records")
    assert best["id"] == result.recommended.architecture.id
    assert best["finalist_score"] == pytest.approx(result.recommended.finalist_score, abs=1e-5)
    for name, device in zip(result.device_names, result.devices, strict=True):
        assert list(trials.columns).count(f"{name}_predicted_ms") == 1
        latency = device.latency(result.recommended)
        assert best[f"{name}_predicted_ms"] == pytest.approx(latency.predicted.latency_ms, abs=1e-4)
        on_front = set(trials["number"][trials[f"{name}_front"]])
        assert on_front == {c.number for c in device.front}
        measured = trials[f"{name}_measured_ms"].notna()
        assert measured.any() == device.verified
        assert set(trials[f"{name}_provenance"]) == {device.provenance}


def test_partly_trained_candidates_are_rows_too(tmp_path: Path) -> None:
    result = make_result()
    *full, last = result.candidates
    partly = replace(last, number=0, images=2_000)
    result = replace(result, candidates=tuple(full), partly_trained=(partly,))
    assert written_trials(result, tmp_path).iloc[0][["number", "images"]].tolist() == [0, 2_000]


def test_a_run_without_candidates_has_the_columns(tmp_path: Path) -> None:
    trials = written_trials(CASES["none"](), tmp_path)
    assert len(trials) == 0 and "onnxruntime_predicted_ms" in trials


def test_names_of_devices_tell_them_apart() -> None:
    three = CASES["three-devices"]()
    first = "onnxruntime/xeon-8481c-2t"
    assert three.device_names == (first, "openvino", "onnxruntime/epyc-8c")
    half = with_device_values(three, 2, table_name=f"{first}.fp16.b1")
    assert half.device_names == (f"{first}.fp32.b1", "openvino", f"{first}.fp16.b1")


def test_best_json_has_a_latency_for_every_device(tmp_path: Path) -> None:
    result = CASES["three-devices"]()
    best = result.recommended
    assert best
    content = network_json(result, best)
    assert content["format"] == BEST_FORMAT
    assert [one["target"] for one in content["latencies"]] == [
        target.target for target in result.config.targets
    ]
    assert [one["budget_ms"] for one in content["latencies"]] == [15, 18, 60]
    assert [one["provenance"] for one in content["latencies"]] == [
        *("measured", "measured", "predicted"),
    ]
    assert content["latencies"][2]["batch_size"] == 8
    path = tmp_path / "best.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert nas.load_architecture(path) == best.architecture


def test_best_json_of_earlier_versions_is_read_and_of_later_ones_is_refused(
    tmp_path: Path,
) -> None:
    earlier = json.loads((EARLIER_RUN / "best.json").read_text(encoding="utf-8"))
    assert "format" not in earlier
    assert nas.load_architecture(EARLIER_RUN).id == earlier["id"]
    path = tmp_path / "best.json"
    for given, said in ((BEST_FORMAT + 1, "is newer than"), ("two", "is none")):
        path.write_text(json.dumps(earlier | {"format": given}), encoding="utf-8")
        with pytest.raises(ArchitectureError, match=said) as caught:
            nas.load_architecture(path)
        assert str(caught.value).startswith(f"{path}: format ")
        assert "\n" not in str(caught.value)


def test_json_of_a_result() -> None:
    result = replace(
        CASES["two-devices"](),
        stopped=StopReason.INTERRUPTED,
        unfinished_finalists=UnfinishedFinalists(2, 4, StopReason.TIME_LIMIT),
    )
    content = json.loads(json.dumps(result_json(result)))
    assert list(content) == [
        *("run_dir", "recommended", "devices", "trained", "partly_trained", "imported"),
        *("untrained", "failed", "wall_s", "stopped", "stopped_text", "unfinished_finalists"),
    ]
    assert content["stopped"] == StopReason.INTERRUPTED.value
    assert content["stopped_text"] == "interrupted; go on with --resume"
    unfinished = content["unfinished_finalists"]
    assert (unfinished["count"], unfinished["reason"]) == (2, StopReason.TIME_LIMIT.value)
    assert unfinished["text"].startswith("2 of 4 finalists were not trained longer: ")
    here, there = content["devices"]
    assert (here["target"], there["target"]) == ("onnxruntime", "coreml")
    assert here["verified"] and "measured whole" in here["note"]
    assert "not verified" in there["note"]
    assert [row["id"] for row in there["front"]] == [
        c.architecture.id for c in result.devices[1].front
    ]
    assert result_json(CASES["none"]())["recommended"] is None


@pytest.mark.slow
def test_a_device_of_another_batch_size_gets_its_own_model(tmp_path: Path) -> None:
    result = CASES["two-devices"]()
    target = result.devices[1].target.model_copy(update={"batch_size": 2})
    result = with_device_values(result, 1, target=target)
    write_best(result, tmp_path)
    batches = {}
    for path in tmp_path.glob("*.onnx"):
        (given,) = onnxruntime.InferenceSession(path).get_inputs()
        batches[path.name] = given.shape[0]
    assert batches == {"best.onnx": 1, "best.fp32.b2.onnx": 2}
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["latencies"][1]["batch_size"] == 2
    write_best(replace(result, recommended=None), tmp_path)
    assert not list(tmp_path.iterdir())


def small_result(folder: Path, **changes: object) -> SearchResult:
    """A result whose recommended network is written as ONNX in a moment."""
    result = make_result(run_dir=folder)
    assert result.recommended
    config = result.config.model_copy(update={"resolution": 64, "num_classes": 10})
    best = replace(result.recommended, architecture=TINY, **changes)
    return replace(result, config=config, recommended=best)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_best_json_has_these_entries(tmp_path: Path) -> None:
    write_best(small_result(tmp_path), tmp_path)
    best = json.loads((tmp_path / "best.json").read_text(encoding="utf-8"))
    assert list(best) == [
        *("format", "id", "accuracy", "score"),
        *("longer_accuracy", "longer_score", "longer_images", "finalist_score"),
        *("standard_error", "weights", "evaluator", "proxy_data", "latencies"),
        *("resolution", "num_classes", "architecture"),
    ]
    assert set(best["latencies"][0]) == {
        *("target", "device", "precision", "batch_size", "budget_ms", "throughput_img_s"),
        *("provenance", "measured_ms", "predicted_ms", "low_ms", "high_ms", "table", "source"),
    }
    model = onnx.load(tmp_path / "best.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["architecture_id"] == best["id"] == TINY.id


def test_best_that_is_written_again_removes_only_files_of_its_own(tmp_path: Path) -> None:
    own = {"best.fp16.b8.onnx", "best.fp32.b2.onnx"}
    users = {"best-int8.onnx", "best.trained.onnx", "best.onnx.data", "best.json.bak"}
    for name in own | users:
        (tmp_path / name).write_text("mine")
    write_best(small_result(tmp_path), tmp_path)
    assert names(tmp_path) == users | {"best.json", "best.onnx"}
    write_best(replace(small_result(tmp_path), recommended=None), tmp_path)
    assert names(tmp_path) == users


KILLED = """
import os, signal, sys
from pathlib import Path
from nas.results.files import write_best
from tests.results.test_files import small_result

replaced = Path.replace
def replace(self, target):
    if target.name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
    return replaced(self, target)
Path.replace = replace
folder = Path(sys.argv[1])
write_best(small_result(folder), folder)
"""


@pytest.mark.slow
@pytest.mark.parametrize("last", ["best.onnx", "best.json"])
def test_best_json_and_model_are_of_one_network_after_a_kill(tmp_path: Path, last: str) -> None:
    (tmp_path / "best.json").write_text('{"id": "old"}')
    (tmp_path / "best.onnx").write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path, last], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "best.json").exists()
    write_best(small_result(tmp_path), tmp_path)
    assert names(tmp_path) == {"best.json", "best.onnx"}
    assert nas.load_architecture(tmp_path) == TINY


def test_best_that_cannot_be_exported_leaves_the_old_files(tmp_path: Path) -> None:
    write_best(small_result(tmp_path), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    result = small_result(tmp_path)
    broken = result.config.model_copy(update={"resolution": 8})
    with pytest.raises(ArchitectureError):
        write_best(replace(result, config=broken), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["trials.csv", "best.json", "best.onnx", "report.html"])
def test_folder_in_place_of_a_file_is_one_line_and_the_other_files_are_written(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()

    def report() -> None:
        write_report(make_result(count=1), tmp_path / "report.html")

    with pytest.raises(RunError) as caught:
        write_each(tmp_path, [*writers_of(small_result(tmp_path)), report])
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / name}: cannot be written: Is a directory; ")
    assert said.endswith(f"with --resume {tmp_path}")
    written = {path.name for path in tmp_path.iterdir() if path.is_file()}
    together = {"best.json"} if name == "best.onnx" else set()
    assert written == {"trials.csv", "best.json", "best.onnx", "report.html"} - {name} - together


def test_write_each_goes_on_after_an_error_and_counts_them(tmp_path: Path) -> None:
    done = []

    def refused() -> None:
        raise UserError("needs onnxscript")

    def full() -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "report.html"))

    with pytest.raises(RunError) as caught:
        write_each(tmp_path, [full, refused, lambda: done.append(1)])
    said = f"{tmp_path / 'report.html'}: cannot be written: No space left on device (and 1 more); "
    assert str(caught.value).startswith(said) and done == [1]


def test_trials_with_a_path_that_is_not_utf_8_are_written(tmp_path: Path) -> None:
    result = make_result()
    first, *others = result.candidates
    first = replace(first, weights=os.fsdecode(b"r\xe4.pt"))
    trials = written_trials(replace(result, candidates=(first, *others)), tmp_path)
    assert "r\\udce4.pt" in set(trials["weights"])
