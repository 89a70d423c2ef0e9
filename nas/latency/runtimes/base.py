"""The interface every runtime implements; measuring itself is `nas.latency.measure`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from nas.config import Precision
from nas.latency.device import Device

if TYPE_CHECKING:
    from torch import nn

Call = Callable[[], None]
"""Runs a compiled module once on a prepared input and returns when the device is done."""


class Runtime(ABC):
    """One inference runtime on one device of this machine.

    Optional packages are imported inside the methods, so that a runtime that is not installed
    can still say what it is missing.
    """

    name: ClassVar[str]
    precisions: ClassVar[tuple[Precision, ...]]

    @abstractmethod
    def unavailable(self) -> str | None:
        """What is missing to measure here and how to get it, or None if nothing is."""

    @abstractmethod
    def version(self) -> str:
        """Version of the installed runtime."""

    @abstractmethod
    def device(self) -> Device:
        """The device that `compile` compiles for."""

    @abstractmethod
    def compile(
        self, module: nn.Module, input_shape: tuple[int, ...], precision: Precision
    ) -> Call:
        """Make a module ready to be timed.

        Args:
            module: a block or network in evaluation mode, BatchNorms folded.
            input_shape: [B, C, H, W].
            precision: of weights, activations and input.

        Raises:
            RuntimeUnavailableError: the runtime cannot run it here.
        """
