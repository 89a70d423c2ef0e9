"""Inputs to time a model with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def example_input(shape: Sequence[int], dtype: Any) -> Any:
    """An array to call a model with: standard normal values, or ones where they are whole.

    Args:
        shape: of the input.
        dtype: NumPy's, or its name.
    """
    import numpy as np

    kind = np.dtype(dtype)
    if kind.kind != "f":
        return np.ones(shape, kind)
    return np.random.default_rng(0).standard_normal(tuple(shape)).astype(kind)
