"""Transfer to a new device: on devices whose relation is known, and the benchmark's script."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, t

from nas.errors import TableError
from nas.latency.predict import transfer
from nas.latency.predict.transfer import (
    choose_samples,
    fit_transfer,
    mix_sources,
    samples_error,
)

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "benchmarks" / "latency_transfer.py"
NAMES = ("a", "b", "c", "d", "new")


def devices(networks: int = 300, count: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Operators [networks, 6] of 0..3, and latencies [networks, count] of additive devices."""
    rng = np.random.default_rng(seed)
    operators = rng.integers(0, 4, (networks, 6))
    one_hot = np.eye(4)[operators].reshape(networks, 24)
    return operators, one_hot @ rng.uniform(0.5, 4, (24, count)) + rng.uniform(1, 3, count)


def error(source_ms: np.ndarray, true_ms: np.ndarray, rows: list[int]) -> float:
    predicted = mix_sources(source_ms[rows], true_ms[rows]).predict(source_ms)
    return float(np.abs(predicted / true_ms - 1).mean())


def test_finds_a_scaled_source_among_others() -> None:
    _, source_ms = devices()
    assert error(source_ms, 3.7 * source_ms[:, 2], list(range(10))) < 0.005


def test_finds_a_mix_with_a_constant() -> None:
    _, source_ms = devices()
    new_ms = 0.4 * source_ms[:, 0] + 1.1 * source_ms[:, 3] + 2
    assert error(source_ms, new_ms, list(range(20))) < 0.02


def test_is_the_mean_over_hypotheses_of_a_normal_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weight-space formulas, one hypothesis at a time, against the batched function-space ones."""
    monkeypatch.setattr(transfer, "NOISES", (0.05, 0.2))
    monkeypatch.setattr(transfer, "DEPARTURES", (0.3, 2.0))
    source_ms, new_ms = devices(8, 3)[1], devices(8, 3, seed=1)[1][:, 0]
    level = np.median(new_ms)
    scaled = np.column_stack([source_ms / source_ms.mean(0) * level, np.full(8, level)])
    rows = scaled / new_ms[:, None]
    mean = np.array([1, 1, 1, 0]) / 3
    apart = [(np.eye(4)[s] - mean) / np.sqrt(3) for s in range(3)]
    spread = sum(np.outer(d, d) for d in [*apart, transfer.CONSTANT * np.eye(4)[3]])
    found, evidence = [], []
    for likeness, amplitude, noise in itertools.product(
        [*np.eye(4)[:3], mean], (0.3, 2.0), (0.05, 0.2)
    ):
        fitted = likeness / np.linalg.norm(rows @ likeness) ** 2 * (rows @ likeness).sum()
        prior = amplitude**2 * spread + np.outer(fitted, fitted)
        covariance = rows @ prior @ rows.T + noise**2 * np.eye(8)
        evidence.append(multivariate_normal.pdf(np.ones(8), rows @ fitted, covariance))
        found.append(fitted + prior @ rows.T @ np.linalg.solve(covariance, 1 - rows @ fitted))
    weights = np.average(found, axis=0, weights=evidence)
    assert mix_sources(source_ms, new_ms).predict(source_ms) == pytest.approx(scaled @ weights)


def test_units_and_order_of_the_sources_do_not_matter() -> None:
    source_ms = devices()[1]
    new_ms = devices(seed=5)[1][:12, 0]
    expected = mix_sources(source_ms[:12], new_ms).predict(source_ms)
    scale, order = np.array([1, 1000, 0.01, 5, 1]), [3, 0, 4, 2, 1]
    for changed in (source_ms * scale, source_ms[:, order]):
        assert mix_sources(changed[:12], new_ms).predict(changed) == pytest.approx(expected)
    thousandfold = mix_sources(source_ms[:12], 1000 * new_ms).predict(source_ms)
    assert thousandfold == pytest.approx(1000 * expected)


def test_stays_additive_over_the_parts_of_a_network() -> None:
    source_ms = devices()[1]
    model = mix_sources(source_ms[:10], devices(seed=5)[1][:10, 0])
    parts = np.random.default_rng(0).uniform(0, 2, (7, 5))
    by_part = parts @ model.coefficients
    assert model.predict(parts.sum(0)) == pytest.approx(model.constant_ms + by_part.sum())


def test_a_measurement_of_nearly_nothing_does_not_outweigh_the_others() -> None:
    _, source_ms = devices()
    new_ms = 2 * source_ms[:, 1]
    measured_ms = new_ms[:10].copy()
    measured_ms[0] = 0.001
    predicted = mix_sources(source_ms[:10], measured_ms).predict(source_ms)
    assert np.median(np.abs(predicted / new_ms - 1)) < 0.25


def test_one_source_is_scaled() -> None:
    source_ms = devices(count=1)[1]
    assert error(source_ms, 2.5 * source_ms[:, 0], [0, 1, 2]) < 0.01


def test_interval_comes_from_leaving_each_sample_out() -> None:
    source_ms, new_ms = devices()[1][:8], devices(seed=5)[1][:8, 0]
    result = fit_transfer(source_ms, new_ms)
    without = mix_sources(source_ms[1:], new_ms[1:]).predict(source_ms[:1])[0]
    assert result.relative_errors[0] == pytest.approx(without / new_ms[0] - 1)
    assert result.error == samples_error(result.relative_errors)
    everything = mix_sources(source_ms, new_ms)
    assert result.model.coefficients == pytest.approx(everything.coefficients)


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_intervals_are_students_with_a_floor_and_the_error_of_sessions(scale: float) -> None:
    errors = [scale * error for error in (0.1, -0.05, 0.02, 0.0)]
    own = max(np.sqrt(np.mean(np.log1p(errors) ** 2) * 1.25), 0.015)
    deviation = np.hypot(own, 0.02)
    for confidence, quantile in ((0.9, 0.95), (0.5, 0.75), (0.99, 0.995)):
        factor = samples_error(errors).factor(confidence)
        assert factor == pytest.approx(np.exp(t.ppf(quantile, 3) * deviation))


def test_chosen_samples_tell_more_than_random_ones() -> None:
    source_ms = devices(count=8)[1]
    rng = np.random.default_rng(0)
    noise = rng.normal(1, 0.03, len(source_ms))
    chosen, drawn = [], []
    for _ in range(20):
        new_ms = source_ms @ rng.dirichlet(np.ones(8)) * noise
        chosen.append(error(source_ms, new_ms, choose_samples(source_ms, 10)))
        drawn.append(error(source_ms, new_ms, rng.choice(300, 10, replace=False).tolist()))
    assert np.mean(chosen) < np.mean(drawn)


def test_choice_is_repeatable_distinct_and_free_of_units() -> None:
    source_ms = devices()[1]
    chosen = choose_samples(source_ms, 12)
    assert len(set(chosen)) == 12 and chosen == choose_samples(source_ms, 12)
    assert chosen[:5] == choose_samples(source_ms, 5)
    assert chosen == choose_samples(source_ms * [1, 10, 100, 0.5, 3], 12)
    assert sorted(choose_samples(source_ms[:6], 6)) == list(range(6))


def test_refuses_what_cannot_be_transferred() -> None:
    source_ms = devices()[1][:5]
    with pytest.raises(TableError, match="at least 3"):
        fit_transfer(source_ms[:2], [1, 2])
    with pytest.raises(TableError, match="not above zero"):
        mix_sources(source_ms, [1, 2, 3, 0, 5])
    with pytest.raises(TableError, match="source device"):
        mix_sources(-source_ms, [1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="expected"):
        mix_sources(source_ms, [1, 2])
    with pytest.raises(TableError, match="cannot choose 6 of 5"):
        choose_samples(source_ms, 6)
    with pytest.raises(ValueError, match="expected"):
        choose_samples(source_ms[0], 1)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    operators, latency_ms = devices(120)
    latency_ms[:, 4] = 0.5 * (latency_ms[:, 0] + latency_ms[:, 1])
    latency = pd.DataFrame(latency_ms, columns=NAMES)
    latency.loc[7, "new"] = np.nan
    latency.loc[8, "a"] = 0.0
    archs = pd.DataFrame(operators, columns=[f"op{index}" for index in range(6)])
    latency.to_csv(tmp_path / "latency.csv.gz", index_label="arch")
    archs.to_csv(tmp_path / "archs.csv.gz", index_label="arch")
    return tmp_path


def arguments(files: Path, **changes: str) -> list[str]:
    options = {
        "archs": str(files / "archs.csv.gz"),
        "latency": str(files / "latency.csv.gz"),
        "source": "a,b,c,d",
        "target": "new",
        "repeats": "3",
        "json": str(files / "out.json"),
        **changes,
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], int]:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    entry: Callable[[list[str]], int] = importlib.import_module("latency_transfer").main
    return entry


def test_benchmark_writes_what_others_read(files: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *arguments(files)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    written = json.loads((files / "out.json").read_text())["targets"]
    assert set(written) == {"new"} and set(written["new"]) == {"random", "chosen"}
    for scores in written["new"].values():
        assert set(scores) == {"spearman_mean", "spearman_std", "within_10pct"}
        assert scores["spearman_mean"] > 0.95 and scores["within_10pct"] > 0.95
    assert "target met" in done.stdout


def test_benchmark_says_when_the_target_is_missed(
    files: Path, main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(files), "--at-least", "1.0"]) == 1
    assert "missed" in capsys.readouterr().out


def test_benchmark_takes_each_source_as_target_in_turn(
    files: Path, main: Callable[[list[str]], int]
) -> None:
    options = arguments(files, source="a,b,new")
    where = options.index("--target")
    assert main([*options[:where], *options[where + 2 :], "--at-least", "0"]) == 0
    written = json.loads((files / "out.json").read_text())["targets"]
    assert main([*arguments(files, source="a,b"), "--at-least", "0"]) == 0
    assert set(written) == {"a", "b", "new"}
    assert written["new"] == json.loads((files / "out.json").read_text())["targets"]["new"]


def test_benchmark_reads_once_for_all_networks(
    files: Path, main: Callable[[list[str]], int]
) -> None:
    rng = np.random.default_rng(0)
    columns = {f"ks{index}": rng.choice([3, 5, 7], 200) for index in range(8)}
    columns |= {f"e{index}": rng.choice([3, 4, 6], 200) for index in range(8)}
    columns |= {f"d{index}": rng.choice([2, 3, 4], 200) for index in range(2)}
    archs = pd.DataFrame(columns).assign(r=rng.choice([128, 160, 192, 224], 200))
    pixels = (archs["r"] / 224) ** 2
    cost = pd.Series(1.0, index=archs.index)
    for index in range(8):
        active = archs[f"d{index // 4}"] > index % 4
        cost += active * archs[f"ks{index}"] * archs[f"e{index}"] * (0.02 + 0.2 * pixels)
    latency = pd.DataFrame({"a": cost, "b": cost**1.02, "c": cost + 3, "new": 2 * cost + 1})
    archs.to_csv(files / "archs.csv.gz", index_label="arch")
    latency.to_csv(files / "latency.csv.gz", index_label="arch")
    assert main([*arguments(files, source="a,b,c"), "--at-least", "0.99"]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "newer"}, "unknown device 'newer': did you mean 'new'"),
        ({"source": "a,new"}, "new: named by --source and by --target"),
        ({"source": "a,a"}, "each once"),
        ({"target": ","}, "--target must name one or more devices"),
        ({"samples": "118"}, "only 119 measured networks"),
        ({"samples": "2"}, "expected 3 or more"),
        ({"repeats": "0"}, "--repeats must be 1 or more"),
        ({"archs": "nowhere.csv.gz"}, "nowhere.csv.gz: no such file"),
        ({"archs": __file__}, "not readable as CSV"),
    ],
)
def test_benchmark_tells_a_user_in_one_line(
    files: Path,
    main: Callable[[list[str]], int],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    message: str,
) -> None:
    assert main(arguments(files, **changes)) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert message in printed.err
