"""Searches with other evaluators than training: a user's function, recorded accuracies."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from typing import ClassVar

import pytest

from nas.accuracy.evaluator import Evaluation, Evaluator
from nas.api import resume, search
from nas.errors import EvaluatorError
from nas.report.score_wording import longer_text
from nas.report.wording import warnings
from nas.results.values import StopReason
from nas.search.callbacks import Listener
from nas.search.store.records import TrialStatus
from nas.search.store.run_store import RunStore
from nas.search.warm_start import read_earlier
from nas.space.space_files import load_space
from tests.search.conftest import every
from tests.search.runs import THREADS, run_config
from tests.tiny import tiny_space


@pytest.fixture
def places(folder):
    return {"tables_dir": folder / "tables", **THREADS}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Writes a module `mine` with the function `evaluate` of this body."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(body: str) -> str:
        sys.modules.pop("mine", None)
        text = f"def evaluate(request):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        (tmp_path / "mine.py").write_text(text)
        return "mine:evaluate"

    yield write
    sys.modules.pop("mine", None)


def test_a_users_function_ranks_the_candidates(folder, tmp_path, places, mine):
    evaluator = mine("return request.architecture.depth / 100")
    config = run_config(folder, trials=6, evaluator=evaluator)
    result = search(config, tmp_path / "run", **places)
    assert {c.score for c in result.candidates} == {
        c.architecture.depth / 100 for c in result.candidates
    }
    assert result.recommended.score == max(c.score for c in result.candidates)


def test_recorded_accuracies_make_a_search_that_trains_nothing(folder, tmp_path, places):
    networks = every(tiny_space(tmp_path))
    path = tmp_path / "known.csv"
    rows = (f"{n.id},{int(n.id, 16) % 1000 / 1000}" for n in networks)
    path.write_text("\n".join(["id,accuracy", *rows]) + "\n")
    config = run_config(folder, trials=8, finalists=4, evaluator=f"recorded:{path}")
    result = search(config, tmp_path / "run", **places)
    known = {n.id: int(n.id, 16) % 1000 / 1000 for n in networks}
    assert all(c.score == known[c.architecture.id] for c in result.candidates)
    assert len(result.candidates) == 8
    assert not any(c.longer for c in result.candidates) and result.unfinished_finalists is None


def test_what_a_function_raises_fails_its_trial_with_the_message(folder, tmp_path, places, mine):
    evaluator = mine(
        """
        if int(request.architecture.id, 16) % 2:
            raise RuntimeError(f"no {request.architecture.id}")
        return 0.5
        """
    )
    told = []
    config = run_config(folder, trials=6, evaluator=evaluator, seed=2)
    result = search(config, tmp_path / "run", listener=Listener(trained=told.append), **places)
    with RunStore.opened_for_reading(tmp_path / "run") as store:
        failed = store.trials.read().of(TrialStatus.FAILED)
    assert failed and all(
        record.message == f"RuntimeError: no {record.architecture.id}" for record in failed
    )
    assert [event.failure for event in told if event.failure] == [r.message for r in failed]
    assert result.failed == len(failed) and len(result.candidates) + len(failed) == 6


def test_three_failures_in_a_row_stop_a_search_of_nothing_with_an_error(
    folder, tmp_path, places, mine
):
    config = run_config(folder, trials=9, evaluator=mine("raise OSError('no camera')"))
    with pytest.raises(EvaluatorError) as caught:
        search(config, tmp_path / "run", **places)
    said = str(caught.value)
    assert "failed 3 times in a row" in said and "OSError: no camera" in said
    assert "--resume" in said and len(said.splitlines()) == 1
    mine("return 0.5")
    result = resume(tmp_path / "run", **places)
    assert len(result.candidates) == 6 and result.failed == 3


def test_three_failures_in_a_row_end_a_search_with_what_it_has(folder, tmp_path, places, mine):
    evaluator = mine(
        """
        from pathlib import Path
        import tempfile
        counter = Path(__file__).with_name("count")
        count = len(counter.read_text()) if counter.exists() else 0
        counter.write_text("x" * (count + 1))
        if count >= 2:
            raise ValueError("broken")
        return 0.5
        """
    )
    config = run_config(folder, trials=9, evaluator=evaluator)
    result = search(config, tmp_path / "run", **places)
    assert result.stopped is StopReason.EVALUATOR_FAILED
    assert len(result.candidates) == 2 and result.recommended
    assert (tmp_path / "run" / "report.html").exists()


def test_a_finalist_that_fails_keeps_its_message(folder, tmp_path, places, mine):
    evaluator = mine(
        """
        if request.images > 128:
            raise RuntimeError("no longer training")
        return 0.5
        """
    )
    config = run_config(folder, trials=4, finalists=2, evaluator=evaluator)
    result = search(config, tmp_path / "run", **places)
    failed = [c for c in result.candidates if c.longer]
    assert [c.longer.message for c in failed] == ["RuntimeError: no longer training"] * 2
    assert longer_text(failed[0]) == "failed when trained longer: RuntimeError: no longer training"
    assert "failed in the longer training of 2 finalists" in " ".join(warnings(result))
    again = resume(tmp_path / "run", **places)
    assert [c.longer for c in again.candidates] == [c.longer for c in result.candidates]


def test_a_finalist_that_failed_is_tried_again_once_by_a_resumed_run(
    folder, tmp_path, places, mine
):
    calls = tmp_path / "calls"
    failing = f"""
        if request.images > 128:
            open({str(calls)!r}, "a").write("x")
            raise RuntimeError("no longer training")
        return 0.5
        """
    config = run_config(folder, trials=2, finalists=2, evaluator=mine(failing))
    search(config, tmp_path / "run", **places)
    for _ in range(3):
        resume(tmp_path / "run", **places)
    assert calls.read_text() == "x" * 4
    search(config, tmp_path / "mended", **places)
    mine("return 0.6")
    mended = resume(tmp_path / "mended", **places)
    assert [c.longer.accuracy for c in mended.candidates] == [0.6, 0.6]


def test_a_warm_start_keeps_standard_errors_and_tells_workloads_apart(
    folder, tmp_path, places, mine
):
    """A function is given the workload, so that its accuracies may depend on it."""
    evaluator = mine(
        """
        from nas.accuracy.evaluator import Evaluation
        return Evaluation(0.5, request.images, standard_error=0.02)
        """
    )
    search(run_config(folder, trials=2, evaluator=evaluator), tmp_path / "earlier", **places)
    changes = {"evaluator": evaluator, "warm_start": (str(tmp_path / "earlier"),), "trials": 1}
    result = search(run_config(folder, **changes), tmp_path / "run", **places)
    assert result.imported == 2
    assert {candidate.standard_error for candidate in result.candidates} == {0.02}

    other = run_config(folder, **changes, num_classes=10, sampler="latency-aware")
    assert all(trial.group > 0 for trial in read_earlier(other, load_space(other.space)))


def test_rungs_need_no_checkpoint_of_a_function(folder, tmp_path, places, mine):
    evaluator = mine("return min(1.0, request.images / 10_000 + request.architecture.depth / 100)")
    config = run_config(folder, trials=6, evaluator=evaluator, rungs=2)
    result = search(config, tmp_path / "run", **places)
    assert result.recommended and result.partly_trained
    assert len(result.candidates) + len(result.partly_trained) == 6


def test_of_equal_accuracies_the_fastest_is_recommended(folder, tmp_path, places, mine):
    config = run_config(folder, trials=6, evaluator=mine("return 0.5"))
    result = search(config, tmp_path / "run", **places)
    fastest = min(c.latencies[0].latency_ms for c in result.candidates)
    assert result.recommended.latencies[0].latency_ms == fastest


@dataclass(frozen=True)
class Batches(Evaluator):
    """Scores up to four architectures at once; keeps how many they were."""

    batch_size: ClassVar[int] = 4
    sizes: ClassVar[list[int]] = []

    def evaluate(self, request):
        return Evaluation(request.architecture.depth / 100, request.images)

    def evaluate_batch(self, requests):
        self.sizes.append(len(requests))
        return [self.evaluate(request) for request in requests]


def test_an_evaluator_of_batches_is_given_several_at_once(folder, tmp_path, places, monkeypatch):
    monkeypatch.setattr("nas.search.loop.make_evaluator", lambda *_: Batches())
    config = run_config(folder, trials=9)
    result = search(config, tmp_path / "run", **places)
    assert len({c.architecture for c in result.candidates}) == 9
    assert Batches.sizes == [4, 4]  # the ninth is evaluated alone


def test_what_a_batch_raises_fails_all_of_it(folder, tmp_path, places, monkeypatch):
    def broken(_self, _requests):
        raise RuntimeError("no such tensor")

    monkeypatch.setattr("nas.search.loop.make_evaluator", lambda *_: Batches())
    monkeypatch.setattr(Batches, "evaluate_batch", broken)
    with pytest.raises(EvaluatorError, match="failed 3 times in a row.*no such tensor"):
        search(run_config(folder, trials=20), tmp_path / "run", **places)
    with RunStore.opened_for_reading(tmp_path / "run") as store:
        assert len(store.trials.read().of(TrialStatus.FAILED)) == 12
