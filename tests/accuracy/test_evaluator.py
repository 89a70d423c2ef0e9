"""Evaluators by name: set up once a worker, errors kept, wrong ones refused before a search."""

from __future__ import annotations

import json
import pickle
import sys
import textwrap
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from nas.accuracy.evaluator import (
    Evaluation,
    EvaluationFailure,
    Evaluator,
    Request,
    evaluate_here,
    forget_set_up,
)
from nas.accuracy.evaluators import check_evaluator, make_evaluator, read_data
from nas.accuracy.recorded import ModelledAccuracy, RecordedAccuracy, read_recorded
from nas.accuracy.short_training import ShortTraining
from nas.accuracy.training import train_proxy
from nas.accuracy.user_function import UserFunction
from nas.config import SearchConfig
from nas.errors import ConfigError, DataError, EvaluatorError
from tests.accuracy.data.pictures import COLOURS, write_class
from tests.samples import TINY
from tests.tiny import TINY_PROXY, tiny_space


def evaluate_one(evaluator: Evaluator, one: Request) -> Evaluation | EvaluationFailure:
    (found,) = evaluate_here(evaluator, [one])
    return found


def request(images: int = 128, **changes) -> Request:
    return Request(TINY, images, seed=3, **changes)


@dataclass(frozen=True)
class Counting(Evaluator):
    """Counts how often it is set up; equal ones are one."""

    score: float
    seen = []  # noqa: RUF012  # shared on purpose

    def set_up(self) -> None:
        self.seen.append(self.score)

    def evaluate(self, request: Request) -> Evaluation:
        if self.score < 0:
            raise ValueError("a score below\nzero")
        if self.score > 1:
            raise DataError("no data")
        return Evaluation(self.score, request.images)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes modules that can be imported, and forgets them afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_an_evaluator_is_set_up_once_until_another_is_used():
    Counting.seen.clear()
    for score in (0.5, 0.5, 0.7, 0.5):
        assert evaluate_one(Counting(score), request()) == Evaluation(score, 128)
    assert Counting.seen == [0.5, 0.7, 0.5]


def test_several_requests_may_be_scored_at_once():
    found = Counting(0.5).evaluate_batch([request(10), request(20)])
    assert [evaluation.images for evaluation in found] == [10, 20]


def test_what_an_evaluator_raises_is_kept_but_what_concerns_all_ends_the_search():
    failure = evaluate_one(Counting(-1.0), request())
    assert isinstance(failure, EvaluationFailure)
    assert failure.message == "ValueError: a score below zero"
    assert "in evaluate" in failure.details
    with pytest.raises(DataError, match="no data"):
        evaluate_one(Counting(2.0), request())


class SilentError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SilentError(), "SilentError: (its text failed as well)"),
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit(), "GeneratorExit"),
        (MemoryError(), "out of memory, try fewer --workers (MemoryError)"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            "out of memory, try fewer --workers (RuntimeError: [enforce fail] DefaultCPUAllocator: "
            "can't allocate memory: you tried)",
        ),
    ],
)
def test_whatever_an_evaluator_raises_fails_the_evaluation(error, message):
    @dataclass(frozen=True)
    class Raising(Evaluator):
        def evaluate(self, request: Request) -> Evaluation:
            raise error

    failure = evaluate_one(Raising(), request())
    assert isinstance(failure, EvaluationFailure) and failure.message == message
    forget_set_up()


def test_short_training_is_what_the_training_loop_gives_and_is_sent_without_its_data():
    evaluator = ShortTraining(TINY_PROXY)
    found = evaluate_one(evaluator, request())
    (data,) = evaluator._data
    expected = train_proxy(TINY, data, TINY_PROXY, 3)
    assert isinstance(found, Evaluation)
    assert (found.score, found.images) == (expected.accuracy, 128)
    sent = pickle.dumps(evaluator)
    assert len(sent) < 1000 and pickle.loads(sent) == evaluator


def test_short_training_goes_on_from_its_rung(tmp_path):
    recipe = TINY_PROXY.model_copy(update={"train_images": 9 * 32})
    evaluator = ShortTraining(recipe, rungs=2)
    first = evaluate_one(evaluator, request(3 * 32, checkpoint_folder=str(tmp_path)))
    assert (tmp_path / f"{TINY.id}.pt").exists()
    second = evaluate_one(evaluator, request(9 * 32, checkpoint_folder=str(tmp_path)))
    whole = evaluate_one(evaluator, request(9 * 32, checkpoint_folder=str(tmp_path / "another")))
    assert (first.images, second.images) == (96, 288)
    assert second.score == whole.score


def test_recorded_accuracies_are_looked_up(tmp_path):
    path = tmp_path / "known.csv"
    path.write_text(f"id,accuracy,standard_error,note\n{TINY.id},0.75,0.01,x\nother,0.5,,\n")
    found = evaluate_one(RecordedAccuracy(str(path)), request())
    assert found == Evaluation(0.75, standard_error=0.01)
    assert read_recorded(path)["other"].standard_error is None
    path.write_text("id,accuracy\nother,0.5\n")
    forget_set_up()
    missing = evaluate_one(RecordedAccuracy(str(path)), request())
    assert isinstance(missing, EvaluationFailure) and TINY.id in missing.message


def test_a_model_of_accuracies_takes_architectures_of_any_kind():
    double = ModelledAccuracy(lambda number: number / 10)
    assert double.evaluate(Request(7, 100, seed=0)) == Evaluation(0.7, 100)


def test_a_users_function_may_return_a_number_or_an_evaluation(modules):
    modules(
        "mine",
        """
        import time
        import numpy as np
        from pathlib import Path
        from nas.accuracy.evaluator import Evaluation

        calls = []

        def number(request):
            time.sleep(0.01)
            return 0.5

        def evaluation(request):
            return Evaluation(0.6, 7, standard_error=0.02, weights="w.pt")

        def text(request):
            return "0.5"

        def nothing(request):
            return float("nan")

        def percent(request):
            return Evaluation(76.3)

        def sure(request):
            return Evaluation(0.5, standard_error=float("inf"))

        def fast(request):
            return Evaluation(0.5, seconds=-1.0)

        def ends(request):
            raise SystemExit("no data")

        def arrays(request):
            half = np.float32(0.5)
            path = Path("w")
            return Evaluation(half, np.int64(3), np.float64(2), standard_error=half, weights=path)

        number.set_up = lambda: calls.append(1)
        """,
    )
    for _ in range(2):
        found = evaluate_one(UserFunction("mine:number"), request())
        assert replace(found, seconds=0.0) == Evaluation(0.5, 128)
        assert 0.01 <= found.seconds < 10
    assert sys.modules["mine"].calls == [1]
    found = evaluate_one(UserFunction("mine:evaluation"), request())
    assert (found.images, found.standard_error, found.weights) == (7, 0.02, "w.pt")
    plain = Evaluation(0.5, 3, 2.0, standard_error=0.5, weights="w")
    assert json.dumps(asdict(evaluate_one(UserFunction("mine:arrays"), request()))) == json.dumps(
        asdict(plain)
    )
    for name, said in (
        ("text", "returned as accuracy a str"),
        ("nothing", "returned the accuracy nan"),
        ("percent", "returned the accuracy 76.3, which is not from 0 to 1"),
        ("sure", "returned as standard_error inf, not a number from 0 up"),
        ("fast", "returned as seconds -1, not a number from 0 up"),
        ("ends", "SystemExit: no data"),
    ):
        failure = evaluate_one(UserFunction(f"mine:{name}"), request())
        assert said in failure.message
    sent = pickle.loads(pickle.dumps(UserFunction("mine:number")))
    assert sent == UserFunction("mine:number")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nonsense", "unknown evaluator 'nonsense'"),
        ("no_such_module:f", "no_such_module"),
        ("broken:f", "importing broken failed: ZeroDivisionError"),
        ("fine:g", "unknown name 'g'"),
        ("fine:value", "is a int, not a function"),
        ("recorded:none.csv", "none.csv: recorded accuracies cannot be read"),
    ],
)
def test_an_evaluator_that_cannot_be_used_is_refused_before_a_search(tmp_path, modules, name, said):
    modules("broken", "1 / 0\n")
    modules("fine", "value = 1\n")
    config = SearchConfig(target="tensorrt", budget_ms=8.0, evaluator=name)
    with pytest.raises((ConfigError, EvaluatorError)) as caught:
        check_evaluator(config, tiny_space(tmp_path))
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_the_bonus_for_size_is_for_short_training_alone():
    training = SearchConfig(target="tensorrt", budget_ms=8.0)
    own = SearchConfig(target="tensorrt", budget_ms=8.0, evaluator="mine:f")
    asked_for = SearchConfig(target="tensorrt", budget_ms=8.0, evaluator="mine:f", size_bonus=0.01)
    assert training.size_bonus > 0 and own.size_bonus == 0 and asked_for.size_bonus == 0.01
    assert isinstance(make_evaluator(training), ShortTraining)
    assert isinstance(make_evaluator(own), UserFunction)


def test_data_that_change_while_a_search_runs_end_it(tmp_path, monkeypatch):
    """A worker that is started later reads the data again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "photos"
    for name, colour in COLOURS.items():
        write_class(root / name, colour)
    proxy = TINY_PROXY.model_copy(update={"data": f"imagefolder:{root}"})
    config = SearchConfig(target="tensorrt", budget_ms=8.0, proxy=proxy)
    data = read_data(config)
    evaluator = pickle.loads(pickle.dumps(make_evaluator(config, data.fingerprint)))
    evaluator.set_up()
    (root / "cat" / "000.png").unlink()
    with pytest.raises(
        DataError, match=r"has changed while the search ran \(it had 160 images and"
    ):
        evaluator.set_up()


def test_only_short_training_reads_data():
    own = SearchConfig(target="tensorrt", budget_ms=8.0, evaluator="mine:f")
    assert read_data(own) is None
    assert read_data(SearchConfig(target="tensorrt", budget_ms=8.0)).classes == 10
