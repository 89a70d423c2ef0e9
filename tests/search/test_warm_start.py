"""A search that begins with what others have trained."""

from __future__ import annotations

import shutil
from dataclasses import replace

import optuna
import pytest

import nas
from nas.accuracy.data.fingerprint import DataFingerprint
from nas.api import resume, search
from nas.config import SearchConfig
from nas.errors import RunError
from nas.search import warm_start
from nas.search.store.run_folder import read_run
from nas.search.store.run_store import RunStore
from nas.search.warm_start import read_earlier
from nas.space.space_files import load_space
from tests.search.runs import THREADS, run_config
from tests.tiny import AT_64, TINY_PROXY


def test_a_warm_start_takes_over_what_was_trained_alike(finished, folder, tmp_path):
    earlier, _ = finished
    predictor = nas.LatencyPredictor.fit(
        nas.load_table("onnxruntime", tables_dir=folder / "tables")
    )
    high_ms = predictor.predict([c.architecture for c in earlier.candidates], AT_64).high_ms
    budget_ms = float(sorted(high_ms)[1]) * 1.001
    changes = {"sampler": "latency-aware", "warm_start": (str(earlier.run_dir),)}
    config = run_config(folder, budget_ms=budget_ms, trials=2, **changes)
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    known = {c.architecture: c.accuracy for c in earlier.candidates}
    taken = result.candidates[: result.imported]
    assert len(taken) >= 2  # others break the smaller budget
    assert {c.origin for c in taken} == {"searched"}
    accuracies = {c.architecture: c.accuracy for c in taken}
    inside = [a for a, ms in zip(known, high_ms, strict=True) if ms <= budget_ms]
    assert {a: known[a] for a in inside}.items() <= accuracies.items()
    assert len(result.candidates) == len(taken) + 2
    assert len({c.architecture for c in result.candidates}) == len(result.candidates)
    again = resume(tmp_path / "run", trials=3, tables_dir=folder / "tables", **THREADS)
    assert len(again.candidates) == len(taken) + 3


def test_a_warm_start_from_another_proxy_is_a_prior_alone(finished, folder, tmp_path):
    earlier, _ = finished
    other = TINY_PROXY.model_copy(update={"train_images": 64})
    config = run_config(
        folder, sampler="latency-aware", trials=1, proxy=other, warm_start=(str(earlier.run_dir),)
    )
    result = search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert len(result.candidates) == 1 and not result.imported
    study = optuna.load_study(
        study_name="search", storage=f"sqlite:///{tmp_path / 'run' / 'study.db'}"
    )
    kept = study.user_attrs["earlier"]
    assert {entry["accuracy"] for entry in kept} == {c.accuracy for c in earlier.candidates}
    assert len({entry["group"] for entry in kept}) == 1 and kept[0]["group"] > 0


def test_a_run_killed_while_it_reads_earlier_ones_reads_them_on_resume(
    finished, folder, tmp_path, monkeypatch
):
    earlier, _ = finished
    config = run_config(folder, trials=1, warm_start=(str(earlier.run_dir),))
    take_over = warm_start._import

    def killed(store, leaderboard, trial):
        if store.trials.read().trained():
            raise KeyboardInterrupt
        take_over(store, leaderboard, trial)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(warm_start, "_import", killed)
        search(config, tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    result = resume(tmp_path / "run", tables_dir=folder / "tables", **THREADS)
    assert result.imported == len(earlier.candidates) > 1
    assert len(result.candidates) == result.imported + 1


def test_what_stopped_at_a_rung_is_a_prior_of_its_own_kind(folder, tmp_path):
    proxy = TINY_PROXY.model_copy(update={"train_images": 9 * 32})
    rungs = run_config(folder, trials=6, rungs=2, proxy=proxy, sampler="latency-aware")
    earlier = search(rungs, tmp_path / "earlier", tables_dir=folder / "tables", **THREADS)

    def groups(**changes) -> set[int]:
        run = str(tmp_path / "earlier")
        config = rungs.model_copy(update={"warm_start": (run,), **changes})
        found = read_earlier(config, load_space(config.space))
        assert len(found) == len(earlier.candidates) + 6
        return {trial.group for trial in found}

    assert groups() == {0, -1}
    assert min(groups(rungs=1)) > 0
    assert groups(size_bonus=0.0) == {0, -1}
    assert min(groups(seed=1)) > 0 and len(groups(seed=1)) == 2


def test_a_warm_start_from_another_space_is_refused(finished, tmp_path):
    earlier, _ = finished
    config = SearchConfig(target="tensorrt", budget_ms=8.0, warm_start=(str(earlier.run_dir),))
    with pytest.raises(RunError, match=r"none of its \d trained .* space 'nextvit'"):
        search(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_warm_start_from_data_that_have_changed_is_a_prior_alone(finished, folder, tmp_path):
    earlier, _ = finished
    shutil.copytree(earlier.run_dir, tmp_path / "earlier")
    then = DataFingerprint("classes", 70, 20, 20, "paths", "sizes")
    config = read_run(tmp_path / "earlier")
    with RunStore.opened(tmp_path / "earlier", config) as store:
        store.notes.require_data(then, config.proxy.data)
    config = config.model_copy(
        update={"warm_start": (str(tmp_path / "earlier"),), "sampler": "latency-aware"}
    )

    def groups(data: DataFingerprint | None) -> set[int]:
        return {trial.group for trial in read_earlier(config, load_space(config.space), data)}

    assert groups(then) == groups(None) == {0}
    assert min(groups(replace(then, train=71))) > 0
