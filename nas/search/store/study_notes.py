"""Keeps the state of a run other than its trials, in user attributes of its Optuna study."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import optuna
from pydantic import Field, TypeAdapter

from nas.accuracy.data.fingerprint import DataFingerprint
from nas.accuracy.size_bonus import LONG_IMAGES
from nas.config import RECORDED, SearchConfig
from nas.errors import RunError, brief, printable
from nas.measurement.protocol import Timing, mean_timing
from nas.results.values import LongerTraining
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace

_MEASURED = TypeAdapter(dict[str, dict[str, list[Timing] | Timing]])
"""Measurements of networks on devices, by the network's id and the device's index."""

_RATIOS = TypeAdapter(dict[str, list[Annotated[float, Field(gt=0, allow_inf_nan=False)]]])
"""Latency now / latency in the table of the networks measured once more, by the device's index."""

_TRIES = TypeAdapter(dict[str, int])
"""How often evaluations went wrong, by the network's id and the images."""

_LONGER = TypeAdapter(dict[str, LongerTraining])
"""Longer trainings of finalists, by the network's id."""

_MAY_CHANGE: dict[str, Any] = {
    **dict.fromkeys(("trials", "finalists", "time_limit_s", "workers"), True),
    **dict.fromkeys(("space", "warm_start"), True),
    "proxy": {"data": True},
}
"""Fields of a configuration that may differ from those that a run was begun with: those that
`nas.search.engine.resume` sets, and paths, as folders may be moved."""


@dataclass(frozen=True)
class EarlierTrial:
    """A trial of an earlier run.

    Attributes:
        architecture: the network.
        accuracy: validation accuracy, 0..1.
        group: see `nas.search.sampler.observation.Observation`.
        origin: a preset's name, else `nas.results.values.SEARCHED`.
        images: images seen in training.
        standard_error: see `nas.accuracy.evaluator.Evaluation`.
    """

    architecture: Architecture
    accuracy: float
    group: int
    origin: str
    images: int = LONG_IMAGES
    standard_error: float | None = None


class StudyNotes:
    """Reads and writes what a run knows beside its trials.

    These are measured latencies, longer trainings, tries of evaluations that went wrong,
    extensions, time, and prior trials.

    Args:
        study: study of the run.

    Raises:
        ValueError: measurements or longer trainings in the study are damaged.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        measured = _MEASURED.validate_python(study.user_attrs.get("measured", {}))
        # Older runs measured once, and kept no list.
        self._measured: dict[str, dict[str, list[Timing]]] = {
            network: {
                device: timings if isinstance(timings, list) else [timings]
                for device, timings in of_devices.items()
            }
            for network, of_devices in measured.items()
        }
        self._longer = _LONGER.validate_python(study.user_attrs.get("finals", {}))

    def check(self) -> None:
        """Read everything that is not read when this object is made.

        Raises:
            Exception: of any type, if a value in the study is damaged.
        """
        self.prior()
        self.extensions()
        self.wall_s()
        self.data()
        _RATIOS.validate_python(self._study.user_attrs.get("session", {}))
        _TRIES.validate_python(self._study.user_attrs.get("tries", {}))

    def record_measured(
        self, device: int, architectures: Sequence[Architecture], timings: Sequence[Timing]
    ) -> None:
        """Add measurements of whole networks on one device to the earlier measurements.

        Args:
            device: index of the device.
            architectures: the measured networks.
            timings: one measurement per network.
        """
        for architecture, timing in zip(architectures, timings, strict=True):
            of_devices = self._measured.setdefault(architecture.id, {})
            of_devices.setdefault(str(device), []).append(timing)
        kept = {
            network: {device: [asdict(each) for each in timings] for device, timings in of.items()}
            for network, of in self._measured.items()
        }
        self._study.set_user_attr("measured", kept)

    def measured(self, architecture: Architecture, device: int) -> Timing | None:
        """Return the mean of all measurements of a network on one device; None without any."""
        timings = self._timings(architecture, device)
        return mean_timing(timings) if timings else None

    def times_measured(self, architecture: Architecture, device: int) -> int:
        """Return how often a network was measured on one device."""
        return len(self._timings(architecture, device))

    def record_session(self, device: int, ratios: Sequence[float]) -> None:
        """Record how fast one device is in this run, by networks of its table measured once more.

        Args:
            device: index of the device.
            ratios: latency now / latency in the table of each network.
        """
        known = dict(self._study.user_attrs.get("session", {}))
        self._study.set_user_attr("session", known | {str(device): list(ratios)})

    def session(self, device: int) -> list[float] | None:
        """Return the ratios that `record_session` recorded; None if it was not called."""
        found = self._study.user_attrs.get("session", {}).get(str(device))
        return None if found is None else [float(ratio) for ratio in found]

    def _timings(self, architecture: Architecture, device: int) -> list[Timing]:
        return self._measured.get(architecture.id, {}).get(str(device), [])

    def record_longer(self, architecture: Architecture, training: LongerTraining) -> None:
        """Record a finalist's longer training."""
        self._longer[architecture.id] = training
        self._write_longer()

    def longer(self, architecture: Architecture) -> LongerTraining | None:
        """Return a finalist's longer training; None if there was none."""
        return self._longer.get(architecture.id)

    def _write_longer(self) -> None:
        kept = {network: asdict(each) for network, each in self._longer.items()}
        self._study.set_user_attr("finals", kept)

    def forget_failed_longer(self, tries: int) -> None:
        """Forget the longer trainings that failed, so that they are tried again.

        Args:
            tries: those that failed so many times are kept.
        """
        kept = {
            name: found
            for name, found in self._longer.items()
            if not found.message or self.tries(name, found.images) >= tries
        }
        if len(kept) < len(self._longer):
            self._longer = kept
            self._write_longer()

    def record_try(self, architecture_id: str, images: int) -> int:
        """Record that an evaluation went wrong, as its worker died, for example.

        Args:
            architecture_id: id of the architecture.
            images: fidelity of the evaluation.

        Returns:
            How often it has gone wrong, in all sessions of the run.
        """
        tries = self.tries(architecture_id, images) + 1
        known = self._study.user_attrs.get("tries", {})
        self._study.set_user_attr("tries", known | {f"{architecture_id} {images}": tries})
        return tries

    def tries(self, architecture_id: str, images: int) -> int:
        """Return how often `record_try` was called for an evaluation."""
        return int(self._study.user_attrs.get("tries", {}).get(f"{architecture_id} {images}", 0))

    def extend(self, trials: int) -> None:
        """Record an extension of the search, which a resumed run keeps.

        Args:
            trials: number of candidates of the whole search after the extension.
        """
        self._study.set_user_attr("extensions", [*self.extensions(), trials])

    def extensions(self) -> list[int]:
        """Return the ``trials`` of all calls of `extend`, in order."""
        return [int(trials) for trials in self._study.user_attrs.get("extensions", ())]

    def forget_extensions(self) -> None:
        """Forget all extensions."""
        self._study.set_user_attr("extensions", [])

    def require_space(self, space: SearchSpace) -> None:
        """Check that the run was begun with this space; the first call records the space.

        Raises:
            RunError: the run was begun with another space.
        """
        if self._study.user_attrs.get("space", space.id) != space.id:
            raise RunError(
                f"the search space {space.name!r} has changed since this run was begun: undo the "
                f"change, or start a new run"
            )
        self._study.set_user_attr("space", space.id)

    def require_data(self, data: DataFingerprint, source: str) -> None:
        """Check that the run was begun with these data; the first call records their fingerprint.

        Args:
            data: fingerprint of the data.
            source: name of the data, for the message.

        Raises:
            RunError: the run was begun with other data.
        """
        known = self.data()
        change = known.change_to(data) if known else None
        if change:
            raise RunError(
                f"the data folder of {printable(source)} has changed since this run was begun "
                f"({change}): undo the change, or start a new run"
            )
        self._study.set_user_attr("data", data.to_json())

    def data(self) -> DataFingerprint | None:
        """Return the fingerprint of the run's data; None if it has none, as in older runs."""
        known = self._study.user_attrs.get("data")
        return DataFingerprint.from_json(known) if known else None

    def require_config(self, config: SearchConfig, path: Path) -> None:
        """Check that the run was begun with this configuration; the first call records it.

        Trials, finalists, time limit, workers and paths may change.

        Args:
            config: configuration of the run.
            path: its file, for the message.

        Raises:
            RunError: the run was begun with another configuration.
        """
        values = config.model_dump(mode="json", exclude=_MAY_CHANGE)
        if config.evaluator.startswith(RECORDED):
            values["evaluator"] = "recorded"
        changed = _first_change(self._study.user_attrs.get("config", {}), values)
        if changed:
            raise RunError(
                f"{path}: {changed} since this run was begun: undo the change, or start a new run"
            )
        self._study.set_user_attr("config", values)

    def initial_enqueued(self) -> bool:
        """Return whether all initial candidates were enqueued."""
        return bool(self._study.user_attrs.get("begun"))

    def set_initial_enqueued(self) -> None:
        """Record that all initial candidates were enqueued."""
        self._study.set_user_attr("begun", True)

    def has_prior(self) -> bool:
        """Return whether `set_prior` was called, even with no trials."""
        return "earlier" in self._study.user_attrs

    def set_prior(self, trials: Sequence[EarlierTrial]) -> None:
        """Record the trials of earlier runs that are prior observations of the sampler.

        Those that became trials of this run are not among them (`nas.search.warm_start`).
        """
        kept = [asdict(trial) | {"architecture": trial.architecture.to_json()} for trial in trials]
        self._study.set_user_attr("earlier", kept)

    def prior(self) -> list[EarlierTrial]:
        """Return the trials that `set_prior` recorded; none if it was not called."""
        return [
            EarlierTrial(**entry | {"architecture": Architecture.from_json(entry["architecture"])})
            for entry in self._study.user_attrs.get("earlier", ())
        ]

    def wall_s(self) -> float:
        """Return the seconds that the search has taken, including earlier sessions of the run."""
        return float(self._study.user_attrs.get("wall_s", 0.0))

    @contextmanager
    def timed(self) -> Iterator[Clock]:
        """Add the duration of a with-block to `wall_s`.

        `Clock.record` saves the time inside the block, so that a killed run loses little of it.
        """
        clock = Clock(self._study, self.wall_s())
        try:
            yield clock
        finally:
            clock.record()


class Clock:
    """Adds the time since its creation to the time spent before.

    Args:
        study: study of the run, which keeps the time.
        before_s: time spent before, in seconds.
    """

    def __init__(self, study: optuna.Study, before_s: float) -> None:
        self._study, self._before_s = study, before_s
        self._begun = time.monotonic()

    def record(self) -> None:
        """Save the time spent so far in the study."""
        spent_s = self._before_s + time.monotonic() - self._begun
        self._study.set_user_attr("wall_s", round(spent_s, 1))


def _first_change(before: Any, now: Any, name: str = "") -> str | None:
    """Say which value has changed first; None if none has.

    Entries that only one side has are not compared: versions of this project differ in them.
    """
    places: list[Any]
    if isinstance(before, dict) and isinstance(now, dict):
        places = [key for key in now if key in before]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        places = list(range(len(now)))
    elif before == now:
        places = []
    else:
        return f"{name} has changed from {brief(before)} to {brief(now)}"
    for place in places:
        inner = f"{name}.{place}" if name else str(place)
        changed = _first_change(before[place], now[place], inner)
        if changed:
            return changed
    return None
