"""What a run keeps beside its trials, in the attributes of its Optuna study."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import optuna

from nas.measurement.protocol import Timing, mean_timing
from nas.results.values import Final
from nas.space.architecture import Architecture


class Ledger:
    """Measured latencies, longer trainings, time spent, and by how much a search was extended.

    Args:
        study: of one search.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._measured: dict[str, dict[str, Any]] = dict(study.user_attrs.get("measured", {}))
        self._finals: dict[str, dict[str, Any]] = dict(study.user_attrs.get("finals", {}))

    def record_measured(
        self, device: int, architectures: Sequence[Architecture], timings: Sequence[Timing]
    ) -> None:
        """Keep whole networks' latencies on one device, beside earlier ones."""
        for architecture, timing in zip(architectures, timings, strict=True):
            known = [*self._timings(architecture, device), timing]
            of_devices = self._measured.setdefault(architecture.id, {})
            of_devices[str(device)] = [asdict(each) for each in known]
        self._study.set_user_attr("measured", self._measured)

    def measured(self, architecture: Architecture, device: int) -> Timing | None:
        """A whole network's latency on one device, the mean of all times it was measured; None if
        it was not measured there."""
        timings = self._timings(architecture, device)
        return mean_timing(timings) if timings else None

    def times_measured(self, architecture: Architecture, device: int) -> int:
        """How often a network was measured on one device."""
        return len(self._timings(architecture, device))

    def _timings(self, architecture: Architecture, device: int) -> list[Timing]:
        found = self._measured.get(architecture.id, {}).get(str(device), [])
        # Runs of before measured once, and kept no list.
        return [Timing(**timing) for timing in (found if isinstance(found, list) else [found])]

    def record_final(self, architecture: Architecture, final: Final) -> None:
        """Keep what a finalist's longer training gave."""
        self._finals[architecture.id] = asdict(final)
        self._study.set_user_attr("finals", self._finals)

    def final(self, architecture: Architecture) -> Final | None:
        """What longer training gave, None if there was none."""
        found = self._finals.get(architecture.id)
        return Final(**found) if found else None

    def extend(self, trials: int) -> None:
        """Have more candidates trained than were asked for, also by who goes on with this run.

        Args:
            trials: as for `nas.search.candidate_training.Crew.train`.
        """
        self._study.set_user_attr("extensions", [*self.extensions(), trials])

    def extensions(self) -> list[int]:
        """What `extend` was given, the first first."""
        return list(self._study.user_attrs.get("extensions", ()))

    def forget_extensions(self) -> None:
        """Train what was asked for, no more."""
        self._study.set_user_attr("extensions", [])

    def wall_s(self) -> float:
        """Seconds spent, in earlier sessions of this run too."""
        return float(self._study.user_attrs.get("wall_s", 0.0))

    @contextmanager
    def timed(self) -> Iterator[Clock]:
        """Count the time spent within; `Clock.record` keeps it meanwhile, as runs get killed."""
        clock = Clock(self._study, self.wall_s())
        try:
            yield clock
        finally:
            clock.record()


class Clock:
    """Adds the time since it was made to what was spent before.

    Args:
        study: keeps it.
        before_s: spent before, in seconds.
    """

    def __init__(self, study: optuna.Study, before_s: float) -> None:
        self._study, self._before_s = study, before_s
        self._begun = time.monotonic()

    def record(self) -> None:
        """Keep the time spent up to now."""
        spent_s = self._before_s + time.monotonic() - self._begun
        self._study.set_user_attr("wall_s", round(spent_s, 1))
