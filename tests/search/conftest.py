"""Budgets and studies on a small space whose latencies are calculated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from nas.accuracy.data import digits
from nas.api import search
from nas.latency.predict.predictor import LatencyPredictor
from nas.results.values import SearchResult
from nas.search import verification
from nas.search.callbacks import Listener, Trained
from nas.search.limits import Budget, DeviceBudget
from nas.space.search_space import SearchSpace
from tests.search.runs import OTHER_DEVICE, THREADS, Device, Run, run_config
from tests.tiny import AT_64, made_up_table, tiny_space


@pytest.fixture(scope="module", autouse=True)
def few_digits() -> Iterator[None]:
    """A tenth of the images, in this process: most of a tiny training is its validation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "IMAGES", {split: n // 10 for split, n in digits.IMAGES.items()})
        digits.render_digits.cache_clear()
        yield
    digits.render_digits.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def no_session_measurement() -> Iterator[None]:
    """The networks of a table are not measured once more: `test_session.py` tests that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "SESSION_NETWORKS", 10**6)  # no table has so many
        yield


@pytest.fixture
def space(tmp_path: Path) -> SearchSpace:
    return tiny_space(tmp_path)


@pytest.fixture
def predictor(tmp_path: Path, space: SearchSpace) -> LatencyPredictor:
    return LatencyPredictor.fit(made_up_table(tmp_path / "tables", space))


@pytest.fixture
def budget(space: SearchSpace, predictor: LatencyPredictor) -> Budget:
    """A budget that about half of the space fits."""
    values = sorted(predictor.predict(list(every(space)), AT_64).high_ms)
    return Budget(space, (DeviceBudget(predictor, float(values[len(values) // 2])),), AT_64)


@pytest.fixture
def run(budget: Budget, tmp_path: Path) -> Run:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    return Run(study, budget, tmp_path / "run")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny space, and its tables of this machine and of another."""
    folder = tmp_path_factory.mktemp("search")
    space = tiny_space(folder)
    made_up_table(folder / "tables", space)
    made_up_table(folder / "tables", space, device=OTHER_DEVICE)
    return folder


@pytest.fixture
def device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Measures in place of this machine."""
    made = Device(folder / "tables")
    monkeypatch.setattr("nas.search.verification.measure_networks", made.measure)
    return made


@pytest.fixture(scope="session")
def finished(folder: Path) -> tuple[SearchResult, list[Trained]]:
    """A search that is over and was measured here, and what was told about its trainings.

    Tests copy the run before they go on with it.
    """
    trained: list[Trained] = []
    result = search(
        run_config(folder, device=None),
        folder / "run",
        tables_dir=folder / "tables",
        listener=Listener(trained=trained.append),
        **THREADS,
    )
    return result, trained


def every(space: SearchSpace):
    """All architectures of a small space, by following neighbours from the first."""
    seen = {space.build_from({})}
    frontier = list(seen)
    while frontier:
        found = {n for a in frontier for n in space.neighbours(a)} - seen
        seen |= found
        frontier = list(found)
    assert len(seen) == space.size
    return sorted(seen, key=lambda a: a.id)
