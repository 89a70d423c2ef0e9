"""The interface between a search and the accuracy of its candidates.

A search knows nothing of training, supernets or data: it hands an `Evaluator` a `Request` and gets
an `Evaluation`. Evaluators are chosen by the name of ``--evaluator`` (`nas.accuracy.evaluators`).

An evaluator is sent to worker processes, so it must be picklable, and small: what is large (data,
weights) is loaded in `Evaluator.set_up`, once in each worker.
"""

from __future__ import annotations

import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from nas.errors import UserError, error_text
from nas.space.architecture import Architecture
from nas.space.workload import IMAGENET, Workload

A = TypeVar("A")


@dataclass(frozen=True)
class Request(Generic[A]):
    """One evaluation to do: the candidate, the fidelity and the seed.

    Attributes:
        architecture: the candidate.
        images: the fidelity: total number of images seen at the end of training. A candidate that
            was promoted from a rung has a checkpoint of fewer images to go on from.
        seed: seed of all random numbers.
        workload: the network to deploy; an evaluator may train at another size.
        accelerator: device to compute on: ``cpu``, ``cuda:0``, ...
        checkpoint_folder: folder of the checkpoint from which this training is resumed, and can be
            resumed later. Names of its files begin with `checkpoint_name`. None if the training is
            not done in rungs.
    """

    architecture: A
    images: int
    seed: int
    workload: Workload = IMAGENET
    accelerator: str = "cpu"
    checkpoint_folder: str | None = None


def checkpoint_name(architecture_id: str) -> str:
    """File name of an architecture's checkpoint."""
    return f"{architecture_id}.pt"


@dataclass(frozen=True)
class Evaluation:
    """Result of one evaluation.

    Attributes:
        score: accuracy, 0..1; the higher, the better.
        images: total number of images seen in training.
        seconds: duration of the evaluation.
        diverged: whether training was stopped because its loss exploded; the score is then void.
        standard_error: standard error of the score, where it is known.
        weights: path of the trained weights, where they are kept.
    """

    score: float
    images: int = 0
    seconds: float = 0.0
    diverged: bool = False
    standard_error: float | None = None
    weights: str | None = None


@dataclass(frozen=True)
class EvaluationFailure:
    """An evaluation that ended with an error.

    Attributes:
        message: one line with the type of the error and its text.
        details: the traceback.
        out_of_memory: whether the error was a lack of memory.
    """

    message: str
    details: str
    out_of_memory: bool = False


class Evaluator(ABC, Generic[A]):
    """Scores architectures.

    A subclass is a frozen dataclass of its settings: two evaluators of equal settings give equal
    scores, and a worker sets up only one of them.
    """

    needs_checkpoint: ClassVar[bool] = False
    """Whether a candidate can be promoted only if its checkpoint exists."""

    batch_size: ClassVar[int] = 1
    """Largest number of requests that one call of `evaluate_batch` is given."""

    def set_up(self) -> None:  # most evaluators need no set-up
        """Load what all evaluations share; each worker calls it once, before it evaluates."""

    @abstractmethod
    def evaluate(self, request: Request[A]) -> Evaluation:
        """Score one architecture.

        Raises:
            UserError: no architecture can be evaluated (data are missing, say): the search ends.
            Exception: this architecture cannot be evaluated: its trial fails.
        """

    def evaluate_batch(self, requests: Sequence[Request[A]]) -> list[Evaluation]:
        """Score several architectures; return the results in the order of the requests.

        Override it, and `batch_size`, to evaluate several architectures at once. An exception
        fails all of them.
        """
        return [self.evaluate(request) for request in requests]


_ready: dict[Evaluator[Architecture], Evaluator[Architecture]] = {}
"""The one evaluator that is set up in this process, by itself; empty if there is none."""

_ready_lock = threading.Lock()


def evaluate_here(
    evaluator: Evaluator[Architecture], requests: Sequence[Request[Architecture]]
) -> Sequence[Evaluation | EvaluationFailure]:
    """Evaluate in this process; set the evaluator up first unless an equal one is set up.

    Returns:
        One entry per request; an error fails all of them.

    Raises:
        UserError: see `Evaluator.evaluate`.
    """
    try:
        ready = _set_up_once(evaluator)
        found = (
            [ready.evaluate(requests[0])] if len(requests) == 1 else ready.evaluate_batch(requests)
        )
        if len(found) != len(requests):
            raise ValueError(
                f"evaluate_batch gave {len(found)} results for {len(requests)} requests"
            )
        return found
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # an evaluator may be anybody's code
        message, details = error_text(error), traceback.format_exc()[-10_000:]
        if _is_out_of_memory(error):
            message = f"out of memory, try fewer --workers ({message})"
        failure = EvaluationFailure(message, details, _is_out_of_memory(error))
        return [failure] * len(requests)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short: Python's error, or torch's, which is a RuntimeError on a CPU."""
    if isinstance(error, MemoryError):
        return True
    said = error_text(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in said or "can't allocate memory" in said
    )


def forget_set_up() -> None:
    """Make this process set evaluators up again, as the files they loaded may have changed."""
    with _ready_lock:
        _ready.clear()


def _set_up_once(evaluator: Evaluator[Architecture]) -> Evaluator[Architecture]:
    """Set the evaluator up and return it; return an equal one if that is set up already."""
    with _ready_lock:
        if evaluator not in _ready:
            evaluator.set_up()
            _ready.clear()  # data of another evaluator would stay in memory
            _ready[evaluator] = evaluator
        return _ready[evaluator]
