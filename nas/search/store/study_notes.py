"""Keeps the state of a run other than its trials, in user attributes of its Optuna study."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import optuna

from nas.accuracy.size_bonus import LONG_IMAGES
from nas.errors import RunError
from nas.measurement.protocol import Timing, mean_timing
from nas.results.values import LongerTraining
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace


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
    """Reads and writes measured latencies, longer trainings, extensions, time, and prior trials.

    Args:
        study: study of the run.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._measured: dict[str, dict[str, Any]] = dict(study.user_attrs.get("measured", {}))
        self._longer: dict[str, dict[str, Any]] = dict(study.user_attrs.get("finals", {}))

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
            known = [*self._timings(architecture, device), timing]
            of_devices = self._measured.setdefault(architecture.id, {})
            of_devices[str(device)] = [asdict(each) for each in known]
        self._study.set_user_attr("measured", self._measured)

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
        found = self._measured.get(architecture.id, {}).get(str(device), [])
        # Older runs measured once, and kept no list.
        return [Timing(**timing) for timing in (found if isinstance(found, list) else [found])]

    def record_longer(self, architecture: Architecture, training: LongerTraining) -> None:
        """Record a finalist's longer training."""
        self._longer[architecture.id] = asdict(training)
        self._study.set_user_attr("finals", self._longer)

    def longer(self, architecture: Architecture) -> LongerTraining | None:
        """Return a finalist's longer training; None if there was none."""
        found = self._longer.get(architecture.id)
        return LongerTraining(**found) if found else None

    def extend(self, trials: int) -> None:
        """Record an extension of the search, which a resumed run keeps.

        Args:
            trials: number of candidates of the whole search after the extension.
        """
        self._study.set_user_attr("extensions", [*self.extensions(), trials])

    def extensions(self) -> list[int]:
        """Return the ``trials`` of all calls of `extend`, in order."""
        return list(self._study.user_attrs.get("extensions", ()))

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
