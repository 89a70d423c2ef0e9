"""Encodes architectures of any parameter space as numbers, whatever the parameters mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.space.parameter_space import Choice, Selection, field

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Encoded:
    """Numeric encoding of n selections.

    A field is a parameter's name without what narrowed its choices (`nas.space.parameter_space`). A
    property is the last word of a field's name: ``s1.width`` and ``s2.width`` share ``width``.

    Attributes:
        ranks: rank of each field's value among its choices, 0 (smallest) to 1; 0 if the selection
            lacks the field, [n, fields].
        one_hot: one-hot value of each field; all 0 if the selection lacks it, [n, values].
        shared: for each property, the sum of the ranks of its fields; then, for each property, the
            number of its fields that the selection has, [n, 2 * properties].
    """

    ranks: NDArray[np.float64]
    one_hot: NDArray[np.float64]
    shared: NDArray[np.float64]


class Encoder:
    """Encodes selections by the fields and choices that occur in known ones.

    Args:
        selections: known selections. Fields and choices that do not occur in them are not encoded.

    Attributes:
        fields: number of fields.
    """

    def __init__(self, selections: Sequence[Selection[Any]]) -> None:
        choices: dict[str, set[Choice]] = {}
        for selection in selections:
            for name, offered in selection.offered.items():
                choices.setdefault(field(name), set()).update(offered)
        self._columns: dict[tuple[str, Choice], tuple[int, int, float]] = {}
        for place, (name, values) in enumerate(choices.items()):
            for rank, value in enumerate(sorted(values)):
                share = rank / max(1, len(values) - 1)
                self._columns[name, value] = (len(self._columns), place, share)
        self.fields = len(choices)
        properties = {name: name.rpartition(".")[2] for name in choices}
        order = {name: index for index, name in enumerate(dict.fromkeys(properties.values()))}
        self._properties = np.zeros((self.fields, len(order)))
        for place, name in enumerate(choices):
            self._properties[place, order[properties[name]]] = 1.0

    def encode(self, selections: Sequence[Selection[Any]]) -> Encoded:
        """Encode selections, see `Encoded`."""
        ranks = np.zeros((len(selections), self.fields))
        asked = np.zeros((len(selections), self.fields))
        one_hot = np.zeros((len(selections), len(self._columns)))
        for row, selection in enumerate(selections):
            for name, value in selection.params.items():
                known = self._columns.get((field(name), value))
                if known is not None:
                    column, place, share = known
                    one_hot[row, column] = asked[row, place] = 1.0
                    ranks[row, place] = share
        shared = np.hstack([ranks @ self._properties, asked @ self._properties])
        return Encoded(ranks, one_hot, shared)
