"""Number formats a network is deployed in. Imports nothing, as device kits carry this file."""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp32", "fp16"]
"""Of weights and activations."""

BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2}
"""Of one value."""
