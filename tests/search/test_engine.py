"""Whole searches: real training in real worker processes, real SQLite, real ONNX Runtime."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import onnxruntime
import optuna
import pandas as pd
import pytest
from PIL import Image

import nas
from nas.accuracy.data.dataset import load_data
from nas.accuracy.evaluator import evaluate_here
from nas.accuracy.fidelity import rung_images
from nas.accuracy.training import ProxyTraining
from nas.api import resume, search
from nas.config import SearchConfig
from nas.errors import ConfigError, RunError, TableError
from nas.latency.table.catalog import own_key
from nas.report.wording import headline
from nas.results.values import StopReason
from nas.search.callbacks import Listener
from nas.search.store.run_folder import read_run
from nas.space.architecture_files import load_architecture
from nas.system.lock import locked
from tests.search.runs import OTHER_DEVICE, THREADS, run_config
from tests.tiny import TINY_PROXY, narrow_space


def test_trains_what_was_asked_for_within_budget(finished):
    result, trained = finished
    totals = [event.total for event in trained]
    # It goes on by one, at most twice, where this machine is not as its table says.
    assert totals == [4, 4, 4, 4, 5, 6][: len(totals)]
    assert len(result.candidates) == len(trained) == totals[-1]
    assert all(c.latencies[0].predicted.latency_ms <= 0.9 for c in result.candidates[:4])
    assert [event.done for event in trained] == list(range(1, len(trained) + 1))
    assert trained[0].on_front
    assert result.stopped is None and result.wall_s > 0


def test_files_of_a_run(finished):
    result, _ = finished
    trials = pd.read_csv(result.run_dir / "trials.csv")
    assert len(trials) == len(result.candidates)
    assert trials["onnxruntime_front"].sum() == len(result.devices[0].front)
    assert set(trials["id"]) == {c.architecture.id for c in result.candidates}
    assert read_run(result.run_dir) == result.config
    assert (result.run_dir / "report.html").stat().st_size > 1e6
    if result.recommended:
        best = load_architecture(result.run_dir)
        assert best == result.recommended.architecture
        session = onnxruntime.InferenceSession(result.run_dir / "best.onnx")
        (given,) = session.get_inputs()
        assert given.shape == [1, 3, 64, 64]
        (logits,) = session.run(None, {given.name: np.zeros(given.shape, np.float32)})
        assert logits.shape == (1, 1000)
    names = {path.name for path in result.run_dir.iterdir()}
    best = {"best.json", "best.onnx"} if result.recommended else set()
    assert names == {"config.yaml", "study.db", "trials.csv", "report.html", ".lock"} | best


def test_the_study_is_ordinary_optuna(finished):
    result, _ = finished
    with sqlite3.connect(result.run_dir / "study.db") as database:
        assert database.execute("select study_name from studies").fetchall() == [("search",)]
    study = optuna.load_study(
        study_name="search", storage=f"sqlite:///{result.run_dir / 'study.db'}"
    )
    assert study.directions == [
        optuna.study.StudyDirection.MAXIMIZE,
        optuna.study.StudyDirection.MINIMIZE,
    ]
    complete = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    assert {trial.number for trial in complete} == {c.number for c in result.candidates}


def test_resume_adds_trials_and_keeps_the_finished(finished, folder, tmp_path):
    result, _ = finished
    shutil.copytree(result.run_dir, tmp_path / "run")
    told: list[tuple[int, int]] = []
    more = resume(
        tmp_path / "run",
        trials=7,
        tables_dir=folder / "tables",
        listener=Listener(training=lambda *counts: told.append(counts)),
        **THREADS,
    )
    assert told == [(len(result.candidates), 7), (7, 9), (9, 11)][: len(told)]
    assert len(more.candidates) == told[-1][1]
    before = {(c.number, c.architecture, c.accuracy) for c in result.candidates}
    assert before <= {(c.number, c.architecture, c.accuracy) for c in more.candidates}
    assert read_run(tmp_path / "run").trials == 7


def test_the_public_function_is_the_search(folder, tmp_path):
    result = nas.search(
        run_config(folder, trials=1), tmp_path / "run", tables_dir=folder / "tables"
    )
    assert isinstance(result, nas.SearchResult)
    assert callable(importlib.import_module("nas.search"))


def test_an_estimated_target_searches_anywhere(folder, tmp_path):
    result = search(
        run_config(folder, target="tensorrt", device=None, budget_ms=8, trials=1), tmp_path / "run"
    )
    (device,) = result.devices
    assert not device.verified
    assert device.provenance == "estimated"
    assert "tables measure --target tensorrt" in device.replace_command
    assert device.target.batch_size == 8


def test_without_measuring_a_missing_table_names_the_command(folder, tmp_path):
    with pytest.raises(TableError, match="tables measure --target onnxruntime"):
        search(
            run_config(folder, device=None),
            tmp_path / "run",
            measure_table=False,
            tables_dir=tmp_path / "none",
        )
    assert not (tmp_path / "run").exists()


def test_a_table_that_lacks_blocks_says_how_many_and_names_some(folder, tmp_path):
    with pytest.raises(TableError) as caught:
        search(
            run_config(folder, device=None, space="nextvit", resolution=224, budget_ms=15),
            tmp_path / "run",
            measure_table=False,
            tables_dir=folder / "tables",
        )
    text = str(caught.value)
    assert "lacks 313 of the 313 blocks of space 'nextvit' at 224 pixels" in text
    assert "head 512->1000 at 7x7" in text
    assert "python run_search.py tables measure --target onnxruntime" in text


def test_a_missing_table_is_measured_first(folder, tmp_path):
    events = []
    narrow_space(tmp_path)
    path = str(tmp_path / "narrow.yaml")
    result = search(
        run_config(folder, device=None, space=path, trials=1, budget_ms=50),
        tmp_path / "run",
        tables_dir=tmp_path / "tables",
        listener=Listener(measuring=lambda *event: events.append(event)),
        **THREADS,
    )
    assert events
    assert result.devices[0].provenance == "predicted" and result.devices[0].verified


def test_two_devices_keep_both_budgets(folder, tmp_path):
    here = {"target": "onnxruntime", "budget_ms": 0.9, "device": own_key("onnxruntime").device}
    there = {"target": "onnxruntime", "budget_ms": 0.75, "device": OTHER_DEVICE}
    values = run_config(folder, trials=5, sampler="latency-aware").model_dump()
    config = SearchConfig(**{**values, "targets": [here, there]})
    told: list[tuple[int, int]] = []
    listener = Listener(training=lambda *counts: told.append(counts))
    places = {"tables_dir": folder / "tables", "listener": listener, **THREADS}
    result = search(config, tmp_path / "run", **places)
    assert told == [(0, 5), (5, 7), (7, 9)][: len(told)]
    assert [device.target.budget_ms for device in result.devices] == [0.9, 0.75]
    assert len(result.candidates) == told[-1][1]
    for device in result.devices:
        limit_ms = device.target.budget_ms
        assert all(device.latency(c).predicted.high_ms <= limit_ms for c in result.candidates)
    assert [device.verified for device in result.devices] == [True, False]
    trials = pd.read_csv(tmp_path / "run" / "trials.csv")
    names = result.device_names
    assert {f"{name}_{what}" for name in names for what in ("predicted_ms", "front")} <= set(trials)
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert [latency["budget_ms"] for latency in best["latencies"]] == [0.9, 0.75]
    assert len(read_run(tmp_path / "run").targets) == 2
    assert len(resume(tmp_path / "run", tables_dir=folder / "tables").devices) == 2
    page = (tmp_path / "run" / "report.html").read_text()
    assert 'id="pareto-1"' in page and 'id="pareto-2"' in page


def test_the_same_device_twice_is_refused(folder, tmp_path):
    twice = {"target": "onnxruntime", "budget_ms": 0.9}
    values = {**run_config(folder).model_dump(), "targets": [twice, twice]}
    with pytest.raises(ConfigError, match="given twice for the same device"):
        search(SearchConfig(**values), tmp_path / "run", tables_dir=folder / "tables")


def test_rungs_train_the_best_in_full_as_if_without_a_stop(folder, tmp_path):
    heard = []
    proxy = TINY_PROXY.model_copy(update={"train_images": 9 * 16, "batch_size": 16})
    config = run_config(folder, trials=9, rungs=2, proxy=proxy, sampler="latency-aware")
    places = {"tables_dir": folder / "tables", "listener": Listener(trained=heard.append)}
    result = search(config, tmp_path / "run", **places, **THREADS)
    full, partly = result.candidates, result.partly_trained
    assert len(full) + len(partly) == 9 and 3 <= len(full) <= 5
    assert {c.images for c in full} == {9 * 16} and {c.images for c in partly} == {3 * 16}
    assert len(heard) == 9 + len(full) and heard[-1].at_rung == (9, len(full))
    assert [event.done for event in heard] == sorted(event.done for event in heard)
    assert set(result.devices[0].front) <= set(full)
    data = load_data(proxy)
    for candidate in full:
        rungs = rung_images(proxy.train_images, config.rungs)
        whole = ProxyTraining(candidate.architecture, data, proxy, config.seed, rungs)
        whole.run()
        assert candidate.accuracy == whole.result().accuracy
    trials = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert trials["images"].value_counts().to_dict() == {144: len(full), 48: len(partly)}
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_run_of_before_bonus_and_finalists_goes_on_without_them(finished, tmp_path):
    result, _ = finished
    content = result.config.model_dump(mode="json")
    del content["size_bonus"], content["finalists"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert read_run(tmp_path).size_bonus == read_run(tmp_path).finalists == 0


def test_rungs_shorter_than_some_batches_are_refused(folder, tmp_path):
    wrong = r"--rungs 3: the first would end after 14 images.* 3 batches of 32"
    with pytest.raises(ConfigError, match=wrong):
        search(run_config(folder, rungs=3), tmp_path / "run", tables_dir=folder / "tables")
    assert not (tmp_path / "run").exists()


def test_a_killed_run_with_rungs_goes_on_from_its_checkpoints(folder, tmp_path, monkeypatch):
    proxy = TINY_PROXY.model_copy(update={"train_images": 27 * 32})
    config = run_config(folder, trials=6, rungs=3, proxy=proxy)

    def killed(evaluator, requests):
        if any(request.images == 27 * 32 for request in requests):
            raise KeyboardInterrupt
        return evaluate_here(evaluator, requests)

    monkeypatch.setattr("nas.search.trial_runner.evaluate_here", killed)
    places = {"tables_dir": folder / "tables"}
    stopped = search(config, tmp_path / "run", **places, **THREADS)
    assert stopped.stopped is StopReason.INTERRUPTED and not stopped.candidates
    assert list((tmp_path / "run" / "checkpoints").glob("*.pt"))
    assert "no candidate was trained in full" in headline(stopped)
    monkeypatch.undo()
    result = resume(tmp_path / "run", **places, **THREADS)
    assert len(result.candidates) + len(result.partly_trained) == 6
    assert result.recommended and not (tmp_path / "run" / "checkpoints").exists()


def test_a_run_is_repeated_by_its_configuration(folder, tmp_path):
    """Also in another process, whose strings hash otherwise."""
    proxy = TINY_PROXY.model_copy(update={"train_images": 48, "batch_size": 16})
    config = run_config(folder, trials=11, sampler="latency-aware", proxy=proxy)
    first = search(config, tmp_path / "first", tables_dir=folder / "tables")
    code = (
        "import sys, nas\n"
        "from pathlib import Path\n"
        "from nas.search.store.run_folder import read_run\n"
        "if __name__ == '__main__':\n"
        "    first, second, tables = map(Path, sys.argv[1:])\n"
        "    nas.search(read_run(first), second, tables_dir=tables)\n"
    )
    script = tmp_path / "again.py"
    script.write_text(code)
    arguments = [tmp_path / "first", tmp_path / "second", folder / "tables"]
    subprocess.run([sys.executable, script, *arguments], check=True, capture_output=True)
    second = resume(tmp_path / "second", tables_dir=folder / "tables")
    assert read_run(tmp_path / "second") == read_run(tmp_path / "first")
    trained = [[(c.architecture, c.accuracy) for c in run.candidates] for run in (first, second)]
    assert trained[0][:11] == trained[1][:11]


def test_a_space_changed_under_a_run_is_refused(folder, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text((folder / "tiny.yaml").read_text())
    config = run_config(folder, trials=1, space=str(path))
    search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    path.write_text(path.read_text().replace("ncb_width: [64, 96]", "ncb_width: [96]"))
    with pytest.raises(RunError, match="'mine' has changed since this run was begun"):
        resume(tmp_path / "run", tables_dir=folder / "tables")


def test_data_are_reported_once_and_refused_when_they_change_under_a_run(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(70):
            image = Image.new("RGB", (8, 8), (number, 0, 0))
            image.save(tmp_path / "photos" / name / f"{number}.png")
    proxy = TINY_PROXY.model_copy(update={"data": f"imagefolder:{tmp_path / 'photos'}"})
    config = run_config(folder, trials=1, proxy=proxy)
    places = {"tables_dir": folder / "tables"}
    told: list[str] = []
    listener = Listener(data=lambda data: told.append(data.text))
    search(config, tmp_path / "run", **places, **THREADS, listener=listener)
    assert told == ["2 classes, images: 100 train, 20 val, 20 test"]
    shutil.copy(tmp_path / "photos" / "cat" / "0.png", tmp_path / "photos" / "cat" / "new.png")
    with pytest.raises(RunError, match=r"has changed .*it had 140 images and has 141"):
        resume(tmp_path / "run", trials=2, **places, **THREADS)
    (tmp_path / "photos" / "cat" / "new.png").unlink()
    again = resume(tmp_path / "run", trials=2, **places, **THREADS)
    assert len(again.candidates) == 2


def test_a_run_begun_with_relative_paths_goes_on_from_anywhere(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    config = run_config(folder, trials=1, space="tiny.yaml")
    search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    monkeypatch.chdir(tmp_path)
    again = resume(tmp_path / "run", trials=2, tables_dir=folder / "tables", **THREADS)
    assert again.config.trials == 2


def test_a_run_is_never_overwritten(finished, folder):
    result, _ = finished
    config = (result.run_dir / "config.yaml").read_text()
    with pytest.raises(RunError, match="already holds a run: go on with --resume"):
        search(run_config(folder), result.run_dir, tables_dir=folder / "tables")
    assert (result.run_dir / "config.yaml").read_text() == config


def test_one_run_is_worked_on_once(finished, folder):
    result, _ = finished
    with (
        locked(result.run_dir, RunError, "working on this run"),
        pytest.raises(RunError, match="another process is working on this run"),
    ):
        resume(result.run_dir, tables_dir=folder / "tables")


def test_a_search_into_a_folder_with_files_is_refused_before_anything_is_spent(folder, tmp_path):
    mine = tmp_path / "project" / "checkpoints" / "epoch90.pth"
    mine.parent.mkdir(parents=True)
    mine.write_text("weights")
    told: list[str] = []
    places = {"tables_dir": folder / "tables", "listener": Listener(stage=told.append)}
    with pytest.raises(RunError, match="is not empty, it holds 'checkpoints'"):
        search(run_config(folder), tmp_path / "project", **places)
    assert told == [] and mine.read_text() == "weights"
    assert [path.name for path in mine.parents[1].iterdir()] == ["checkpoints"]


def test_a_finished_run_without_its_study_is_not_begun_anew(finished, folder, tmp_path):
    result, _ = finished
    shutil.copytree(result.run_dir, tmp_path / "run")
    (tmp_path / "run" / "study.db").write_bytes(b"")
    with pytest.raises(RunError, match=r"study\.db: is empty, but trials\.csv beside it"):
        resume(tmp_path / "run", tables_dir=folder / "tables")
    for name in ("trials.csv", "report.html", "config.yaml"):
        assert (tmp_path / "run" / name).read_bytes() == (result.run_dir / name).read_bytes()


def test_a_configuration_edited_by_hand_is_refused_and_left_alone(finished, folder, tmp_path):
    result, _ = finished
    shutil.copytree(result.run_dir, tmp_path / "run")
    file = tmp_path / "run" / "config.yaml"
    file.write_text(edited := file.read_text().replace("batch_size: 32", "batch_size: 16"))
    with pytest.raises(RunError, match=r"proxy\.batch_size has changed from 32 to 16 since"):
        resume(tmp_path / "run", tables_dir=folder / "tables")
    assert file.read_text() == edited


@pytest.mark.parametrize("name", ["100%2F?#{x}", os.fsdecode(b"r\xe4")])
def test_a_run_in_a_folder_of_any_name_is_whole_and_goes_on(folder, tmp_path, name):
    shutil.copyfile(folder / "tiny.yaml", tmp_path / f"{name}.yaml")
    config = run_config(folder, trials=1, space=str(tmp_path / f"{name}.yaml"), sampler="random")
    places = {"tables_dir": folder / "tables", **THREADS}
    search(config, tmp_path / name, **places)
    result = resume(tmp_path / name, trials=2, **places)
    assert len(result.candidates) == 2
    whole = {"config.yaml", "study.db", "trials.csv", "report.html", "best.json", "best.onnx"}
    assert {path.name for path in (tmp_path / name).iterdir()} - {".lock"} == whole
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}.yaml"}
    assert load_architecture(tmp_path / name) == result.recommended.architecture
