"""The evaluator that trains each candidate for a short while, from scratch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from nas.accuracy.data.fingerprint import DataFingerprint
from nas.accuracy.evaluator import Evaluation, Evaluator, Request, checkpoint_name
from nas.accuracy.fidelity import rung_images
from nas.config import ProxyConfig
from nas.errors import DataError, printable
from nas.space.architecture import Architecture

if TYPE_CHECKING:
    from nas.accuracy.data.dataset import ProxyData


@dataclass(frozen=True)
class ShortTraining(Evaluator[Architecture]):
    """Trains candidates as a `ProxyConfig` says; the data stay in the worker's memory.

    Attributes:
        recipe: configuration of the training.
        rungs: number of rungs of a full training; the learning rate falls to zero at each rung.
        fingerprint: of the data that the search began with; None if any data will do.
    """

    needs_checkpoint: ClassVar[bool] = True

    recipe: ProxyConfig
    rungs: int = 1
    fingerprint: DataFingerprint | None = None
    _data: list[ProxyData] = field(default_factory=list, compare=False, repr=False)

    def __reduce__(self) -> tuple[type[ShortTraining], tuple[object, ...]]:
        # The data are not sent to workers.
        return ShortTraining, (self.recipe, self.rungs, self.fingerprint)

    def set_up(self) -> None:
        """Read the data.

        Raises:
            DataError: they cannot be read, or have changed since the search began.
        """
        from nas.accuracy.data.dataset import load_data

        data = load_data(self.recipe)
        if self.fingerprint and data.fingerprint:
            change = self.fingerprint.change_to(data.fingerprint)
            if change:
                raise DataError(
                    f"the data folder of {printable(data.name)} has changed while the search ran "
                    f"({change}): undo the change and go on with --resume, or start a new run"
                )
        self._data[:] = [data]

    def evaluate(self, request: Request[Architecture]) -> Evaluation:
        """Train a candidate from scratch, or resume its training from a checkpoint.

        Raises:
            DataError: there are fewer training images than a batch takes.
            RunError: the checkpoint cannot be written.
        """
        from nas.accuracy.rung_training import train_to
        from nas.accuracy.training import train_proxy

        (data,) = self._data
        rungs = rung_images(self.recipe.train_images, self.rungs)
        if request.checkpoint_folder is not None and request.images in rungs:
            reached = rungs[: rungs.index(request.images) + 1]
            path = Path(request.checkpoint_folder) / checkpoint_name(request.architecture.id)
            result = train_to(reached, path, request.architecture, data, self.recipe, request.seed)
        else:
            recipe = self.recipe.model_copy(update={"train_images": request.images})
            result = train_proxy(request.architecture, data, recipe, request.seed)
        return Evaluation(
            score=result.accuracy,
            images=result.steps * self.recipe.batch_size,
            seconds=result.train_s,
            diverged=result.diverged,
        )
