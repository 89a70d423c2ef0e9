"""The evaluator that calls a user's own function."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from nas.accuracy.evaluator import Evaluation, Evaluator, Request
from nas.errors import EvaluatorError
from nas.space.architecture import Architecture
from nas.system.references import load_reference


@dataclass(frozen=True)
class UserFunction(Evaluator[Architecture]):
    """Scores architectures with a user's function, named ``package.module:function``.

    The function takes a `Request` and returns the accuracy (0..1), or an `Evaluation`. If it has an
    attribute ``set_up``, that is called once in each worker, before the first evaluation.

    Attributes:
        reference: name of the function: ``package.module:function``.
    """

    reference: str
    _function: list[Callable[[Request[Architecture]], Any]] = field(
        default_factory=list, compare=False, repr=False
    )

    def __reduce__(self) -> tuple[type[UserFunction], tuple[str]]:
        return UserFunction, (self.reference,)  # each worker imports it

    def set_up(self) -> None:
        """Import the function, and call its ``set_up`` if it has one.

        Raises:
            ConfigError: it cannot be imported.
            EvaluatorError: it is not a function.
        """
        function = load_function(self.reference)
        prepare = getattr(function, "set_up", None)
        if prepare is not None:
            prepare()
        self._function[:] = [function]

    def evaluate(self, request: Request[Architecture]) -> Evaluation:
        """Call the function; its errors are not caught here.

        The evaluation has the seconds that the call took, unless the function returned its own.

        Raises:
            TypeError, ValueError: it returned neither an accuracy (0..1) nor an `Evaluation`.
        """
        (function,) = self._function
        began_s = time.perf_counter()
        found = function(request)
        took_s = time.perf_counter() - began_s
        if not isinstance(found, Evaluation):
            found = Evaluation(_number(found, "accuracy"), request.images)
        checked = _checked(found)
        return checked if checked.seconds else replace(checked, seconds=took_s)


def load_function(reference: str) -> Callable[[Request[Architecture]], Any]:
    """Import the function that ``package.module:function`` names.

    Raises:
        ConfigError: it cannot be imported.
        EvaluatorError: the name is not that of a function.
    """
    function = load_reference(reference, "--evaluator")
    if not callable(function):
        raise EvaluatorError(
            f"--evaluator {reference}: is a {type(function).__name__}, not a function"
        )
    return function  # type: ignore[no-any-return]


def _checked(found: Evaluation) -> Evaluation:
    """Check an evaluation, and return it with Python's own numbers, as files store no others.

    Raises:
        TypeError, ValueError: an entry is not a number, or out of range.
    """
    error, weights = found.standard_error, found.weights
    score = _number(found.score, "accuracy")
    if not found.diverged and not 0 <= score <= 1:
        raise ValueError(f"the function returned the accuracy {score:g}, which is not from 0 to 1")
    return Evaluation(
        score=score,
        images=int(_amount(found.images, "images")),
        seconds=_amount(found.seconds, "seconds"),
        diverged=bool(found.diverged),
        standard_error=None if error is None else _amount(error, "standard_error"),
        weights=None if weights is None else os.fspath(weights),
    )


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise TypeError(f"the function returned as {what} a {type(value).__name__}, not a number")
    return float(value)


def _amount(value: Any, what: str) -> float:
    number = _number(value, what)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"the function returned as {what} {number:g}, not a number from 0 up")
    return number
