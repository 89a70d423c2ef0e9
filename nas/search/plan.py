"""Works out what a search would do, without running it (``--dry-run``).

It checks everything that a search checks before it begins, but opens no images. It measures no
table, evaluates no candidate and writes no file. It times a few training steps on images of noise.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.accuracy.data.source import DataSummary, summarize
from nas.accuracy.fidelity import rung_images
from nas.config import TRAINING, ProxyConfig, SearchConfig, TargetConfig
from nas.errors import RunError
from nas.latency.collect.tables import Missing, missing_for, table_networks
from nas.latency.table.catalog import find_table, own_key
from nas.models.cost import network_cost
from nas.search.callbacks import Listener
from nas.search.executors.local import LocalExecutor, stop_executor
from nas.search.limits import Budget
from nas.search.preparation import check, prepare
from nas.search.schedule.rungs import promotions_of
from nas.search.schedule.sources import LONGER
from nas.search.store.run_folder import require_empty, require_writable
from nas.search.warm_start import read_earlier
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.space.workload import Workload
from nas.system import folders
from nas.system.paths import nearest_existing

SAMPLES = 300
"""Number of random networks from which a typical candidate is chosen."""

WARM_UP_STEPS, TIMED_S = 2, 2.0
"""Number of training steps before the timed ones, and approximate duration of all timed ones in
seconds."""

CHECKPOINT_BYTES = 16
"""Bytes per parameter of a checkpoint: weights, their average, two moments of Adam."""

REPORT_BYTES, STUDY_BYTES, TRIAL_BYTES = 5_000_000, 150_000, 5_000
"""Approximate bytes of a run's report page, of its study without trials, and of one trial in the
study."""


@dataclass(frozen=True)
class PlannedTable:
    """A latency table that a search reads.

    Attributes:
        target: target of the table.
        name: name of the table.
        missing: blocks and networks to measure first; None if nothing is to be measured.
        seconds: the least and the most seconds that measuring them is estimated to take.
    """

    target: str
    name: str
    missing: Missing | None
    seconds: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class TrainingTiming:
    """How long the proxy trainings take, estimated from a few timed steps of one network.

    Attributes:
        typical: MACs of the timed network at the proxy's resolution, in G.
        images_per_s: measured training speed of one worker, without validation.
        seconds: estimated duration of all trainings and validations, with every worker busy.
    """

    typical: float
    images_per_s: float
    seconds: float


@dataclass(frozen=True)
class PlannedTraining:
    """What a search trains, if nothing stops or extends it.

    Attributes:
        at_rung: number of candidates trained to each rung; the last rung is a full training.
        finalists: number of finalists that are trained longer afterwards; 0 for none.
        images: total number of images seen in all these trainings.
        timing: how long they take; None for evaluators that do not train by proxy.
    """

    at_rung: tuple[int, ...]
    finalists: int
    images: int
    timing: TrainingTiming | None


@dataclass(frozen=True)
class Plan:
    """What a search would do.

    Attributes:
        config: configuration of the search, with absolute paths.
        tables: one per target.
        imported: number of trained networks of earlier runs that the search begins with.
        data: the data to train on, whose images were not opened; None for an evaluator that does
            not train.
        training: what is trained.
        folder: the run's folder if it was given, else the folder in which it would be made.
        disk_bytes: estimated size of the run's folder.
        free_bytes: free space on the disk of ``folder``.
    """

    config: SearchConfig
    tables: tuple[PlannedTable, ...]
    imported: int
    data: DataSummary | None
    training: PlannedTraining
    folder: Path
    disk_bytes: float
    free_bytes: int


class _MeasuringError(Exception):
    """Raised inside `prepare` to leave it after all its checks, before it measures a table."""


def plan(
    config: SearchConfig,
    output: Path | None = None,
    *,
    measure_table: bool = True,
    tables_dir: Path | None = None,
) -> Plan:
    """Work out what a search would do.

    Args: see `nas.search.engine.search`.

    Raises:
        UserError: the search would refuse the configuration.
    """
    require_writable(output or folders.results())
    if output:
        require_empty(output)
    config, space = check(config)
    data = summarize(config.proxy) if config.evaluator == TRAINING else None
    earlier = read_earlier(config, space, data.fingerprint if data else None)
    budget = _budget(config, space, measure_table, tables_dir)
    tables = tuple(_table(config, target, space, budget, tables_dir) for target in config.targets)
    training, params = _training(config, space, budget, data)
    folder = output or folders.results()
    return Plan(
        config=config,
        tables=tables,
        imported=len(earlier),
        data=data,
        training=training,
        folder=folder,
        disk_bytes=_disk_bytes(config, training, params),
        free_bytes=shutil.disk_usage(nearest_existing(folder)).free,
    )


def _budget(
    config: SearchConfig, space: SearchSpace, measure_table: bool, tables_dir: Path | None
) -> Budget | None:
    """Return the limits of the search; None if a table must be measured first."""

    def stage(name: str) -> None:
        if name == "measuring":
            raise _MeasuringError

    try:
        listener = Listener(stage=stage)
        return prepare(config, space, measure_table, tables_dir, listener).budget
    except _MeasuringError:
        return None


def _table(
    config: SearchConfig,
    target: TargetConfig,
    space: SearchSpace,
    budget: Budget | None,
    tables_dir: Path | None,
) -> PlannedTable:
    table = find_table(
        target.target, target.device, target.precision, target.batch_size, tables_dir
    )
    if table is None:
        own = own_key(target.target, target.precision, target.batch_size)
        assert own is not None  # or `prepare` would have refused it
        blocks = space.blocks(config.workload.with_batch(target.batch_size or 1))
        missing = Missing(list(blocks), table_networks(space))
        name = f"{target.target}/{own.folder}"
        return PlannedTable(target.target, name, missing, missing.expected_s(target.budget_ms))
    lacking = None
    if budget is None and table.meta.kind == "measured" and not config.interpolate:
        lacking = missing_for(table, space, config.workload) or None
    seconds = lacking.expected_s(target.budget_ms) if lacking else (0.0, 0.0)
    return PlannedTable(target.target, table.name, lacking, seconds)


def _training(
    config: SearchConfig, space: SearchSpace, budget: Budget | None, data: DataSummary | None
) -> tuple[PlannedTraining, int]:
    """Return what would be trained, and the number of parameters of a typical candidate."""
    typical = _typical(config, space, budget)
    at_rung = [config.trials]
    for _ in range(config.rungs - 1):
        at_rung.append(promotions_of(at_rung[-1], no_more=True))
    rungs = (0, *rung_images(config.proxy.train_images, config.rungs))
    images = sum(
        n * (end - start) for n, start, end in zip(at_rung, rungs[:-1], rungs[1:], strict=True)
    )
    finalists = min(config.finalists, at_rung[-1])
    finalists = finalists if finalists > 1 else 0
    images += finalists * LONGER * config.proxy.train_images
    timing = None
    if data is not None:
        validated = data.val * (sum(at_rung) + finalists)
        timing = _timing(config, typical, images, validated)
    params = network_cost(typical.blocks()).params
    return PlannedTraining(tuple(at_rung), finalists, images, timing), params


def _timing(
    config: SearchConfig, typical: Architecture, images: int, validated: int
) -> TrainingTiming:
    """Time a few steps of one training in a worker, and estimate the duration of all trainings.

    Args:
        config: configuration of the search.
        typical: the network whose training is timed.
        images: total number of images seen in all trainings.
        validated: total number of images in all validations after trainings.

    Raises:
        RunError: the worker died or ran out of memory.
    """
    executor = LocalExecutor(config.workers)
    try:
        timing = executor.submit(timed_steps, typical.to_json(), config.proxy, config.seed)
        images_per_s, validated_per_s = timing.result()
    except (BrokenExecutor, MemoryError):
        raise RunError(
            "a process that timed a few training steps died or ran out of memory: try fewer "
            "--workers, or a smaller --proxy-resolution"
        ) from None
    finally:
        stop_executor(executor)
    work_s = images / images_per_s + validated / validated_per_s
    macs = network_cost(typical.blocks(Workload.square(config.proxy.resolution))).macs
    return TrainingTiming(macs / 1e9, images_per_s, work_s / config.workers)


def _typical(config: SearchConfig, space: SearchSpace, budget: Budget | None) -> Architecture:
    """Choose a typical candidate: the network of median MACs among random networks.

    With a budget, these must be within the limits and use at least half of one of them. If none
    does, all random networks within the limits count; without any, the fastest network is chosen.
    """
    rng = random.Random(config.seed)
    samples = [space.sample(rng, rng.uniform(-3.0, 3.0)) for _ in range(SAMPLES)]
    if budget is not None:
        used = budget.ratios(samples).max(axis=1)
        fitting = [a for a, ratio in zip(samples, used, strict=True) if ratio <= 1]
        near = [a for a, ratio in zip(samples, used, strict=True) if 0.5 <= ratio <= 1]
        samples = near or fitting or [budget.fastest()]
    macs = [network_cost(a.blocks(config.workload)).macs for a in samples]
    order: Sequence[int] = np.argsort(macs).tolist()
    return samples[order[len(order) // 2]]


def timed_steps(architecture: dict[str, Any], proxy: ProxyConfig, seed: int) -> tuple[float, float]:
    """Time a few training steps and one batch of validation, in a worker, on images of noise.

    Returns:
        Images per second in training and in validation.
    """
    import torch

    from nas.accuracy.data.dataset import ProxyData
    from nas.accuracy.training import EVALUATION_BATCH, ProxyTraining, evaluate

    side = proxy.resolution
    count = max(4 * proxy.batch_size, EVALUATION_BATCH)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)
    labels = torch.randint(0, 10, (count,))
    data = ProxyData(*(images, labels) * 3, tuple("0123456789"), "noise")
    whole = proxy.model_copy(update={"train_images": max(10**6, proxy.train_images)})
    training = ProxyTraining(Architecture.from_json(architecture), data, whole, seed)
    training.run(WARM_UP_STEPS)
    warm_up_s = training.train_s
    steps = max(2, min(60, round(TIMED_S / (warm_up_s / WARM_UP_STEPS))))
    training.run(WARM_UP_STEPS + steps)
    rate = steps * proxy.batch_size / (training.train_s - warm_up_s)
    start = time.perf_counter()
    evaluate(training.average, images[:EVALUATION_BATCH], labels[:EVALUATION_BATCH])
    return rate, EVALUATION_BATCH / (time.perf_counter() - start)


def _disk_bytes(config: SearchConfig, training: PlannedTraining, params: int) -> float:
    """Estimate the largest size of a run's folder in bytes, without image cache and tables.

    Args:
        config: configuration of the search.
        training: what is trained.
        params: number of parameters of a typical candidate.
    """
    waiting = training.at_rung[0] if len(training.at_rung) > 1 else 0
    trials = config.trials * TRIAL_BYTES
    model = 4 * params
    return REPORT_BYTES + STUDY_BYTES + trials + model + waiting * CHECKPOINT_BYTES * params
