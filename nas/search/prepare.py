"""What comes before a search: every check, and the latency table."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from nas.config import SearchConfig
from nas.errors import ArchitectureError, TableError, TableWarning
from nas.latency.catalogue import TableKey, changes, find_table, measure_command, own_key
from nas.latency.collect import collect_table, missing_for
from nas.latency.completion import with_interpolated
from nas.latency.predictor import LatencyPredictor
from nas.latency.table import LatencyTable
from nas.paths import is_file
from nas.proxy.imagefolder import read_source
from nas.proxy.source import absolute_source, check_source
from nas.search.budget import Budget
from nas.search.listener import Listener
from nas.search.sampler import make_sampler
from nas.space import SearchSpace
from nas.space_file import load_space, space_names


@dataclass(frozen=True)
class Prepared:
    """A search of which everything that can be wrong was checked, and its table is there."""

    config: SearchConfig
    space: SearchSpace
    table: LatencyTable
    budget: Budget


def prepare(
    config: SearchConfig, measure_table: bool, tables_dir: Path, listener: Listener
) -> Prepared:
    """Everything that can be wrong is found here, before anything is spent."""
    config = _with_absolute_paths(config)
    space = load_space(config.space)
    make_sampler(config.sampler, config.seed)
    check_source(config.proxy)
    space.check_resolution(config.resolution)
    try:
        space.check_resolution(config.proxy.resolution)
    except ArchitectureError as error:
        raise ArchitectureError(f"proxy training: {error}") from None
    read_source(config.proxy)
    table = _table(config, space, measure_table, tables_dir, listener)
    meta = table.meta
    changed = changes(meta)
    if changed:
        warnings.warn(
            f"table {table.name} was measured with {changed}; whether it still holds says "
            f"python run_search.py tables verify {table.name}",
            TableWarning,
            stacklevel=2,
        )
    config = config.model_copy(
        update={
            "device": meta.device,
            "precision": meta.precision,
            "batch_size": meta.batch_size,
        }
    )
    predictor = LatencyPredictor.fit(table)
    budget = Budget(space, predictor, config.budget_ms, config.resolution, config.num_classes)
    budget.require_feasible()
    return Prepared(config, space, table, budget)


def _with_absolute_paths(config: SearchConfig) -> SearchConfig:
    """The run can then be gone on with from any folder."""
    space = config.space
    if space not in space_names() and is_file(Path(space)):
        space = str(Path(space).absolute())
    proxy = config.proxy.model_copy(update={"data": absolute_source(config.proxy.data)})
    return config.model_copy(update={"space": space, "proxy": proxy})


def _table(
    config: SearchConfig,
    space: SearchSpace,
    measure_table: bool,
    tables_dir: Path,
    listener: Listener,
) -> LatencyTable:
    """The table the options mean, measured first where this machine can and may."""
    options = (config.target, config.device, config.precision, config.batch_size)
    table = find_table(*options, tables_dir)
    own = own_key(config.target, config.precision, config.batch_size)
    if table is not None and table.meta.kind != "measured":
        return table
    missing = missing_for(table, space, config.resolution, config.num_classes) if table else None
    if table is not None and not missing:
        return table
    if table is not None and config.interpolate and table.networks:
        return with_interpolated(table, space.blocks(config.resolution, config.num_classes))
    mine = own is not None and (table is None or table.meta.folder == own.folder)
    if mine and measure_table:
        listener.stage("measuring")
        return collect_table(
            space,
            config.target,
            precision=config.precision,
            batch_size=config.batch_size,
            resolution=config.resolution,
            num_classes=config.num_classes,
            tables_dir=tables_dir,
            progress=listener.measuring,
        )
    key = own or TableKey(*options)
    command = measure_command(key, config.space, config.resolution, config.num_classes, tables_dir)
    if table is None or missing is None:
        assert own is not None
        raise TableError(
            f"no latency table for {config.target} on this machine ({own.folder}); "
            f"measure one: {command}"
        )
    if not missing.blocks:
        return table
    named = "; ".join(str(block) for block in missing.blocks[:3])
    where = "" if mine else f" on {table.meta.device_description}"
    raise TableError(
        f"table {table.name} lacks {len(missing.blocks)} of the "
        f"{len(space.blocks(config.resolution, config.num_classes))} blocks of space "
        f"{space.name!r} at {config.resolution} pixels ({named}"
        f"{'; ...' if len(missing.blocks) > 3 else ''}): run{where}: {command}"
    )
