"""The evaluator that calls a user's own function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nas.accuracy.evaluator import Evaluation, Evaluator, Request
from nas.errors import EvaluatorError
from nas.space.architecture import Architecture
from nas.system.references import load_reference


@dataclass(frozen=True)
class UserFunction(Evaluator[Architecture]):
    """Scores by ``package.module:function``.

    The function takes a `Request` and returns the accuracy (0..1), or an `Evaluation`. If it has an
    attribute ``set_up``, that is called once in each worker, before the first evaluation.

    Attributes:
        reference: ``module:name`` of the function.
    """

    reference: str
    _function: list[Callable[[Request[Architecture]], Any]] = field(
        default_factory=list, compare=False, repr=False
    )

    def __reduce__(self) -> tuple[type[UserFunction], tuple[str]]:
        return UserFunction, (self.reference,)  # each worker imports it

    def set_up(self) -> None:
        """Import the function.

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
        """The accuracy that the function returns; its errors are not caught here.

        Raises:
            TypeError, ValueError: it returned neither an accuracy nor an `Evaluation`.
        """
        (function,) = self._function
        found = function(request)
        if not isinstance(found, Evaluation):
            found = Evaluation(_accuracy(found), request.images)
        if not found.diverged and not math.isfinite(found.score):
            raise ValueError(f"{self.reference} returned the score {found.score}")
        return found


def load_function(reference: str) -> Callable[[Request[Architecture]], Any]:
    """The function that a reference names.

    Raises:
        ConfigError: it cannot be imported.
        EvaluatorError: it cannot be called.
    """
    function = load_reference(reference, "--evaluator")
    if not callable(function):
        raise EvaluatorError(
            f"--evaluator {reference}: is a {type(function).__name__}, not a function"
        )
    return function  # type: ignore[no-any-return]


def _accuracy(value: Any) -> float:
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(
            f"the function returned a {type(value).__name__}, not an accuracy or an Evaluation"
        )
    return float(value)
