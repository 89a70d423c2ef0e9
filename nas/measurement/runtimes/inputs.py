"""Example inputs for timed models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def example_input(shape: Sequence[int], dtype: Any) -> Any:
    """An input array: standard normal values for float types, ones for other types.

    Args:
        shape: shape of the input.
        dtype: NumPy dtype or its name.
    """
    import numpy as np

    kind = np.dtype(dtype)
    if kind.kind != "f":
        return np.ones(shape, kind)
    return np.random.default_rng(0).standard_normal(tuple(shape)).astype(kind)
