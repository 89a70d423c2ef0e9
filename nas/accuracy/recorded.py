"""The evaluator that looks up recorded accuracies of a benchmark or of an earlier study."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from nas.accuracy.evaluator import Evaluation, Evaluator, Request
from nas.errors import EvaluatorError
from nas.space.architecture import Architecture
from nas.system.text_files import parse_csv, read_text

A = TypeVar("A")


@dataclass(frozen=True, eq=False)
class ModelledAccuracy(Evaluator[A]):
    """Takes accuracies from a function, for architectures of any type.

    Attributes:
        accuracy: returns the accuracy of an architecture, 0..1 or in any other unit.
    """

    accuracy: Callable[[A], float]

    def evaluate(self, request: Request[A]) -> Evaluation:
        """Return the function's accuracy, as if training had taken no time."""
        return Evaluation(float(self.accuracy(request.architecture)), request.images)


@dataclass(frozen=True)
class RecordedAccuracy(Evaluator[Architecture]):
    """Looks up accuracies in a CSV file with the columns ``id`` and ``accuracy`` (0..1).

    ``id`` is `Architecture.id`. A column ``standard_error`` is read if it is there; other columns
    are ignored.

    Attributes:
        path: path of the file.
    """

    path: str
    _rows: dict[str, Evaluation] = field(default_factory=dict, compare=False, repr=False)

    def set_up(self) -> None:
        """Read the file.

        Raises:
            EvaluatorError: it cannot be read, or a row is wrong; names the line.
        """
        self._rows.clear()
        self._rows.update(read_recorded(Path(self.path)))

    def evaluate(self, request: Request[Architecture]) -> Evaluation:
        """Return the recorded accuracy.

        Raises:
            LookupError: the file has no row for the architecture.
        """
        name = request.architecture.id
        if name not in self._rows:
            raise LookupError(f"{self.path} has no accuracy of architecture {name}")
        return self._rows[name]


def read_recorded(path: Path) -> dict[str, Evaluation]:
    """Read a CSV file of accuracies; return one evaluation by each architecture's id.

    Raises:
        EvaluatorError: it cannot be read, lacks a column, or a row is wrong; names the line.
    """
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise EvaluatorError(f"{path}: recorded accuracies cannot be read: {said}") from None
    try:
        content = parse_csv(text)
    except ValueError as error:
        raise EvaluatorError(f"{path}:{error}") from None
    for column in ("id", "accuracy"):
        if column not in content.header:
            raise EvaluatorError(f"{path}:1: the column {column!r} is missing")
    found: dict[str, Evaluation] = {}
    for line, cells in content.rows:
        row, where = dict(zip(content.header, cells, strict=True)), f"{path}:{line}"
        name = row["id"].strip()
        if not name:
            raise EvaluatorError(f"{where}: the id is missing: add it, or delete the row")
        if name in found:
            raise EvaluatorError(f"{where}: a second row for {name}: delete one")
        accuracy = _number(row["accuracy"], where, "accuracy")
        error_text = row.get("standard_error")
        found[name] = Evaluation(
            accuracy,
            standard_error=_number(error_text, where, "standard_error") if error_text else None,
        )
    if not found:
        raise EvaluatorError(f"{path}: has no recorded accuracy")
    return found


def _number(text: str, where: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise EvaluatorError(f"{where}: {column} {text!r} is not a number from 0 to 1")
    return value
