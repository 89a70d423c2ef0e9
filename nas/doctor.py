"""Checks whether this machine has what a search needs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nas.accuracy.data.source import absolute_source, check_source
from nas.config import ProxyConfig
from nas.errors import DataError, TableError, UserError
from nas.latency.table.catalog import (
    changes,
    list_tables,
    new_table_folder,
    why_not_this_machine,
)
from nas.latency.table.files import read_table
from nas.measurement.device import this_cpu
from nas.measurement.runtimes import RUNTIMES
from nas.system import folders
from nas.system.paths import is_writable, nearest_existing

LEAST_FREE_BYTES = 200_000_000
"""Least free disk space in bytes: roughly what a search and the models that it measures take."""


@dataclass(frozen=True)
class Finding:
    """One thing that a search may need.

    Attributes:
        name: name of a runtime, an accelerator, a table, a data source or a folder.
        usable: whether it can be used here.
        text: what it is, or what is missing and how to get it.
    """

    name: str
    usable: bool
    text: str


@dataclass(frozen=True)
class Diagnosis:
    """What this machine has for a search.

    Attributes:
        runtimes: runtimes that measure latencies.
        accelerators: devices that train.
        tables: the latency tables found.
        data: data sets on which candidates can be trained.
        folders: folders to which files are written.
        problems: everything that prevents a search; empty if one can run.
    """

    runtimes: tuple[Finding, ...]
    accelerators: tuple[Finding, ...]
    tables: tuple[Finding, ...]
    data: tuple[Finding, ...]
    folders: tuple[Finding, ...]
    problems: tuple[str, ...]


def diagnose(data: str | None = None, tables_dir: Path | None = None) -> Diagnosis:
    """Examine this machine; nothing is written or measured.

    Args:
        data: a data source to check besides the built-in one, ``imagefolder:PATH``; None for
            the built-in one alone.
        tables_dir: folder of the tables; None for the usual folders.
    """
    runtimes = tuple(_runtimes())
    accelerators = tuple(_accelerators())
    tables = tuple(_tables(tables_dir))
    sources = tuple(_source(source) for source in ("digits", data) if source)
    results = _folder("results", folders.results(), "choose another with --output")
    kept = _tables_folder(tables_dir)
    cache = _cache_folder()
    temporary = _folder("models to measure", Path(tempfile.gettempdir()), "set TMPDIR to another")
    lacking = [f"{f.name}: {f.text}" for f in (kept, temporary) if not f.usable]
    if not any(runtime.usable for runtime in runtimes):
        lacking = ["no runtime measures here, and there is no latency table"]
    needs = (
        (accelerators[0].usable, f"PyTorch: {accelerators[0].text}"),
        (sources[-1].usable, f"data: {sources[-1].text}"),
        (results.usable, f"results: {results.text}"),
        (not lacking or any(table.usable for table in tables), "; ".join(lacking)),
    )
    return Diagnosis(
        runtimes=runtimes,
        accelerators=accelerators,
        tables=tables,
        data=sources,
        folders=(results, kept, cache, temporary),
        problems=tuple(text for fulfilled, text in needs if not fulfilled),
    )


def _runtimes() -> Iterator[Finding]:
    for name, runtime in RUNTIMES.items():
        reason = runtime.unavailable()
        if reason:
            yield Finding(name, False, reason)
        else:
            precisions = ", ".join(runtime.precisions)
            description = runtime.device().description
            yield Finding(name, True, f"{runtime.version()}, {description} ({precisions})")


def _accelerators() -> Iterator[Finding]:
    """Accelerators for training: the CPU first, which is used if there is no other."""
    try:
        import torch
    except Exception as error:  # a broken installation can raise any error
        said = " ".join(str(error).split())[:120]
        yield Finding("cpu", False, f"torch cannot be imported ({said}): pip install torch")
        return
    cpu = this_cpu()
    yield Finding("cpu", True, f"{cpu.description}, torch {torch.__version__}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(count):
        memory = torch.cuda.get_device_properties(index).total_memory / 1e9
        yield Finding("cuda", True, f"{torch.cuda.get_device_name(index)}, {memory:.0f} GB")
    if not count:
        build = "this torch is built without CUDA" if torch.version.cuda is None else "no GPU"
        yield Finding("cuda", False, f"{build}: see pytorch.org for the build of your driver")
    if torch.backends.mps.is_available():
        yield Finding("mps", True, "the GPU of this Mac")
    else:
        yield Finding("mps", False, "needs a Mac with Apple silicon")


def _tables(tables_dir: Path | None) -> Iterator[Finding]:
    for path in list_tables(tables_dir):
        name = f"{path.parent.name}/{path.name}"
        try:
            table = read_table(path)
        except TableError as error:
            yield Finding(name, False, str(error).splitlines()[0])
            continue
        meta = table.meta
        here = why_not_this_machine(table) is None
        text = f"{meta.kind} on {meta.device_description}, {meta.updated}"
        if meta.kind == "published":
            text = f"estimates for {meta.device_description}"
        elif here:
            text = f"{meta.kind} on this machine, {meta.updated}"
        changed = changes(meta)
        yield Finding(name, True, f"{text}; with {changed}" if changed else text)


def _source(source: str) -> Finding:
    """Check a data source: its images are counted, but not opened."""
    try:
        absolute_source(source)
        index = check_source(ProxyConfig(data=source))
        if index is None:
            from sklearn.datasets import load_digits

            return Finding(source, True, f"{len(load_digits().target):,} scans, come along")
    except (DataError, ImportError) as error:
        return Finding(source, False, str(error))
    counts = ", ".join(f"{len(images):,} {split}" for split, images in index.splits.items())
    left_out = f"; left out: {index.left_out}" if index.left_out else ""
    text = f"{len(index.class_names):,} classes, images: {counts}{left_out}"
    return Finding(source, True, text)


def _tables_folder(tables_dir: Path | None) -> Finding:
    try:
        return _folder("new tables", new_table_folder(tables_dir), "name another with --tables-dir")
    except UserError as error:
        return Finding("new tables", False, str(error))


def _cache_folder() -> Finding:
    try:
        return _folder("cache", folders.user_cache(), "set XDG_CACHE_HOME to another")
    except UserError as error:
        return Finding("cache", False, str(error))


def _folder(name: str, path: Path, remedy: str) -> Finding:
    """Check that a folder for output, which need not exist, is writable and has enough space."""
    path = path.absolute()
    existing = nearest_existing(path)
    if not is_writable(existing):
        return Finding(name, False, f"{path} cannot be written: {remedy}")
    free = shutil.disk_usage(existing).free
    text = f"{path}, {free / 1e9:.1f} GB free"
    if free < LEAST_FREE_BYTES:
        return Finding(name, False, f"{text}, too little: make room, or {remedy}")
    return Finding(name, True, text)
