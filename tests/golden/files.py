"""The files of the golden tests: what they hold, how they are written, and when they are equal."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.golden import product

HERE = Path(__file__).resolve().parent
EXPECTED = HERE / "expected"
FORMATS = HERE / "formats"
ARCHITECTURES = EXPECTED / "architectures.json"
"""The 200 networks of the default space whose ids, costs and predictions are recorded."""

TINY_ARCHITECTURES = EXPECTED / "tiny_architectures.json"
"""The 10 networks of the space of `FORMATS` whose ids, costs and predictions are recorded."""

RELATIVE = 1e-9
"""Relative tolerance of numbers where the record has no ``tolerance``."""

TOLERANCE = {"measured": RELATIVE, "adapted": RELATIVE, "published": 1e-6}
"""Relative tolerances of predictions, by the kind of table. A roofline is fitted by iterations,
whose result depends on the order in which a processor adds: it differs by up to 2e-8 with
OpenBLAS's kernels of other processors, and with NumPy's without AVX2. Suggestions do not differ."""

FEW, SOME = 5, 50
"""How many architectures the ids of stages and blocks are recorded of; and their own, and costs."""

TABLES = {
    "onnxruntime/amd-epyc-model17-2c.fp32.b1": (224, 1000),
    "openvino/amd-epyc-model17-2c.fp32.b1": (224, 1000),
    "tensorrt/nvidia-t4.fp16.b8": (224, 1000),
    "coreml/iphone12-pro-max.fp16.b1": (160, 10),
}
"""Shipped tables to predict from, and for which resolution and number of classes."""

SUGGESTIONS = ("onnxruntime/amd-epyc-model17-2c.fp32.b1", 15.0, 30)
"""Table, budget in ms and length of the recorded search."""


def architectures(path: Path = ARCHITECTURES) -> list[dict[str, Any]]:
    """The recorded architectures."""
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def predictions() -> Any:
    return {
        name: {
            "resolution": resolution,
            "num_classes": num_classes,
            "tolerance": _tolerance(product.SHIPPED_TABLES / name),
            "columns": ["latency_ms", "low_ms", "high_ms"],
            "rows": product.predict(
                architectures(), product.SHIPPED_TABLES / name, resolution, num_classes
            ),
        }
        for name, (resolution, num_classes) in TABLES.items()
    }


def ids() -> Any:
    few = [product.ids(value) for value in architectures()[:FEW]]
    presets = {name: product.ids(value) for name, value in product.presets().items()}
    some = [product.ids(value)["id"] for value in architectures()[:SOME]]
    return {"resolution": 224, "architectures": some, "with_parts": few, "presets": presets}


def costs() -> Any:
    rows = [product.cost(value) for value in architectures()[:SOME]]
    presets = {name: product.cost(value) for name, value in product.presets().items()}
    columns = ["params", "macs", "activations"]
    return {"resolution": 224, "num_classes": 1000, "columns": columns, "rows": rows} | presets


def space() -> Any:
    return product.space_facts("nextvit", 224)


def suggestions() -> Any:
    name, budget_ms, count = SUGGESTIONS
    found = product.suggest(count, product.SHIPPED_TABLES / name, budget_ms)
    return {"table": name, "budget_ms": budget_ms, "seed": 0, "ids": found}


def formats(folder: Path) -> Any:
    """Content of the files of `FORMATS`, read from a copy of them in a folder."""
    tables = unpack(folder)
    tiny = folder / "tiny.yaml"
    networks = architectures(TINY_ARCHITECTURES)
    imported = product.import_kit_results(folder / "kit" / "results.json", folder / "imported")
    found = sorted([*tables.glob("*/*"), imported])
    return {
        "space": product.space_facts(tiny, 64),
        "ids": [product.ids(network, 64)["id"] for network in networks],
        "tables": {
            f"{table.parent.parent.name}/{table.parent.name}/{table.name}": {
                **product.table_facts(table),
                "tolerance": _tolerance(table),
                "predictions": product.predict(networks, table, 64),
            }
            for table in found
        },
        "architectures": {
            str(path.relative_to(folder)): product.ids(product.read_architecture(path))["id"]
            for path in (
                *sorted((folder / "architectures").iterdir()),
                folder / "run" / "best.json",
                folder / "run",
            )
        },
        "earlier": {
            "trained alike": product.earlier_trials(folder / "run", seed=3),
            "another seed": product.earlier_trials(folder / "run", seed=4),
        },
        "run": product.finished_run(folder / "run", tables),
    }


COMPUTED: dict[str, Callable[[], Any]] = {
    "ids.json": ids,
    "costs.json": costs,
    "space.json": space,
    "predictions.json": predictions,
    "suggestions.json": suggestions,
    "report.txt": product.report_text,
}
"""The files of `EXPECTED` that need no other file, and what computes them."""


def unpack(folder: Path) -> Path:
    """Copy `FORMATS` into a folder, where the run's paths are then right; returns its tables."""
    shutil.copytree(FORMATS, folder, dirs_exist_ok=True)
    config = folder / "run" / "config.json"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("FOLDER", str(folder)), encoding="utf-8")
    return folder / "tables"


def read(name: str) -> Any:
    """A file of `EXPECTED`."""
    text = (EXPECTED / name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith(".json") else text


def written(value: Any, width: int = 100) -> str:
    """Content of a file of `EXPECTED`: plain text, or JSON with short values on one line."""
    return value if isinstance(value, str) else _json(_rounded(value), width) + "\n"


def differences(
    found: Any, expected: Any, where: str = "", relative: float = RELATIVE
) -> list[str]:
    """Where a value differs from what was recorded: numbers by more than the share ``relative`` or
    the ``tolerance`` recorded beside them, all else at all."""
    if isinstance(found, dict) and isinstance(expected, dict):
        if found.keys() != expected.keys():
            return [f"{where}: has {sorted(found)}, expected {sorted(expected)}"]
        relative = expected.get("tolerance", relative)
        pairs = [(f"{where}.{key}", found[key], expected[key]) for key in found]
        return [line for place, a, b in pairs for line in differences(a, b, place, relative)]
    if isinstance(found, (list, tuple)) and isinstance(expected, list):
        if len(found) != len(expected):
            return [f"{where}: has {len(found)} entries, expected {len(expected)}"]
        items = enumerate(zip(found, expected, strict=True))
        return [
            line for i, (a, b) in items for line in differences(a, b, f"{where}[{i}]", relative)
        ]
    if isinstance(found, float) and isinstance(expected, (int, float)):
        same = math.isclose(found, expected, rel_tol=relative)
    else:
        same = found == expected
    return [] if same else [f"{where}: {found!r}, expected {expected!r}"]


def _tolerance(table: Path) -> float:
    return TOLERANCE[product.table_facts(table)["kind"]]


def _rounded(value: Any) -> Any:
    """Floats to twelve significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return float(f"{value:.12g}") if isinstance(value, float) else value


def _json(value: Any, width: int, indent: str = "") -> str:
    text = json.dumps(value)
    if len(indent) + len(text) <= width or not isinstance(value, (dict, list)):
        return text
    inner = indent + " "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {_json(v, width, inner)}" for key, v in value.items()]
    else:
        items = [_json(item, width, inner) for item in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n{inner}" + f",\n{inner}".join(items) + f"\n{indent}{last}"
