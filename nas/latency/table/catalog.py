"""Lists the latency tables, and finds the one that a search uses."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from nas.errors import TableError, unknown
from nas.latency.table.files import read_table
from nas.latency.table.table import LatencyTable, TableMeta
from nas.measurement.device import hardware
from nas.measurement.runtimes import RUNTIMES, Runtime
from nas.precision import Precision
from nas.space.workload import IMAGENET, Workload
from nas.system import folders
from nas.system.paths import exists


@dataclass(frozen=True)
class TableKey:
    """Target, device, precision and batch size of a table; a field that is None is not given."""

    target: str
    device: str | None = None
    precision: Precision | None = None
    batch_size: int | None = None

    @property
    def folder(self) -> str:
        """Name of the table's folder; all fields of the key must be set."""
        return f"{self.device}.{self.precision}.b{self.batch_size}"


def table_folders(tables_dir: Path | None) -> tuple[Path, ...]:
    """Folders to search for tables: the given folder, else `nas.system.folders.tables`."""
    return folders.tables() if tables_dir is None else (tables_dir,)


def new_table_folder(tables_dir: Path | None) -> Path:
    """Folder to which a new table goes: the given one, else `nas.system.folders.new_tables`.

    Raises:
        ConfigError: no folder is given, and the user has no folder for data.
    """
    return folders.new_tables() if tables_dir is None else tables_dir


def target_names(tables_dir: Path | None = None) -> list[str]:
    """Targets that have a table or a runtime that can measure one."""
    return sorted({path.parent.name for path in list_tables(tables_dir)} | set(RUNTIMES))


def list_tables(tables_dir: Path | None = None, target: str | None = None) -> list[Path]:
    """Folders of all tables, or of one target's tables, sorted by name.

    If several folders have a table of the same name, only the first of them is listed.
    """
    found: dict[tuple[str, str], Path] = {}
    for folder in table_folders(tables_dir):
        for meta in folder.glob(f"{target or '*'}/*/meta.json"):
            path = meta.parent
            found.setdefault((path.parent.name, path.name), path)
    return [found[name] for name in sorted(found)]


def table_path(target: str, name: str, tables_dir: Path | None = None) -> Path | None:
    """Folder of the table ``name`` of a target; None if there is no such table."""
    paths = (folder / target / name for folder in table_folders(tables_dir))
    return next((path for path in paths if exists(path / "meta.json")), None)


def own_key(
    target: str, precision: Precision | None = None, batch_size: int | None = None
) -> TableKey | None:
    """Key of the table that this machine would measure for a target; None if it cannot.

    Args:
        target: name of the target.
        precision: None for the target's default.
        batch_size: None for 1.

    Raises:
        TableError: the runtime does not support the precision.
    """
    if target not in RUNTIMES:
        return None
    runtime = RUNTIMES[target]
    if runtime.unavailable():
        return None
    precision = runtime_precision(runtime, precision)
    return TableKey(target, runtime.device().name, precision, batch_size or 1)


def runtime_precision(runtime: Runtime, precision: Precision | None) -> Precision:
    """The given precision, or the runtime's default if it is None.

    Raises:
        TableError: the runtime does not support the precision.
    """
    if precision not in (None, *runtime.precisions):
        known = ", ".join(runtime.precisions)
        raise TableError(f"--precision {precision}: target {runtime.name} has {known}")
    return precision or runtime.precisions[0]


def find_table(
    target: str,
    device: str | None = None,
    precision: Precision | None = None,
    batch_size: int | None = None,
    tables_dir: Path | None = None,
) -> LatencyTable | None:
    """The table that the options select.

    This machine's own table comes first; otherwise exactly one table must fit the options.

    Returns:
        The table, or None if this machine has none yet but can measure it.

    Raises:
        TableError: unknown target or device, no table fits, or several do; names the existing ones.
    """
    if target not in target_names(tables_dir):
        raise TableError(unknown("target", target, target_names(tables_dir)))
    own = own_key(target, precision, batch_size)
    if own and device in (None, own.device):
        path = table_path(target, own.folder, tables_dir)
        return read_table(path) if path else None
    tables = [read_table(path) for path in list_tables(tables_dir, target)]
    if not tables:
        raise TableError(
            f"no latency table for {target}, and {_why_not_here(target, device)}; measure "
            f"one on the device: {measure_command(TableKey(target, None, precision, batch_size))}"
        )
    devices = sorted({table.meta.device for table in tables})
    if device is not None and device not in devices:
        hint = "" if tables_dir else "; name another folder of tables with --tables-dir"
        raise TableError(unknown(f"device of target {target}", device, devices) + hint)
    fitting = [
        table
        for table in tables
        if device in (None, table.meta.device)
        and precision in (None, table.meta.precision)
        and batch_size in (None, table.meta.batch_size)
    ]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(table.meta.folder for table in (fitting or tables)) or "none"
    if not fitting:
        wanted = _options(device, precision, batch_size)
        raise TableError(f"no table of target {target} fits {wanted}; there are: {names}")
    raise TableError(
        f"target {target} has {len(fitting)} tables that fit ({names}); "
        f"choose one with --device, --precision and --batch-size"
    )


def _why_not_here(target: str, device: str | None) -> str:
    reason = RUNTIMES[target].unavailable()
    return f"none can be measured here: {reason}" if reason else f"this machine is not {device}"


def load_table(
    target: str,
    device: str | None = None,
    precision: Precision | None = None,
    batch_size: int | None = None,
    tables_dir: Path | None = None,
) -> LatencyTable:
    """Like `find_table`, but a table that has yet to be measured is an error.

    Raises:
        TableError: as `find_table`; or this machine has no table yet (the message has the command
            that measures it).
    """
    table = find_table(target, device, precision, batch_size, tables_dir)
    if table is None:
        own = own_key(target, precision, batch_size)
        assert own is not None
        raise TableError(
            f"no latency table for {target} on this machine ({own.folder}); "
            f"measure one: {measure_command(own, tables_dir=tables_dir)}"
        )
    return table


def why_not_this_machine(table: LatencyTable) -> str | None:
    """Why this machine cannot verify a table's predictions, or None if it can."""
    meta = table.meta
    if meta.target not in RUNTIMES:
        return f"{meta.target} is a target that cannot be measured"
    reason = RUNTIMES[meta.target].unavailable()
    if reason:
        return f"{meta.target} cannot run here: {reason}"
    try:
        own = own_key(meta.target, meta.precision, meta.batch_size)
    except TableError as error:
        return str(error)
    if meta.kind == "published" or not _is_this_device(meta):
        return f"this machine is not {meta.device_description}"
    if own is None or own.folder != meta.folder:
        return f"it was measured with {changes(meta)}"
    return None


def _is_this_device(meta: TableMeta) -> bool:
    """Whether a table was measured on this machine's hardware, with any number of CPUs."""
    if meta.target not in RUNTIMES or RUNTIMES[meta.target].unavailable():
        return False
    return hardware(meta.device) == hardware(RUNTIMES[meta.target].device().name)


def changes(meta: TableMeta) -> str | None:
    """What changed on this machine since a table was measured on it.

    Returns:
        For example ``runtime version 1.31, now it is 1.32``; None if nothing has changed, or if
        the table is not of this machine's hardware.
    """
    if meta.kind == "published" or not _is_this_device(meta):
        return None
    runtime = RUNTIMES[meta.target]
    here = runtime.device()
    found = [
        f"{what} {old}, now it is {new}"
        for what, old, new in (
            ("runtime version", meta.runtime_version, runtime.version()),
            ("threads", meta.threads, here.threads),
        )
        if old != new
    ]
    if meta.threads == here.threads and meta.device != here.name:  # another quota of the CPUs' time
        found.append(f"device {meta.device}, now it is {here.name}")
    return "; ".join(found) or None


def measure_command(
    key: TableKey,
    space: str = "nextvit",
    workload: Workload = IMAGENET,
    tables_dir: Path | None = None,
) -> str:
    """The command that measures a table on the machine where the command is run.

    Options that would have their usual value are left out.
    """
    command = f"{folders.command()} tables measure --target {key.target}"
    usual = RUNTIMES[key.target].precisions[0] if key.target in RUNTIMES else None
    if key.precision not in (None, usual):
        command += f" --precision {key.precision}"
    if key.batch_size not in (None, 1):
        command += f" --batch-size {key.batch_size}"
    if space != "nextvit":
        command += f" --space {shlex.quote(space)}"
    if workload.resolution != IMAGENET.resolution:
        command += f" --resolution {workload.resolution}"
    if workload.outputs != IMAGENET.outputs:
        command += f" --num-classes {workload.outputs}"
    if tables_dir not in (None, *folders.tables()):
        command += f" --tables-dir {shlex.quote(str(tables_dir))}"
    return command


def remeasure_command(
    table: LatencyTable, space: str = "nextvit", workload: Workload = IMAGENET
) -> str:
    """The command that, on the table's device, measures its missing or estimated rows."""
    meta = table.meta
    key = TableKey(meta.target, None, meta.precision, meta.batch_size)
    return measure_command(key, space, workload, table.path.parents[1])


def _options(device: str | None, precision: str | None, batch_size: int | None) -> str:
    given = {"--device": device, "--precision": precision, "--batch-size": batch_size}
    return " ".join(f"{name} {value}" for name, value in given.items() if value is not None)
