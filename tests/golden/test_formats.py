"""Files that were written before are still read: tables, kit results, architectures, whole runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden import product
from tests.golden.files import FORMATS, differences, formats, read, unpack


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return formats(tmp_path_factory.mktemp("formats"))


@pytest.mark.parametrize("part", read("formats.json"))
def test_is_read_as_recorded(part: str, found: Any) -> None:
    assert differences(found[part], read("formats.json")[part]) == []


def test_nothing_else_is_read(found: Any) -> None:
    assert found.keys() == read("formats.json").keys()


def test_the_run_is_what_its_own_files_say(found: Any) -> None:
    """The files are those that the run wrote when it ended."""
    run, first = found["run"], found["run"]["devices"][0]
    best = json.loads((FORMATS / "run" / "best.json").read_text(encoding="utf-8"))
    assert run["recommended"] == best["id"]
    with (FORMATS / "run" / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["number"]) for row in rows] == [c["number"] for c in first["candidates"]]
    for row, candidate in zip(rows, first["candidates"], strict=True):
        assert row["id"] == candidate["id"]
        assert float(row["proxy_score"]) == pytest.approx(candidate["score"], abs=1e-5)
        # Predictions are made anew from the table, by a predictor that has improved since.
        assert float(row["latency_ms"]) == pytest.approx(candidate["predicted_ms"], rel=0.01)
        measured_ms = candidate["measured_ms"]
        assert bool(row["measured_ms"]) == (measured_ms is not None)
        if measured_ms is not None:
            assert float(row["measured_ms"]) == pytest.approx(measured_ms, abs=1e-4)
        assert bool(row["final_score"]) == (candidate["final_score"] is not None)


def test_a_search_begins_with_what_the_run_has_trained(tmp_path: Path) -> None:
    tables = unpack(tmp_path)
    result = product.warm_started(tmp_path / "run", tmp_path / "new", tables)
    in_full = {t["id"]: t["accuracy"] for t in _trained_alike() if t["group"] == 0}
    assert len(in_full) == 2
    assert differences(result, {"imported": in_full, "new": 1}) == []
    assert product.read_architecture(tmp_path / "new")


def _trained_alike() -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = read("formats.json")["earlier"]["trained alike"]
    return trials
