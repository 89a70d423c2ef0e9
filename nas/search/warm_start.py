"""What earlier runs have trained, for a new one to begin with.

A run that trained as the new one will (same proxy, seed, rungs) has done part of its work: what
keeps the new limits becomes finished trials. Everything else, also what stopped at a rung, is a
prior for the sampler: its accuracies count as compared with one another, since another proxy is
harder or easier as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from nas.accuracy.size_bonus import LONG_IMAGES, SizeBonus
from nas.config import MAX_RUNGS, SearchConfig
from nas.errors import ArchitectureError, RunError
from nas.results.values import SEARCHED
from nas.search.sampler.latency_aware import PriorTrial
from nas.search.sampler.samplers import learns_from_prior
from nas.search.store.run_folder import STUDY, read_run, read_study, storage_errors
from nas.search.store.trials import ACCURACY, Stopped, Trials
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.system.paths import is_file


@dataclass(frozen=True)
class EarlierTrial:
    """What an earlier run trained.

    Attributes:
        architecture: the network.
        accuracy: proxy validation accuracy, 0..1.
        group: see `PriorTrial`.
        origin: a preset's name, else ``searched``.
        images: seen in training.
    """

    architecture: Architecture
    accuracy: float
    group: int
    origin: str
    images: int = LONG_IMAGES


def read_earlier(config: SearchConfig, space: SearchSpace) -> list[EarlierTrial]:
    """What the runs of ``config.warm_start`` have trained and the space holds.

    Raises:
        RunError: a folder holds no run, none of its architectures is in the space, or the sampler
            can make nothing of them.
    """
    found = []
    for number, name in enumerate(config.warm_start, start=1):
        path = Path(name)
        earlier = read_run(path, "--warm-start")
        if not is_file(path / STUDY):
            raise RunError(f"--warm-start {path}: holds no trials ({STUDY} is missing)")
        known = _read(path, number, earlier, config)
        if not known:
            raise RunError(f"--warm-start {path}: has trained no network yet")
        inside = [trial for trial in known if trial.architecture in space]
        if not inside:
            raise RunError(
                f"--warm-start {path}: none of its {len(known)} trained networks is in the space "
                f"{space.name!r}"
            )
        if not learns_from_prior(config.sampler) and all(trial.group > 0 for trial in inside):
            raise RunError(
                f"--warm-start {path}: was trained with another proxy, seed or number of rungs, of "
                f"which --sampler {config.sampler} learns nothing: only latency-aware does"
            )
        found += inside
    return found


def _read(
    path: Path, number: int, earlier: SearchConfig, config: SearchConfig
) -> list[EarlierTrial]:
    """What one run has trained.

    Raises:
        RunError: its study.db is damaged.
    """
    try:
        with storage_errors(path):
            return [
                EarlierTrial(
                    Architecture.from_json(trial.user_attrs["architecture"]),
                    accuracy,
                    _group(left, number, earlier, config),
                    str(trial.user_attrs.get("origin", SEARCHED)),
                    int(trial.user_attrs.get("images", earlier.proxy.train_images)),
                )
                for trial, accuracy, left in _trained(read_study(path))
                if "architecture" in trial.user_attrs
            ]
    except ArchitectureError as error:
        raise RunError(f"{path / STUDY}: not readable as a study: {error}") from None


def _trained(study: optuna.Study) -> list[tuple[FrozenTrial, float, int]]:
    """Trials with their accuracy, and how many rungs were still to come."""
    trials = Trials(study)
    stopped = [(trial, Stopped.of(trial.user_attrs)) for trial in trials.stopped()]
    return [
        *((t, float(t.user_attrs.get(ACCURACY, t.values[0])), 0) for t in trials.complete()),
        *((trial, s.accuracy, s.left) for trial, s in stopped if s is not None),
    ]


def _group(left: int, number: int, earlier: SearchConfig, config: SearchConfig) -> int:
    """That of the new run's own trials if they are trained alike, else one of that run alone."""
    how, how_now = ((c.proxy, c.seed, c.rungs) for c in (earlier, config))
    if how == how_now:
        return -left
    return (MAX_RUNGS + 1) * number + left


def as_prior(
    trials: Sequence[EarlierTrial], space: SearchSpace, bonus: SizeBonus
) -> list[PriorTrial]:
    """The trials in the terms of the sampler, which compares scores."""
    return [
        PriorTrial(
            space.params(t.architecture), t.accuracy + bonus.of(t.architecture, t.images), t.group
        )
        for t in trials
    ]
