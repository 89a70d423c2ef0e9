"""Prepares a search: checks its configuration, and finds or measures its latency tables."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.accuracy import evaluators
from nas.accuracy.data.source import DataSummary
from nas.accuracy.evaluators import check_evaluator
from nas.accuracy.fidelity import rung_images
from nas.config import TRAINING, SearchConfig, TargetConfig
from nas.errors import ConfigError, TableError, TableWarning
from nas.latency.collect.tables import collect_table, missing_for
from nas.latency.predict.completion import with_interpolated
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.catalog import TableKey, changes, find_table, measure_command, own_key
from nas.latency.table.table import LatencyTable
from nas.search.callbacks import Listener
from nas.search.limits import Budget, DeviceBudget
from nas.search.sampler.samplers import check_sampler
from nas.space.search_space import SearchSpace
from nas.space.space_files import load_space, space_names
from nas.system import folders
from nas.system.paths import is_file

MIN_STEPS = 3
"""Least number of batches up to the first rung; a training of fewer batches learns nothing."""


@dataclass(frozen=True)
class Prepared:
    """A checked configuration, with its space, tables and limits.

    Attributes:
        config: each target names the device, precision and batch size of its table.
        space: search space of the candidates.
        tables: one per target, in the order of ``config.targets``.
        budget: the limits, with a predictor of each table.
        data: the data to train on; None for an evaluator that does not train.
    """

    config: SearchConfig
    space: SearchSpace
    tables: tuple[LatencyTable, ...]
    budget: Budget
    data: DataSummary | None = None


def check(config: SearchConfig) -> tuple[SearchConfig, SearchSpace]:
    """Check everything about a search except its tables, before any time is spent.

    No image of the data is opened; `nas.accuracy.evaluators.read_data` does that.

    Returns:
        The configuration with absolute paths, and its search space.

    Raises:
        UserError: the space, sampler, rungs, workload or evaluator cannot be used.
    """
    config = with_absolute_paths(config)
    space = load_space(config.space)
    check_sampler(config.sampler)
    _check_rungs(config)
    space.check_workload(config.workload)
    check_evaluator(config, space)
    return config, space


def prepare(
    config: SearchConfig,
    space: SearchSpace,
    measure_table: bool,
    tables_dir: Path | None,
    listener: Listener,
    data: DataSummary | None = None,
) -> Prepared:
    """Find the latency table of each target, or measure it if it is this machine's.

    Args:
        config, space: as returned by `check`.
        measure_table: whether this machine may measure a table that is missing or incomplete. It
            begins only if the targets whose tables were found can keep their budgets.
        tables_dir: folder of the tables; None for the usual folders.
        listener: callbacks for progress.
        data: the data to train on.

    Raises:
        UserError: a table is missing, a device is given twice, or no network keeps the limits.
    """
    found = [_found(config, t, space, measure_table, tables_dir) for t in config.targets]
    _refuse_equal(config.targets, found)
    there = [(t, table) for t, table in zip(config.targets, found, strict=True) if table]
    if there and len(there) < len(found):
        _budget(config, space, there).require_feasible()
    tables = tuple(
        table or _measured(config, target, space, tables_dir, listener)
        for target, table in zip(config.targets, found, strict=True)
    )
    for table in tables:
        _warn_of_changes(table)
    targets = [
        target.model_copy(update=_key_of(table))
        for target, table in zip(config.targets, tables, strict=True)
    ]
    config = config.model_copy(update={"targets": tuple(targets)})
    budget = _budget(config, space, list(zip(targets, tables, strict=True)))
    budget.require_feasible()
    return Prepared(config, space, tables, budget, data)


def _budget(
    config: SearchConfig, space: SearchSpace, targets: Sequence[tuple[TargetConfig, LatencyTable]]
) -> Budget:
    return Budget(
        space=space,
        devices=tuple(
            DeviceBudget(
                LatencyPredictor.fit(table, config.workload),
                target.budget_ms,
                target.budget_option,
            )
            for target, table in targets
        ),
        workload=config.workload,
        confidence=config.confidence,
        max_params=config.max_params,
        max_macs=config.max_macs,
        max_size_bytes=config.max_size_bytes,
    )


def _key_of(table: LatencyTable) -> dict[str, object]:
    meta = table.meta
    return {
        "device": meta.device,
        "precision": meta.precision,
        "batch_size": meta.batch_size,
    }


def _refuse_equal(targets: Sequence[TargetConfig], found: Sequence[LatencyTable | None]) -> None:
    names: set[str] = set()
    for target, table in zip(targets, found, strict=True):
        if table is not None:
            name = table.name
        else:
            own = own_key(target.target, target.precision, target.batch_size)
            assert own is not None  # otherwise this machine could not measure the table
            name = f"{target.target}/{own.folder}"
        if name in names:
            raise ConfigError(
                f"--target {target.target}: given twice for the same device ({name}): "
                f"name another --device, or give it once, with the smaller budget"
            )
        names.add(name)


def _warn_of_changes(table: LatencyTable) -> None:
    changed = changes(table.meta)
    if changed:
        warnings.warn(
            f"table {table.name} was measured with {changed}; whether it still holds says "
            f"{folders.command()} tables verify {table.name}",
            TableWarning,
            stacklevel=3,
        )


def _check_rungs(config: SearchConfig) -> None:
    first, batch = rung_images(config.proxy.train_images, config.rungs)[0], config.proxy.batch_size
    trains = config.evaluator == TRAINING
    if trains and config.rungs > 1 and first < MIN_STEPS * batch:
        raise ConfigError(
            f"--rungs {config.rungs}: the first would end after {first} images, which is less than "
            f"{MIN_STEPS} batches of {batch}; use fewer rungs or more --proxy-images"
        )


def with_absolute_paths(config: SearchConfig) -> SearchConfig:
    """Make the paths of a configuration absolute, so that its run can be resumed in any folder."""
    space = config.space
    if space not in space_names() and is_file(Path(space)):
        space = str(Path(space).absolute())
    warm_start = tuple(str(Path(name).absolute()) for name in config.warm_start)
    config = evaluators.with_absolute_paths(config)
    return config.model_copy(update={"space": space, "warm_start": warm_start})


def _found(
    config: SearchConfig,
    target: TargetConfig,
    space: SearchSpace,
    measure_table: bool,
    tables_dir: Path | None,
) -> LatencyTable | None:
    """Find the table of a target; return None if this machine can and may measure it first.

    Raises:
        TableError: the table is missing or lacks blocks, and is not to be measured here.
    """
    options = (target.target, target.device, target.precision, target.batch_size)
    table = find_table(*options, tables_dir)
    own = own_key(target.target, target.precision, target.batch_size)
    if table is not None and table.meta.kind != "measured":
        return table
    missing = missing_for(table, space, config.workload) if table else None
    if table is not None and not missing:
        return table
    if table is not None and config.interpolate and table.networks:
        return with_interpolated(table, space.blocks(config.workload))
    mine = own is not None and (table is None or table.meta.folder == own.folder)
    if mine and measure_table:
        return None
    key = own or TableKey(*options)
    command = measure_command(key, config.space, config.workload, tables_dir)
    if table is None or missing is None:
        assert own is not None
        raise TableError(
            f"no latency table for {target.target} on this machine ({own.folder}); "
            f"measure one: {command}"
        )
    if not missing.blocks:
        return table
    named = "; ".join(str(block) for block in missing.blocks[:3])
    where = "" if mine else f" on {table.meta.device_description}"
    raise TableError(
        f"table {table.name} lacks {len(missing.blocks)} of the "
        f"{len(space.blocks(config.workload))} blocks of space "
        f"{space.name!r} at {config.resolution} pixels ({named}"
        f"{'; ...' if len(missing.blocks) > 3 else ''}): run{where}: {command}"
    )


def _measured(
    config: SearchConfig,
    target: TargetConfig,
    space: SearchSpace,
    tables_dir: Path | None,
    listener: Listener,
) -> LatencyTable:
    """Measure this machine's own table of a target."""
    listener.stage("measuring")
    return collect_table(
        space,
        target.target,
        precision=target.precision,
        workload=config.workload.with_batch(target.batch_size or 1),
        tables_dir=tables_dir,
        progress=listener.measuring,
    )
