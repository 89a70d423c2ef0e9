"""Example inputs for timed models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def example_input(shape: Sequence[int], dtype: Any) -> Any:
    """An input array: standard normal values for float types, ones for other types.

    Args:
        shape: shape of the input.
        dtype: NumPy dtype or its name; ``object`` for texts.
    """
    import numpy as np

    kind = np.dtype(dtype)
    if kind.kind == "O":
        return np.full(tuple(shape), "1", kind)
    if kind.kind != "f":
        return np.ones(shape, kind)
    return np.random.default_rng(0).standard_normal(tuple(shape)).astype(kind)


def example_bits(shape: Sequence[int], dtype: str) -> Any:
    """An input array of bits, for float types that NumPy lacks: a small finite number in each.

    Args:
        shape: shape of the input.
        dtype: NumPy type of the same width, ``uint8`` or ``uint16``.
    """
    import numpy as np

    return np.full(tuple(shape), {"uint8": 0x38, "uint16": 0x3F80}[dtype], dtype)
