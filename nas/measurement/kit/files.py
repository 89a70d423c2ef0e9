"""The two JSON files of a device kit: its manifest, and the results that it writes.

Device kits carry this file, so it needs only Python's standard library.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from nas.errors import TableError, brief
from nas.measurement.protocol import Timing
from nas.precision import Precision
from nas.system.atomic import write_whole
from nas.system.json_checks import (
    Check,
    checksum,
    entries,
    first_repeated,
    line,
    mapping,
    number,
    one_of,
    read_json,
    sequence,
    text,
    whole,
)

FORMAT = 1
UNIT = "ms"
KINDS = ("reference", "empty", "block", "network")
MAX_MODELS = 20_000
MAX_MODEL_BYTES = 20_000_000_000
MAX_LEVELS = 3
MIN_MS, MAX_MS = 1e-4, 1e7


@dataclass(frozen=True)
class KitModel:
    """One model file of a kit.

    Attributes:
        name: name of the model, unique in the kit.
        kind: ``reference``, ``empty``, ``block`` or ``network``.
        file: path in the kit, ``models/...``; a Core ML package is a folder.
        sha256: checksum of the model, see `Digest`.
        size_bytes: size of the file, or of all files of the package.
        value: the block or architecture as JSON; None for other kinds.
    """

    name: str
    kind: str
    file: str
    sha256: str
    size_bytes: int
    value: Mapping[str, Any] | None


@dataclass(frozen=True)
class Manifest:
    """The models that a kit measures, and the table that they are for.

    ``resolution`` is in pixels: 224 for a square image, else height x width as a text such as
    512x683.
    """

    project_version: str
    space: str
    target: str
    precision: Precision
    batch_size: int
    resolution: int | str
    num_classes: int
    models: tuple[KitModel, ...]

    def of_kind(self, kind: str) -> list[KitModel]:
        """The models of a kind, in the order of the manifest."""
        return [model for model in self.models if model.kind == kind]

    def fingerprint(self) -> str:
        """SHA-256 of the manifest; it identifies the kit."""
        return checksum(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """JSON values that `parse_manifest` reads."""
        value = asdict(self)
        return {"format": FORMAT, **value, "models": list(value["models"])}


@dataclass(frozen=True)
class Conditions:
    """Device, runtime and software with which a kit was run."""

    device: str
    device_description: str
    threads: int
    runtime_version: str
    python: str
    platform: str

    def difference(self, now: Conditions) -> str | None:
        """Differences that make new latencies incomparable, for example ``threads 4, now 8``.

        None if there are no such differences.
        """
        found = [
            f"{name.replace('_', ' ')} {getattr(self, name)}, now {getattr(now, name)}"
            for name in ("device", "threads", "runtime_version")
            if getattr(self, name) != getattr(now, name)
        ]
        return "; ".join(found) or None


@dataclass(frozen=True)
class KitResults:
    """The measurements of a kit, complete or not.

    Attributes:
        manifest: the manifest of the kit.
        conditions: device, runtime and software of the run.
        created, updated: ISO dates.
        reference_ms: latency of the reference block to which all rows are scaled.
        quiet_ms: latency of the reference block while the machine was quiet.
        overhead_ms: overhead of a call; the rows include it.
        rows: timings of the measured blocks and networks, by the model's name.
    """

    manifest: Manifest
    conditions: Conditions
    created: str
    updated: str
    reference_ms: float
    quiet_ms: float
    overhead_ms: float
    rows: Mapping[str, Timing]

    def missing(self, kind: str) -> list[KitModel]:
        """Models of a kind that are not measured yet."""
        return [model for model in self.manifest.of_kind(kind) if model.name not in self.rows]

    def with_rows(self, rows: Mapping[str, Timing], quiet_ms: float, today: str) -> KitResults:
        """Return these results with further rows, the lower ``quiet_ms`` and a new date."""
        quiet_ms = min(quiet_ms, self.quiet_ms)
        return replace(self, rows={**self.rows, **rows}, quiet_ms=quiet_ms, updated=today)

    def to_json(self) -> dict[str, Any]:
        """JSON values that `parse_results` reads."""
        value: dict[str, Any] = {
            "format": FORMAT,
            "unit": UNIT,
            "kit_sha256": self.manifest.fingerprint(),
            "manifest": self.manifest.to_json(),
            "conditions": asdict(self.conditions),
        }
        for name in ("created", "updated", "reference_ms", "quiet_ms", "overhead_ms"):
            value[name] = getattr(self, name)
        value["rows"] = {
            name: {key: getattr(timing, key) for key in _ROW} for name, timing in self.rows.items()
        }
        return {**value, "sha256": checksum(value)}


class Digest:
    """SHA-256 of a model: of the bytes of its file, or of the names and bytes of all its files.

    Args:
        package: whether the model is a folder; its files must then be added in sorted order.
    """

    def __init__(self, package: bool) -> None:
        self._package, self._whole, self._file = package, hashlib.sha256(), hashlib.sha256()
        self.size_bytes = 0

    def begin(self, name: str) -> None:
        """Begin the next file; ``name`` is its path inside the package."""
        self._end_file()
        self._whole.update(f"{name}\n".encode())

    def update(self, data: bytes) -> None:
        """Add the next bytes of the file."""
        self._file.update(data)
        self.size_bytes += len(data)

    def hexdigest(self) -> str:
        """The digest after all files were added, 64 hexadecimal digits."""
        if not self._package:
            return self._file.hexdigest()
        self._end_file()
        return self._whole.hexdigest()

    def _end_file(self) -> None:
        if self._package:
            self._whole.update(self._file.digest())
            self._file = hashlib.sha256()


def parse_manifest(value: Any, where: str = "the manifest") -> Manifest:
    """Check and read the values of `Manifest.to_json`; ``where`` names them in messages.

    Raises:
        ValueError: an entry is not valid; names it, its value and what was expected.
    """
    _same_format(value, where)
    given = entries(value, where, {"format": whole(FORMAT, FORMAT), **_MANIFEST})
    models = tuple(
        _parse_model(entry, f"{where}: models.{index}")
        for index, entry in enumerate(given["models"])
    )
    for what in ("name", "file"):
        repeated = first_repeated(getattr(model, what) for model in models)
        if repeated is not None:
            raise ValueError(f"{where}: two models have the {what} {brief(repeated)}")
    for kind in ("reference", "empty"):
        count = sum(model.kind == kind for model in models)
        if count != 1:
            raise ValueError(f"{where}: has {count} models of kind {kind!r}, expected 1")
    del given["format"]
    return Manifest(**{**given, "models": models})


def parse_results(value: Any) -> KitResults:
    """Check and read the values of `KitResults.to_json`.

    Raises:
        ValueError: an entry is not valid; names it, its value and what was expected.
    """
    where = "results"
    _same_format(value, where)
    given = entries(value, where, _RESULTS)
    if checksum({k: v for k, v in value.items() if k != "sha256"}) != given["sha256"]:
        raise ValueError(
            "the checksum does not fit the content: the file was changed or damaged after it was "
            "written; use an undamaged copy, or measure again"
        )
    manifest = parse_manifest(given["manifest"])
    if manifest.fingerprint() != given["kit_sha256"]:
        raise ValueError(f"{where}: kit_sha256 is not that of the manifest in the file")
    named = {model.name for model in manifest.models if model.kind in ("block", "network")}
    rows = {}
    for name, row in given["rows"].items():
        if name not in named:
            raise ValueError(f"{where}: rows: {brief(name)} is no block or network of the kit")
        timing = entries(row, f"{where}: rows.{name}", _ROW)
        rows[name] = Timing(**timing, reference_ms=given["reference_ms"])
    numbers = {name: given[name] for name in ("reference_ms", "quiet_ms", "overhead_ms")}
    conditions = Conditions(**entries(given["conditions"], f"{where}: conditions", _CONDITIONS))
    dates = {name: given[name] for name in ("created", "updated")}
    return KitResults(manifest, conditions, **dates, **numbers, rows=rows)


def read_results(path: Path) -> KitResults:
    """Read a file of results.

    Raises:
        TableError: the file is damaged or is not a file of results; says what is wrong.
    """
    try:
        return parse_results(read_json(path))
    except ValueError as error:
        raise TableError(f"{path}: {error}") from None
    except RecursionError:
        raise TableError(f"{path}: nested too deeply to be a file of results") from None


def write_results(path: Path, results: KitResults) -> None:
    """Write a file of results atomically, and flush it to disk.

    Raises:
        TableError: the file cannot be written.
    """
    try:
        write_whole(path, json.dumps(results.to_json(), indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise TableError(f"{path}: cannot be written: {error.strerror or error}") from None


def is_inside(name: str) -> bool:
    """Whether a name in a kit is a relative path that is safe on every operating system."""
    parts = name.split("/")
    return all(re.fullmatch(r"[A-Za-z0-9_.-]+", part) and set(part) != {"."} for part in parts)


def _same_format(value: Any, where: str) -> None:
    """Raise ValueError for another version of the format, before the entries are checked."""
    found = value.get("format") if isinstance(value, dict) else None
    if isinstance(found, int) and found != FORMAT:
        raise ValueError(
            f"{where}: format {brief(found)} is of another version of this project, which reads "
            f"format {FORMAT}: build the kit anew"
        )


def _value(value: Any, where: str) -> Any:
    """Check that a block or architecture is a mapping of limited size and depth, or None.

    Its content is checked when a table is made of it.
    """
    if value is None:
        return value
    if not _levels(value, MAX_LEVELS):
        raise ValueError(f"{where}: nested too deeply for a block or architecture")
    return mapping(100)(value, where)


def _resolution(value: Any, where: str) -> int | str:
    """Check for a resolution in pixels: side of a square image, or text of height x width."""
    if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,3}x[1-9][0-9]{0,3}", value):
        return value
    return int(whole(8, 4096)(value, where))


def _levels(value: Any, most: int) -> bool:
    """Whether lists and mappings are nested at most ``most`` levels deep."""
    if not isinstance(value, (dict, list)):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return most > 0 and all(_levels(item, most - 1) for item in inner)


def _parse_model(value: Any, where: str) -> KitModel:
    model = KitModel(**entries(value, where, _MODEL))
    folder, _, name = model.file.partition("/")
    if folder != "models" or "/" in name or not is_inside(name):
        raise ValueError(f"{where}: file {brief(model.file)} is not a plain path inside models/")
    if (model.value is not None) != (model.kind in ("block", "network")):
        raise ValueError(f"{where}: value must be there for blocks and networks, and only there")
    return model


_SHA256 = text("[0-9a-f]{64}", "64 hexadecimal digits")
_NAME = text("[a-z0-9][a-z0-9-]*", "a name of a-z, 0-9 and dashes")
_DATE = text(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "a date such as 2026-11-23")

_MODEL: Mapping[str, Check] = {
    "name": _NAME,
    "kind": one_of(*KINDS),
    "file": line,
    "sha256": _SHA256,
    "size_bytes": whole(0, MAX_MODEL_BYTES),
    "value": _value,
}
_MANIFEST: Mapping[str, Check] = {
    "project_version": line,
    "space": line,
    "target": _NAME,
    "precision": one_of(*get_args(Precision)),
    "batch_size": whole(1, 65_536),
    "resolution": _resolution,
    "num_classes": whole(1, 1_000_000),
    "models": sequence(MAX_MODELS),
}
_CONDITIONS: Mapping[str, Check] = {
    "device": text("[a-z0-9][a-z0-9.-]*", "a name of a-z, 0-9, dots and dashes"),
    "device_description": line,
    "threads": whole(0, 65_536),
    "runtime_version": line,
    "python": line,
    "platform": line,
}
_ROW: Mapping[str, Check] = {
    "latency_ms": number(MIN_MS, MAX_MS),
    "ci_pct": number(0, 1e4),
    "spread_pct": number(0, 1e4),
    "runs": whole(1, 10**9),
}
_RESULTS: Mapping[str, Check] = {
    "format": whole(FORMAT, FORMAT),
    "unit": one_of(UNIT),
    "kit_sha256": _SHA256,
    "manifest": mapping(100),
    "conditions": mapping(100),
    "created": _DATE,
    "updated": _DATE,
    "reference_ms": number(MIN_MS, MAX_MS),
    "quiet_ms": number(MIN_MS, MAX_MS),
    "overhead_ms": number(0, MAX_MS),
    "rows": mapping(MAX_MODELS),
    "sha256": _SHA256,
}
