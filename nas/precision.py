"""Numeric precisions of deployed networks. Device kits carry this file, so it imports nothing."""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp32", "fp16"]
"""Precision of weights and activations."""

BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2}
"""Bytes of one value."""
