"""Makes and checks the evaluator that ``--evaluator`` names."""

from __future__ import annotations

from pathlib import Path

from nas.accuracy.data.fingerprint import DataFingerprint
from nas.accuracy.data.image_folder import read_source
from nas.accuracy.data.source import (
    DataSummary,
    absolute_source,
    check_source,
    warn_of_left_out,
)
from nas.accuracy.evaluator import Evaluator
from nas.accuracy.recorded import RecordedAccuracy, read_recorded
from nas.accuracy.short_training import ShortTraining
from nas.accuracy.user_function import UserFunction, load_function
from nas.config import RECORDED, TRAINING, SearchConfig
from nas.errors import ArchitectureError, EvaluatorError, unknown
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.space.workload import Workload

_KNOWN = (TRAINING, f"{RECORDED}FILE.csv", "package.module:function")


def make_evaluator(
    config: SearchConfig, data: DataFingerprint | None = None
) -> Evaluator[Architecture]:
    """Make the evaluator that a configuration names.

    Args:
        config: configuration of the search.
        data: fingerprint of the data to train on; None if any data will do.

    Raises:
        EvaluatorError: unknown name; lists the known ones.
    """
    name = config.evaluator
    if name == TRAINING:
        return ShortTraining(config.proxy, config.rungs, data)
    if name.startswith(RECORDED):
        return RecordedAccuracy(str(_recorded_path(name)))
    if ":" in name:
        return UserFunction(name)
    raise EvaluatorError(unknown("evaluator", name, _KNOWN))


def check_evaluator(config: SearchConfig, space: SearchSpace) -> None:
    """Check an evaluator before any time is spent on a search; no image is opened.

    Raises:
        UserError: its data, file or function cannot be used.
    """
    evaluator = make_evaluator(config)
    if isinstance(evaluator, UserFunction):
        load_function(evaluator.reference)
    elif isinstance(evaluator, RecordedAccuracy):
        read_recorded(Path(evaluator.path))
    elif isinstance(evaluator, ShortTraining):
        index = check_source(config.proxy)
        if index is not None:
            warn_of_left_out(index)
        try:
            space.check_workload(Workload.square(config.proxy.resolution))
        except ArchitectureError as error:
            raise ArchitectureError(f"proxy training: {error}") from None


def read_data(config: SearchConfig) -> DataSummary | None:
    """Read the data that an evaluator trains on, before any training.

    Returns:
        What they are; None for an evaluator that does not train.

    Raises:
        DataError: they cannot be read.
    """
    return read_source(config.proxy) if config.evaluator == TRAINING else None


def with_absolute_paths(config: SearchConfig) -> SearchConfig:
    """Return the configuration with absolute paths of proxy data and recorded accuracies."""
    proxy = config.proxy.model_copy(update={"data": absolute_source(config.proxy.data)})
    evaluator = config.evaluator
    if evaluator.startswith(RECORDED):
        evaluator = f"{RECORDED}{_recorded_path(evaluator).absolute()}"
    return config.model_copy(update={"proxy": proxy, "evaluator": evaluator})


def _recorded_path(evaluator: str) -> Path:
    """Path of the file in ``recorded:FILE``; shells do not replace a ``~`` that follows a colon.

    Raises:
        EvaluatorError: the user has no home folder for a ``~``.
    """
    try:
        return Path(evaluator.removeprefix(RECORDED)).expanduser()
    except RuntimeError:
        raise EvaluatorError(
            f"--evaluator {evaluator}: no home folder is known for ~: write the whole path"
        ) from None
