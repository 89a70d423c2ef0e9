"""Builds a device kit: a zip that measures a latency table on a device without PyTorch.

The zip holds the model files, a manifest, and this project's measuring code, so that the device
follows the same protocol. ``python kit.zip`` runs it on the device, and
`nas.latency.collect.kit_import` makes a table of its results.
"""

from __future__ import annotations

import json
import shlex
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import RuntimeUnavailableError, TableError, unknown
from nas.latency.collect.tables import Progress, table_networks
from nas.latency.table.catalog import TableKey, measure_command, runtime_precision
from nas.measurement.kit.files import Digest, KitModel, Manifest
from nas.measurement.kit.source import MANIFEST
from nas.measurement.runtimes import RUNTIMES, Runtime
from nas.models.model_files.writer import ModelWriter
from nas.precision import Precision
from nas.space.architecture import Architecture
from nas.space.block import Block
from nas.space.search_space import SearchSpace
from nas.space.workload import IMAGENET, Workload
from nas.system import folders
from nas.system.atomic import replacing
from nas.system.paths import exists, is_dir
from nas.version import __version__

SOURCES = (
    "errors.py",
    "precision.py",
    "measurement/**/*.py",
    "system/__init__.py",
    "system/atomic.py",
    "system/folders.py",
    "system/json_checks.py",
    "system/paths.py",
    "system/processes.py",
    "system/text_files.py",
)
"""Files of ``nas/`` that a kit carries. They need Python's standard library alone."""

OLDEST_PYTHON = (3, 10)
"""Oldest Python version that a kit runs with."""

MAIN = f'''"""Measures this kit: python kit.zip --help"""

import sys
from pathlib import Path

if sys.version_info < {OLDEST_PYTHON}:
    found = ".".join(str(part) for part in sys.version_info[:2])
    print("error: a device kit needs Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer, "
          "this is " + found, file=sys.stderr)
    sys.exit(2)

from nas.measurement.kit.runner import main

if __name__ == "__main__":  # the child process that measures imports this file as well
    sys.exit(main(Path(__file__).absolute().parent))
'''

README = """\
A device kit: measures blocks and networks on this device, for the search on another machine.

It needs Python {python} or newer and the runtime of target {target}, but no PyTorch.

    python {name}             measures and writes results.json; an interrupted run continues
    python {name} --help      options

An unzipped kit runs with: python FOLDER
Then, where the kit was built:

    {command} tables import results.json
"""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content gives the same zip
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class KitInfo:
    """A kit that was built.

    Attributes:
        path: path of the zip.
        size_bytes: size of the zip.
        models_bytes: size of all models before compression.
        blocks, networks: number of each in the kit.
        build_s: duration of the build, seconds.
    """

    path: Path
    size_bytes: int
    models_bytes: int
    blocks: int
    networks: int
    build_s: float


@dataclass(frozen=True)
class _Contents:
    """Which models a kit holds, besides the reference and the empty model.

    Attributes:
        space: name of the space whose table the kit measures.
        workload: size of the networks' input and output, and batch size.
        blocks: distinct blocks of the space.
        networks: networks that calibrate the table's latency predictor.
    """

    space: str
    workload: Workload
    blocks: list[Block]
    networks: list[Architecture]


def build_kit(
    space: SearchSpace,
    target: str,
    path: Path,
    *,
    precision: Precision | None = None,
    workload: Workload = IMAGENET,
    progress: Progress = lambda *_: None,
) -> KitInfo:
    """Write a kit that measures a table of a space.

    Args:
        space: the kit holds its distinct blocks, and its calibration networks.
        target: runtime of the device; it need not be installed on this machine.
        path: path of the zip; an existing zip is replaced once the new one is complete.
        precision: None for the target's default.
        workload: size of the networks' input and output, and batch size.
        progress: called after every model.

    Raises:
        RuntimeUnavailableError: kits cannot be made for the target, or a package that converts
            models is missing on this machine.
        TableError: the path cannot be written, or is a file that is not a zip; the runtime does
            not support the precision; the space has too few networks.
        ArchitectureError: the space has no networks at the resolution.
    """
    started = time.monotonic()
    runtime = _kit_runtime(target)
    writer = ModelWriter(runtime, runtime_precision(runtime, precision), workload.batch_size)
    contents = _Contents(space.name, workload, space.blocks(workload), table_networks(space))
    _check_place(path)
    try:
        with (
            replacing(path) as partial,
            zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            models = _write_models(archive, writer, contents, progress)
            _write_code(archive, _manifest(writer, contents, models), path.name)
    except OSError as error:
        where = error.filename or path
        raise TableError(f"{where}: cannot be written: {error.strerror or error}") from None
    return KitInfo(
        path,
        size_bytes=path.stat().st_size,
        models_bytes=sum(model.size_bytes for model in models),
        blocks=len(contents.blocks),
        networks=len(contents.networks),
        build_s=time.monotonic() - started,
    )


def _kit_runtime(target: str) -> Runtime:
    with_kits = sorted(name for name, runtime in RUNTIMES.items() if runtime.in_kits)
    if target not in RUNTIMES:
        raise RuntimeUnavailableError(unknown("target", target, with_kits))
    if not RUNTIMES[target].in_kits:
        raise RuntimeUnavailableError(
            f"target {target!r} has no kits: measure it on the device itself with "
            f"{measure_command(TableKey(target))}; kits are for: {', '.join(with_kits)}"
        )
    return RUNTIMES[target]


def _check_place(path: Path) -> None:
    """Check that a kit can be written to a path.

    Raises:
        TableError: the path is a folder or a file that is no kit, or its folder does not exist.
    """
    if is_dir(path):
        raise TableError(f"{path}: is a folder; name a file such as kit.zip")
    if exists(path) and not _is_kit(path):
        raise TableError(f"{path}: is there already, and no kit; name another file")
    if not is_dir(path.parent):
        raise TableError(f"{path.parent}: no such folder; make it, or name another place")


def _is_kit(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return MANIFEST in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


@dataclass(frozen=True)
class _Job:
    """A model to write.

    Attributes:
        name: name of the model, unique in the kit.
        kind: reference, empty, block or network.
        value: the block or network as JSON; None for the other kinds.
        write: writes the model's file into a folder and returns its path.
    """

    name: str
    kind: str
    value: dict[str, Any] | None
    write: Callable[[Path], Path]


def _jobs(writer: ModelWriter, contents: _Contents) -> Iterator[_Job]:
    yield _Job("reference", "reference", None, writer.reference)
    yield _Job("empty", "empty", None, writer.empty)
    for block in contents.blocks:
        name = f"block-{block.id}"

        def write_block(folder: Path, block: Block = block, name: str = name) -> Path:
            return writer.block(block, writer.path(folder, name))

        yield _Job(name, "block", block.to_json(), write_block)
    for network in contents.networks:
        name = f"network-{network.id}"

        def write(folder: Path, network: Architecture = network, name: str = name) -> Path:
            return writer.network(network, contents.workload, writer.path(folder, name))

        yield _Job(name, "network", network.to_json(), write)


def _write_models(
    archive: zipfile.ZipFile,
    writer: ModelWriter,
    contents: _Contents,
    progress: Progress,
) -> tuple[KitModel, ...]:
    """Add all models to the zip; returns their entries for the manifest.

    One model is written after the other, so that the disk never holds two uncompressed ones.
    """
    counts = {"block": len(contents.blocks), "network": len(contents.networks)}
    done = dict.fromkeys(counts, 0)
    models = []
    for job in _jobs(writer, contents):
        with tempfile.TemporaryDirectory(prefix="nas-kit-") as folder:
            path = job.write(Path(folder))
            file = f"models/{path.name}"
            digest = _add_model(archive, path, file)
        sha256, size_bytes = digest.hexdigest(), digest.size_bytes
        models.append(KitModel(job.name, job.kind, file, sha256, size_bytes, job.value))
        if job.kind in done:
            done[job.kind] += 1
            progress(f"{job.kind}s", done[job.kind], counts[job.kind])
    return tuple(models)


def _manifest(writer: ModelWriter, contents: _Contents, models: tuple[KitModel, ...]) -> Manifest:
    return Manifest(
        project_version=__version__,
        space=contents.space,
        target=writer.runtime.name,
        precision=writer.precision,
        batch_size=writer.batch_size,
        resolution=contents.workload.resolution,
        num_classes=contents.workload.outputs,
        models=models,
    )


def _add_model(archive: zipfile.ZipFile, path: Path, file: str) -> Digest:
    """Add a model's file, or all files of its package in sorted order; returns the digest."""
    digest = Digest(package=path.is_dir())
    inside = [entry.relative_to(path).as_posix() for entry in path.rglob("*") if entry.is_file()]
    for name in sorted(inside) if path.is_dir() else [""]:
        source = path / name if name else path
        digest.begin(name)
        entry = _entry(f"{file}/{name}" if name else file)
        entry.file_size = (
            source.stat().st_size
        )  # zipfile needs it to choose its format for more than 4 GB
        with source.open("rb") as opened, archive.open(entry, "w") as packed:
            while data := opened.read(_CHUNK_BYTES):
                digest.update(data)
                packed.write(data)
    return digest


def _write_code(archive: zipfile.ZipFile, manifest: Manifest, name_of_zip: str) -> None:
    """Add the manifest, a README, and the code that measures on the device."""
    package = Path(__file__).parents[2]
    archive.writestr(_entry("nas/__init__.py"), "")
    for pattern in SOURCES:
        for source in sorted(package.glob(pattern)):
            name = f"nas/{source.relative_to(package).as_posix()}"
            archive.writestr(_entry(name), source.read_bytes())
    archive.writestr(_entry("__main__.py"), MAIN)
    python = ".".join(str(part) for part in OLDEST_PYTHON)
    name, command = shlex.quote(name_of_zip), folders.command()
    text = README.format(python=python, command=command, target=manifest.target, name=name)
    archive.writestr(_entry("README.txt"), text.encode("utf-8", "backslashreplace"))
    archive.writestr(_entry(MANIFEST), json.dumps(manifest.to_json(), indent=1) + "\n")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry
