"""What earlier runs have trained, for a new one to begin with.

A run that trained as the new one will (same proxy, same seed) has done part of its work: what keeps
the new limits becomes finished trials. Everything else is a prior for the sampler: its accuracies
count as compared with one another, since another proxy is harder or easier as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import TrialState

from nas.architecture import Architecture
from nas.config import SearchConfig
from nas.errors import RunError
from nas.paths import is_file
from nas.search.latency_aware import PriorTrial
from nas.search.result import SEARCHED
from nas.search.run import STUDY, open_study, read_run
from nas.space import SearchSpace


@dataclass(frozen=True)
class EarlierTrial:
    """What an earlier run trained.

    Attributes:
        architecture: the network.
        accuracy: proxy validation accuracy, 0..1.
        group: see `PriorTrial`.
        origin: a preset's name, else ``searched``.
    """

    architecture: Architecture
    accuracy: float
    group: int
    origin: str


def read_earlier(config: SearchConfig, space: SearchSpace) -> list[EarlierTrial]:
    """What the runs of ``config.warm_start`` have trained and the space holds.

    Raises:
        RunError: a folder holds no run, or none of its architectures is in the space.
    """
    found = []
    for number, name in enumerate(config.warm_start, start=1):
        path = Path(name)
        earlier = read_run(path, "--warm-start")
        if not is_file(path / STUDY):
            raise RunError(f"--warm-start {path}: holds no trials ({STUDY} is missing)")
        alike = earlier.proxy == config.proxy and earlier.seed == config.seed
        study = open_study(path, earlier)
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        known = [
            EarlierTrial(
                Architecture.from_json(trial.user_attrs["architecture"]),
                float(trial.values[0]),
                0 if alike else number,
                str(trial.user_attrs.get("origin", SEARCHED)),
            )
            for trial in trials
            if "architecture" in trial.user_attrs
        ]
        inside = [trial for trial in known if trial.architecture in space]
        if not inside:
            raise RunError(
                f"--warm-start {path}: none of its {len(known)} trained networks is in the space "
                f"{space.name!r}"
            )
        found += inside
    return found


def as_prior(trials: Sequence[EarlierTrial], space: SearchSpace) -> list[PriorTrial]:
    """The trials in the terms of the sampler."""
    return [PriorTrial(space.params(t.architecture), t.accuracy, t.group) for t in trials]
