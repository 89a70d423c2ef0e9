"""What a search would do, computed without running it: ``--dry-run``.

Everything is checked that a search checks before it begins. Nothing is measured for a table,
trained for a score, or written; a few training steps are timed on images of noise.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.accuracy.data.source import check_source, index_folder, parse_source
from nas.accuracy.fidelity import rung_images
from nas.config import TRAINING, ProxyConfig, SearchConfig, TargetConfig
from nas.latency.collect.tables import Missing, missing_for, table_networks
from nas.latency.table.catalog import find_table, own_key
from nas.models.cost import network_cost
from nas.search.callbacks import Listener
from nas.search.executors.local import LocalExecutor, stop_executor
from nas.search.limits import Budget
from nas.search.preparation import check, prepare
from nas.search.schedule.rungs import promotions_of
from nas.search.schedule.sources import LONGER
from nas.search.store.run_folder import refuse_existing, require_writable
from nas.search.warm_start import read_earlier
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.space.workload import Workload
from nas.system import folders
from nas.system.paths import nearest_existing

SAMPLES = 300
"""Number of random networks from which a typical candidate is chosen."""

WARM_UP_STEPS, TIMED_S = 2, 2.0
"""Number of training steps before the timed ones, and seconds that the timed ones take together."""

CHECKPOINT_BYTES = 16
"""Bytes per parameter of a checkpoint: weights, their average, two moments of Adam."""

REPORT_BYTES, STUDY_BYTES, TRIAL_BYTES = 5_000_000, 150_000, 5_000
"""Bytes of a run's page, of its study without trials, and of one trial in the study."""


@dataclass(frozen=True)
class PlannedTable:
    """A latency table that a search reads.

    Attributes:
        target: target of the table.
        name: name of the table.
        missing: blocks and networks to measure first; None if nothing is to be measured.
        seconds: estimates of the least and the most time that measuring them takes.
    """

    target: str
    name: str
    missing: Missing | None
    seconds: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class TrainingTiming:
    """How long proxy trainings take, from one that was timed.

    Attributes:
        typical: MACs in G, at the proxy's resolution, of the network that was timed.
        images_per_s: training speed of one worker, as timed, without evaluation.
        seconds: duration of all trainings, with every worker busy.
    """

    typical: float
    images_per_s: float
    seconds: float


@dataclass(frozen=True)
class PlannedTraining:
    """What a search trains, if nothing stops or extends it.

    Attributes:
        at_rung: candidates that are trained up to each rung, the last of them in full.
        finalists: how many are trained longer afterwards.
        images: images seen in all these trainings.
        timing: how long it takes; None for evaluators that do not train by proxy.
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
        imported: number of trials taken over from earlier runs.
        to_decode: images that are decoded into the cache first; 0 for built-in data.
        training: what is trained.
        folder: the folder of the results, or the one they go into.
        disk_bytes: estimated size of the run's folder.
        free_bytes: free space on its disk.
    """

    config: SearchConfig
    tables: tuple[PlannedTable, ...]
    imported: int
    to_decode: int
    training: PlannedTraining
    folder: Path
    disk_bytes: float
    free_bytes: int


class _MeasuringError(Exception):
    """Ends `prepare` after all its checks, before it would begin to measure."""


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
        refuse_existing(output)
    if config.evaluator == TRAINING:
        check_source(config.proxy)
    # Built-in data in its place, as images of a folder would be decoded into the cache.
    proxy = config.proxy.model_copy(update={"data": "digits"})
    checked, space = check(config.model_copy(update={"proxy": proxy}))
    config = checked.model_copy(update={"proxy": config.proxy})
    earlier = read_earlier(config, space)
    budget = _budget(config, space, measure_table, tables_dir)
    tables = tuple(_table(config, target, space, budget, tables_dir) for target in config.targets)
    training, params = _training(config, space, budget)
    folder = output or folders.results()
    return Plan(
        config=config,
        tables=tables,
        imported=len(earlier),
        to_decode=_images(config.proxy) if config.evaluator == TRAINING else 0,
        training=training,
        folder=folder,
        disk_bytes=_disk_bytes(config, training, params),
        free_bytes=shutil.disk_usage(nearest_existing(folder)).free,
    )


def _budget(
    config: SearchConfig, space: SearchSpace, measure_table: bool, tables_dir: Path | None
) -> Budget | None:
    """The limits of the search; None where a table is measured first."""

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
    config: SearchConfig, space: SearchSpace, budget: Budget | None
) -> tuple[PlannedTraining, int]:
    """What is trained, and the parameters of a typical candidate."""
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
    if config.evaluator == TRAINING:
        timing = _timing(config, typical, images, sum(at_rung) + finalists)
    params = network_cost(typical.blocks()).params
    return PlannedTraining(tuple(at_rung), finalists, images, timing), params


def _timing(
    config: SearchConfig, typical: Architecture, images: int, evaluations: int
) -> TrainingTiming:
    """Time a few steps of a typical candidate's training in a worker."""
    executor = LocalExecutor(config.workers)
    try:
        timing = executor.submit(timed_steps, typical.to_json(), config.proxy, config.seed)
        images_per_s, evaluation_s = timing.result()
    finally:
        stop_executor(executor)
    work_s = images / images_per_s + evaluation_s * evaluations
    macs = network_cost(typical.blocks(Workload.square(config.proxy.resolution))).macs
    return TrainingTiming(macs / 1e9, images_per_s, work_s / config.workers)


def _typical(config: SearchConfig, space: SearchSpace, budget: Budget | None) -> Architecture:
    """The network of median MACs among random ones that use half of the limits and more."""
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
    """Images a second of a training, and seconds of an evaluation, as timed just now.

    Runs in a worker, on images of noise.
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
    batch_s = time.perf_counter() - start
    return rate, batch_s * _validation_images(proxy) / EVALUATION_BATCH


def _validation_images(proxy: ProxyConfig) -> int:
    folder = parse_source(proxy.data)
    if folder is None:
        from nas.accuracy.data.digits import IMAGES

        return IMAGES["val"]
    return len(index_folder(folder).splits["val"])


def _images(proxy: ProxyConfig) -> int:
    """Images of a folder that are decoded before a search begins."""
    folder = parse_source(proxy.data)
    return sum(map(len, index_folder(folder).splits.values())) if folder else 0


def _disk_bytes(config: SearchConfig, training: PlannedTraining, params: int) -> float:
    """Largest size of a run's folder in bytes, roughly; without the cache and the tables."""
    waiting = training.at_rung[0] if len(training.at_rung) > 1 else 0
    trials = config.trials * TRIAL_BYTES
    model = 4 * params
    return REPORT_BYTES + STUDY_BYTES + trials + model + waiting * CHECKPOINT_BYTES * params
