"""Warm start: begins a run with the trials of earlier runs.

Two runs evaluate alike if evaluator, proxy training, seed and rungs are the same, and, unless the
evaluator is short training, resolution and number of classes too. They do not if a data folder has
changed between them. Fully trained trials of an earlier run that evaluates like the new one become
finished trials of the new run, if they are within its limits. All other trials become prior
observations of the sampler. Observations of a run that evaluates in another way form groups of
their own, because its accuracies may all be higher or lower (see
`nas.search.sampler.observation.Observation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.accuracy.data.fingerprint import DataFingerprint
from nas.accuracy.size_bonus import SizeBonus
from nas.config import MAX_RUNGS, TRAINING, SearchConfig
from nas.errors import RunError
from nas.search.leaderboard import Leaderboard
from nas.search.sampler.observation import Observation
from nas.search.sampler.samplers import learns_from_prior
from nas.search.store.records import TrialRecord, TrialStatus
from nas.search.store.run_folder import read_run
from nas.search.store.run_store import RunStore
from nas.search.store.study_file import STUDY
from nas.search.store.study_notes import EarlierTrial
from nas.space.parameter_space import picked_from
from nas.space.search_space import SearchSpace
from nas.system.paths import is_file


def read_earlier(
    config: SearchConfig, space: SearchSpace, data: DataFingerprint | None = None
) -> list[EarlierTrial]:
    """Read the evaluated trials of the runs in ``config.warm_start``.

    Trials whose architectures are not in ``space`` are left out.

    Args:
        config: configuration of the new run.
        space: its search space.
        data: fingerprint of its data; None if they have none.

    Raises:
        RunError: a folder holds no run, a run has no evaluated architecture in the space, or the
            sampler cannot learn from the run.
    """
    found = []
    for number, name in enumerate(config.warm_start, start=1):
        path = Path(name)
        earlier = read_run(path, "--warm-start")
        if not is_file(path / STUDY):
            raise RunError(f"--warm-start {path}: holds no trials ({STUDY} is missing)")
        known = _read(path, number, earlier, config, data)
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
                f"--warm-start {path}: has another evaluator, proxy, seed, number of rungs, "
                f"workload or other data, and --sampler {config.sampler} does not learn from "
                f"such a run: only latency-aware does"
            )
        found += inside
    return found


def _read(
    path: Path,
    number: int,
    earlier: SearchConfig,
    config: SearchConfig,
    data: DataFingerprint | None,
) -> list[EarlierTrial]:
    """Read the evaluated trials of one earlier run.

    Args:
        path: folder of the earlier run.
        number: place of the run in ``--warm-start``, from 1; it keeps the groups of runs apart.
        earlier: configuration of the earlier run.
        config: configuration of the new run.
        data: fingerprint of the new run's data.

    Raises:
        RunError: its study.db is damaged.
    """
    with RunStore.opened_for_reading(path) as store:
        trials, data_then = store.trials.read(), store.notes.data()
    alike = _evaluate_alike(earlier, config) and (
        data is None or data_then is None or data == data_then
    )
    return [
        EarlierTrial(
            record.architecture,
            record.accuracy,
            _group(record.rungs_to_come, number, alike),
            record.origin,
            record.images or earlier.proxy.train_images,
            record.standard_error,
        )
        for record in (*trials.trained(), *trials.at_rung())
        if record.architecture is not None
    ]


def _evaluate_alike(earlier: SearchConfig, config: SearchConfig) -> bool:
    """Return whether two runs evaluate alike, if their data are the same."""
    how, how_now = (
        # Short training trains at the proxy's resolution, whatever the workload.
        (c.evaluator, c.proxy, c.seed, c.rungs, c.evaluator == TRAINING or c.workload)
        for c in (earlier, config)
    )
    return how == how_now


def _group(to_come: int, number: int, alike: bool) -> int:
    """Return the group of an earlier trial's observation.

    If the two runs evaluate alike, it is the group of the new run's own trials at the same rung;
    else it is a group of the earlier run alone.

    Args:
        to_come: number of rungs after the one that the trial was trained to.
        number: see `_read`.
        alike: whether the two runs evaluate alike.
    """
    return -to_come if alike else (MAX_RUNGS + 1) * number + to_come


def take_over(store: RunStore, leaderboard: Leaderboard, earlier: Sequence[EarlierTrial]) -> None:
    """Store the trials of earlier runs as finished trials or prior observations of a new run.

    The module's docstring says which trials become which. If the run is killed during this, it
    takes over the rest when it is resumed.
    """
    budget, prior = leaderboard.budget, []
    evaluated = {r.known_architecture.id for r in store.trials.read().evaluated()}
    for trial in earlier:
        known = trial.architecture.id in evaluated
        if trial.group == 0 and not known and budget.fits(trial.architecture):
            _import(store, leaderboard, trial)
            evaluated.add(trial.architecture.id)
        elif not (trial.group == 0 and known):
            prior.append(trial)
    store.notes.set_prior(prior)


def _import(store: RunStore, leaderboard: Leaderboard, trial: EarlierTrial) -> None:
    """Add a fully trained trial of an earlier run to the study."""
    architecture, budget = trial.architecture, leaderboard.budget
    record = TrialRecord(
        number=-1,  # the study gives it a new number
        status=TrialStatus.TRAINED,
        params=budget.space.params(architecture),
        architecture=architecture,
        origin=trial.origin,
        accuracy=trial.accuracy,
        bonus=leaderboard.bonus.of(architecture, trial.images),
        images=trial.images,
        standard_error=trial.standard_error,
        imported=True,
    )
    selection = budget.space.select(picked_from(record.params))
    latencies_ms = [latency.latency_ms for latency in budget.latencies(architecture)]
    store.trials.import_trained(selection, record, latencies_ms)


def as_observations(
    trials: Sequence[EarlierTrial], space: SearchSpace, bonus: SizeBonus
) -> list[Observation]:
    """Convert trials of earlier runs to observations of the sampler.

    Args:
        trials: trials whose architectures are in ``space``.
        space: search space of the new run.
        bonus: size bonus that is added to their accuracies.
    """
    return [
        Observation(
            space.params(t.architecture), t.accuracy + bonus.of(t.architecture, t.images), t.group
        )
        for t in trials
    ]
