"""Runs a device kit on its device: measures every model and writes one file of results.

The kit's ``__main__.py`` calls `main`. Results are written after every group of models, so an
interrupted run loses at most one group; running the kit again measures the missing models.

Device kits carry this file, so it needs only Python's standard library and the device's runtime.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from nas.errors import TableError, UserError, unknown
from nas.measurement.bench import BLOCKS_AT_ONCE, NETWORKS_AT_ONCE, TRIES, groups
from nas.measurement.bench_process import BenchProcess
from nas.measurement.kit.files import Conditions, KitResults, Manifest, read_results, write_results
from nas.measurement.kit.source import KitSource, open_kit
from nas.measurement.protocol import BLOCK_EFFORT, NETWORK_EFFORT, NOT_STEADY, Effort
from nas.measurement.runtimes import RUNTIMES

GROUPS: dict[str, tuple[int, Effort]] = {
    "block": (BLOCKS_AT_ONCE, BLOCK_EFFORT),
    "network": (NETWORKS_AT_ONCE, NETWORK_EFFORT),
}
"""Models in a group and effort, by the kind of model: the same as for tables measured directly."""

INTERRUPTED = 130
_LINE_EVERY_S = 5.0


def main(kit: Path, arguments: Sequence[str] | None = None) -> int:
    """Run a kit from the command line.

    Args:
        kit: zip file or folder of the kit.
        arguments: command-line arguments without the program's name; None for ``sys.argv``.

    Returns:
        Exit code: 0 for success, 2 for an error of the user, 130 for an interrupt.
    """
    options = _parser(kit).parse_args(arguments)
    results: Path = options.results
    try:
        with open_kit(kit) as source:
            if options.list:
                _print_list(source, results)
            else:
                _measure(source, results)
        return 0
    except KeyboardInterrupt:
        _print_to_stderr(_interrupted_message(kit, results))
        return INTERRUPTED
    except UserError as error:
        _print_to_stderr(f"error: {error}")
    except OSError as error:
        where = error.filename or tempfile.gettempdir()
        _print_to_stderr(
            f"error: {where}: {error.strerror or error}; TMPDIR can name a folder with more space"
        )
    return 2


def _parser(kit: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python {shlex.quote(kit.name)}",
        description="Measures the latency of blocks and networks on this device. An interrupted "
        "run continues when it is started again.",
    )
    parser.add_argument(
        *("--results", "-o"),
        type=Path,
        default=Path("results.json"),
        help="file to write, or to resume (default: results.json)",
    )
    parser.add_argument("--list", action="store_true", help="list the models and measure nothing")
    return parser


def _measure(source: KitSource, path: Path) -> None:
    """Measure the models that the file of results ``path`` lacks."""
    conditions = _conditions(source)
    _require_writable(path)
    results = _resumable_results(path, source, conditions) if path.exists() else None
    manifest = source.manifest
    batch = f"{manifest.precision}, batch {manifest.batch_size}, {manifest.resolution} pixels"
    print(f"{manifest.target} {conditions.runtime_version} on {conditions.device_description}")
    print(f"space {manifest.space}, {batch}", flush=True)
    if results is None or any(results.missing(kind) for kind in GROUPS):
        with tempfile.TemporaryDirectory(prefix="nas-kit-") as name:
            _measure_missing(source, path, results, conditions, Path(name))
        _require_complete(path)
    print(f"{path} is complete. Where the kit was built, run:")
    print(f"  python run_search.py tables import {shlex.quote(path.name)}")


def _require_complete(path: Path) -> None:
    """Raise TableError if models were left out because they could not be measured well."""
    results = read_results(path)
    count = sum(len(results.missing(kind)) for kind in GROUPS)
    if count:
        raise TableError(
            f"{path}: {count} models are left out, as {NOT_STEADY}; the others are kept: run the "
            f"kit again when the machine does less, it measures only these"
        )


def _conditions(source: KitSource) -> Conditions:
    """Describe this device and its runtime.

    Raises:
        TableError: the target is unknown, or its runtime cannot run here.
    """
    target = source.manifest.target
    if target not in RUNTIMES:
        raise TableError(f"{source.path}: {unknown('target', target, RUNTIMES)}")
    runtime = RUNTIMES[target]
    reason = runtime.unavailable()
    if reason:
        raise TableError(f"this device cannot run a kit of target {target}: {reason}")
    device = runtime.device()
    return Conditions(
        device=device.name,
        device_description=_printable(device.description),
        threads=device.threads,
        runtime_version=_printable(runtime.version()),
        python=_printable(platform.python_version()),
        platform=_printable(platform.platform()),
    )


def _resumable_results(path: Path, source: KitSource, conditions: Conditions) -> KitResults:
    """Read the results in a file, to resume them.

    Raises:
        TableError: the file is damaged, of another kit, or was measured under other conditions.
    """
    results = read_results(path)
    start_anew = "name another file with --results, or delete this one"
    if results.manifest != source.manifest:
        raise TableError(f"{path}: has the results of another kit: {start_anew}")
    difference = results.conditions.difference(conditions)
    if difference:
        raise TableError(
            f"{path}: was measured with {difference}; new latencies would not be comparable: "
            f"{start_anew}"
        )
    return results


def _require_writable(path: Path) -> None:
    """Raise TableError, before anything is measured, if a file cannot be written."""
    if path.is_dir():
        raise TableError(f"{path}: is a folder; name a file with --results")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise TableError(
            f"{path}: cannot be written: {error.strerror or error}; name another file with "
            f"--results"
        ) from None


def _measure_missing(
    source: KitSource,
    path: Path,
    results: KitResults | None,
    conditions: Conditions,
    folder: Path,
) -> None:
    """Measure the missing blocks in one process, then the missing networks in another.

    In a process that has measured hundreds of blocks, networks are a little slower.
    """
    manifest = source.manifest
    fixed = [*manifest.of_kind("reference"), *manifest.of_kind("empty")]
    with source.models(fixed, folder) as (reference, empty):
        for kind in GROUPS:
            if results is not None and not results.missing(kind):
                continue
            known_ms = results.reference_ms if results else None
            with BenchProcess(
                manifest.target, manifest.precision, reference, empty, known_ms
            ) as bench:
                results = results or _new_results(manifest, conditions, bench)
                for _ in range(TRIES):
                    results = _measure_kind(kind, source, path, results, bench, folder)


def _new_results(manifest: Manifest, conditions: Conditions, bench: BenchProcess) -> KitResults:
    today = _today()
    latencies = (bench.reference_ms, bench.quiet_ms(), bench.overhead_ms)
    return KitResults(manifest, conditions, today, today, *latencies, rows={})


def _measure_kind(
    kind: str,
    source: KitSource,
    path: Path,
    results: KitResults,
    bench: BenchProcess,
    folder: Path,
) -> KitResults:
    size, effort = GROUPS[kind]
    todo = results.missing(kind)
    progress = _Progress(f"{kind}s", len(todo))
    for group in groups(todo, size):
        with source.models(group, folder) as files:
            timings = bench.measure(files, effort)
        measured = zip(group, timings, strict=True)
        rows = {model.name: timing for model, timing in measured if timing.steady}
        results = results.with_rows(rows, bench.quiet_ms(), _today())
        write_results(path, results)
        progress.advance(len(group))
    return results


class _Progress:
    """Prints every few seconds how many models are measured, and the time that remains."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._started = self._last_line = time.monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        left = self._total - self._done
        if left and now - self._last_line < _LINE_EVERY_S:
            return
        self._last_line = now
        left_s = (now - self._started) / self._done * left
        ending = f", about {left_s:.0f} s left" if left else ""
        print(f"  {self._what}: {self._done} of {self._total} measured{ending}", flush=True)


def _print_list(source: KitSource, path: Path) -> None:
    manifest = source.manifest
    done = read_results(path).rows if path.exists() else {}
    print(f"kit of space {manifest.space} for {manifest.target}, {manifest.precision}:")
    for model in manifest.models:
        state = f"{done[model.name].latency_ms:9.4f} ms" if model.name in done else " " * 12
        print(f"  {state}  {model.size_bytes / 1e6:8.2f} MB  {model.kind:<9}  {model.name}")


def _interrupted_message(kit: Path, results: Path) -> str:
    """Message after an interrupt: what is saved, and the command that resumes."""
    again = f"python {shlex.quote(str(kit))}"
    if results != Path("results.json"):
        again += f" --results {shlex.quote(str(results))}"
    try:
        kept = len(read_results(results).rows)
    except UserError:
        kept = 0
    return f"interrupted; {kept} models are measured and kept in {results}; go on with: {again}"


def _printable(text: str) -> str:
    """The text as one printable line of at most 200 characters, as result files require."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200]


def _print_to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _today() -> str:
    return datetime.date.today().isoformat()
