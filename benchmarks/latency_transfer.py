"""Ten measurements on a new device, and the tables of others, rank networks on it better than HELP.

Every source device gets an additive predictor (`nas.latency.predict.additive`), fitted to its own
latencies with one-hot operators per position. `nas.latency.predict.transfer` mixes these predictors
by the target's latencies of the sampled networks. All networks that were not sampled are scored:
Spearman's rank correlation, and the share predicted within 10%. ``random`` samples are drawn
uniformly, as HELP draws them. ``chosen`` samples are picked by `choose_samples` from a random half
of the networks, at most 1,000, new in every repeat (the choice itself has no randomness). The
printed table compares both with a plain non-negative mix of the sources on the same random samples.

In files of Once-for-All networks (columns ks*, e*, d*, r) an operator is a pair of kernel size and
expansion; positions beyond their stage's depth have none, and each operator counts once as such
and once times the input's pixels, since one part of its time grows with them and one does not.

Target: with random samples, a mean Spearman over the targets above HELP's 0.910 in FBNet's space
(22 positions) and 0.932 in NAS-Bench-201's (6 edges), or above --at-least. Exits 1 when missed.

    python benchmarks/latency_transfer.py --archs A.csv.gz --latency L.csv.gz --source d1,d2 \\
        [--target d3,d4] [--samples 10] [--repeats 20] [--seed 0] [--at-least X] [--quick] \\
        [--json OUT]

Without --target each source is the target in turn, and the others are its sources.
"""

from __future__ import annotations

import argparse
import re
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from report import claim_of, exit_status, make_parser, origin_here, write_result
from rich.console import Console
from rich.table import Table
from scipy.optimize import nnls
from scipy.stats import spearmanr

from nas.errors import ConfigError, DataError, UserError, unknown
from nas.latency.predict.additive import AdditiveModel, fit_additive
from nas.latency.predict.transfer import MIN_SAMPLES, choose_samples, mix_sources

HELP_SPEARMAN = {22: 0.910, 6: 0.932}
"""By number of positions: FBNet and NAS-Bench-201."""

POOL = 1000
QUICK_REPEATS = 2
STAGE_POSITIONS = 4
REFERENCE_PIXELS = 224**2
METRICS = ("spearman_mean", "spearman_std", "within_10pct")


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV by its column ``arch``; raises DataError."""
    try:
        frame = pd.read_csv(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, EOFError, ValueError, zlib.error, pd.errors.ParserError) as error:
        raise DataError(f"{path}: not readable as CSV: {' '.join(str(error).split())}") from None
    if "arch" not in frame:
        raise DataError(f"{path}: has no column 'arch'")
    if frame["arch"].isna().any() or frame["arch"].duplicated().any():
        raise DataError(f"{path}: column 'arch' must hold a different network in every row")
    return frame.set_index("arch")


def read_latencies(path: Path, devices: list[str]) -> pd.DataFrame:
    """The devices' latencies in ms; what is missing or not above zero is NaN."""
    frame = read_csv(path)
    for device in devices:
        if device not in frame:
            raise ConfigError(f"{path}: {unknown('device', device, map(str, frame.columns))}")
    try:
        values = frame[devices].astype(float)
    except ValueError as error:
        raise DataError(f"{path}: a latency is not a number: {error}") from None
    return values.where((values > 0) & np.isfinite(values))


def numbered(frame: pd.DataFrame, prefix: str) -> list[str]:
    """Columns ``prefix0``, ``prefix1``, ... in order."""
    names = [str(name) for name in frame.columns if re.fullmatch(prefix + r"\d+", str(name))]
    return sorted(names, key=lambda name: int(name[len(prefix) :]))


def one_hot(operators: pd.Series, absent: pd.Series | None = None) -> list[np.ndarray]:
    """A column for each operator at one position, [n] each; none where ``absent``."""
    there = np.ones(len(operators)) if absent is None else 1.0 - absent.to_numpy(float)
    return [
        there * (operators == operator).to_numpy(float)
        for operator in sorted(operators.unique(), key=str)
    ]


def operator_features(archs: pd.DataFrame, path: Path) -> tuple[np.ndarray, int]:
    """One-hot operators, [n, features], and the number of positions; raises DataError."""
    if archs.isna().any(axis=None):
        raise DataError(f"{path}: an operator is missing in {archs.isna().any(axis=1).sum()} rows")
    positions = numbered(archs, "op")
    if positions:
        columns = [column for name in positions for column in one_hot(archs[name])]
        return np.column_stack(columns), len(positions)
    kernels, expansions = numbered(archs, "ks"), numbered(archs, "e")
    depths = numbered(archs, "d")
    if (
        not kernels
        or not len(kernels) == len(expansions) == STAGE_POSITIONS * len(depths)
        or "r" not in archs
    ):
        raise DataError(f"{path}: expected columns op0, op1, ... or ks0, ..., e0, ..., d0, ..., r")
    try:
        archs = archs.astype(int)
    except ValueError as error:
        raise DataError(f"{path}: a size is not a whole number: {error}") from None
    columns = []
    for index, (kernel, expansion) in enumerate(zip(kernels, expansions, strict=True)):
        stage, position = divmod(index, STAGE_POSITIONS)
        pair = archs[kernel].astype(str) + "x" + archs[expansion].astype(str)
        columns += one_hot(pair, absent=archs[depths[stage]] <= position)
    operators = np.column_stack(columns)
    pixels = (archs["r"].to_numpy(float) ** 2 / REFERENCE_PIXELS)[:, None]
    return np.column_stack([operators, operators * pixels, pixels]), len(kernels)


def nonnegative_mix(source_ms: np.ndarray, measured_ms: np.ndarray) -> AdditiveModel:
    """The baseline: non-negative least squares on relative errors."""
    design = np.column_stack([source_ms, np.full(len(measured_ms), measured_ms.mean())])
    weights = nnls(design / measured_ms[:, None], np.ones(len(measured_ms)))[0]
    return AdditiveModel(float(weights[-1] * measured_ms.mean()), weights[:-1])


def score(model: AdditiveModel, source_ms: np.ndarray, measured_ms: np.ndarray) -> list[float]:
    predicted = model.predict(source_ms)
    within = np.abs(predicted / measured_ms - 1) <= 0.10
    ranks = 0.0 if np.ptp(predicted) == 0 else float(spearmanr(predicted, measured_ms).statistic)
    return [ranks, float(within.mean())]


def evaluate(
    source_ms: np.ndarray, measured_ms: np.ndarray, samples: int, repeats: int, seed: int
) -> dict[str, dict[str, float]]:
    """Scores of one target by way of sampling; repeats differ in their random numbers."""
    count = len(measured_ms)
    found: dict[str, list[list[float]]] = {"random": [], "chosen": [], "non-negative": []}
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        drawn = rng.choice(count, samples, replace=False)
        pool = rng.choice(count, max(samples, min(POOL, count // 2)), replace=False)
        chosen = pool[choose_samples(source_ms[pool], samples)]
        for name, rows, fit in (
            ("random", drawn, mix_sources),
            ("chosen", chosen, mix_sources),
            ("non-negative", drawn, nonnegative_mix),
        ):
            rest = np.setdiff1d(np.arange(count), rows)
            model = fit(source_ms[rows], measured_ms[rows])
            found[name].append(score(model, source_ms[rest], measured_ms[rest]))
    return {
        name: {
            "spearman_mean": float(np.mean([spearman for spearman, _ in scores])),
            "spearman_std": float(np.std([spearman for spearman, _ in scores])),
            "within_10pct": float(np.mean([within for _, within in scores])),
        }
        for name, scores in found.items()
    }


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def check(arguments: argparse.Namespace) -> None:
    """Raises ConfigError for options that make no sense, before anything is read."""
    for option in ("source", "target"):
        given = getattr(arguments, option)
        if given is not None and (not given or len(set(given)) != len(given)):
            raise ConfigError(f"--{option} must name one or more devices, each once: {given}")
    if not arguments.target and len(arguments.source) < 2:
        raise ConfigError("--source names one device: without --target there must be others too")
    both = sorted(set(arguments.source) & set(arguments.target or ()))
    if both:
        raise ConfigError(f"{', '.join(both)}: named by --source and by --target; a target is new")
    if arguments.samples < MIN_SAMPLES:
        raise ConfigError(f"--samples {arguments.samples}: expected {MIN_SAMPLES} or more")
    if arguments.repeats < 1 or arguments.seed < 0:
        raise ConfigError("--repeats must be 1 or more, --seed 0 or more")


def benchmark(arguments: argparse.Namespace) -> tuple[dict[str, dict[str, dict[str, float]]], int]:
    """Scores by target and way of sampling, and the space's number of positions."""
    devices = [*arguments.source, *(arguments.target or ())]
    latencies = read_latencies(arguments.latency, devices)
    archs = read_csv(arguments.archs)
    both = archs.index.intersection(latencies.index)
    if both.empty:
        raise DataError(f"{arguments.archs} and {arguments.latency} have no network in common")
    latencies = latencies.loc[both]
    features, positions = operator_features(archs.loc[both], arguments.archs)
    columns = {}
    for device in arguments.source:
        known = latencies[device].notna().to_numpy()
        if not known.any():
            raise DataError(f"{arguments.latency}: no latency of {device} is above zero")
        model = fit_additive(features[known], latencies[device].to_numpy()[known], robust=True)
        columns[device] = model.predict(features)
    results = {}
    for target in arguments.target or arguments.source:
        source_ms = np.column_stack([columns[source] for source in columns if source != target])
        known = latencies[target].notna().to_numpy()
        if known.sum() < arguments.samples + 2:
            raise ConfigError(
                f"--samples {arguments.samples}: {target} has only {known.sum()} measured "
                f"networks, and at least two must be left to score"
            )
        results[target] = evaluate(
            source_ms[known],
            latencies[target].to_numpy()[known],
            arguments.samples,
            arguments.repeats,
            arguments.seed,
        )
    return results, positions


def show(results: dict[str, dict[str, dict[str, float]]], console: Console) -> None:
    shown = Table("target", "samples", "Spearman", "within 10%")
    ways = ("random", "chosen", "non-negative")
    mean = {
        way: {metric: np.mean([by[way][metric] for by in results.values()]) for metric in METRICS}
        for way in ways
    }
    for target, by_way in [*results.items(), ("mean of targets", mean)]:
        for way in ways:
            values = by_way[way]
            shown.add_row(
                target if way == ways[0] else "",
                "random, non-negative mix" if way == ways[2] else way,
                f"{values['spearman_mean']:.3f} ± {values['spearman_std']:.3f}",
                f"{100 * values['within_10pct']:.1f}%",
                end_section=way == ways[2],
            )
    console.print(shown)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, quick=f"{QUICK_REPEATS} repeats")
    parser.add_argument("--archs", type=Path, required=True)
    parser.add_argument("--latency", type=Path, required=True)
    parser.add_argument("--source", type=names, required=True, help="columns, comma-separated")
    parser.add_argument("--target", type=names, help="columns; default: each source in turn")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-least", type=float, help="mean Spearman to exceed")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats = QUICK_REPEATS
    return options


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    try:
        check(arguments)
        results, positions = benchmark(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    console = Console()
    show(results, console)
    bound = arguments.at_least
    if bound is None:
        bound = HELP_SPEARMAN.get(positions)
    ways = ("random", "chosen")
    details = {
        "positions": positions,
        "samples": arguments.samples,
        "repeats": arguments.repeats,
        "to_exceed": bound,
        "targets": {name: {way: by[way] for way in ways} for name, by in results.items()},
    }
    if bound is None:
        console.print(f"no target is stated for {positions} positions; give one with --at-least")
    else:
        mean = mean_of(details, "random", "spearman_mean")
        console.print(f"mean Spearman {mean:.3f}, to exceed {bound:.3f}")
    met = None if arguments.quick else verdict(details)
    write_result(
        arguments.json,
        claim=claim_of(__doc__),
        met=met,
        origin=origin_here("numpy", "scipy", "scikit-learn"),
        figures=figures(details),
        details=details,
    )
    return exit_status(met)


def mean_of(details: dict[str, Any], way: str, metric: str) -> float:
    """A metric's mean over the targets, for one way of sampling."""
    return float(np.mean([by[way][metric] for by in details["targets"].values()]))


def verdict(details: dict[str, Any]) -> bool | None:
    """Whether the target is met; None if none is stated."""
    bound = details["to_exceed"]
    return None if bound is None else mean_of(details, "random", "spearman_mean") > bound


def figures(details: dict[str, Any]) -> dict[str, str]:
    """The numbers that the documentation shows."""
    shown = {"target devices": str(len(details["targets"]))}
    if details["to_exceed"] is not None:
        shown["mean Spearman to exceed (HELP)"] = f"{details['to_exceed']:.3f}"
    for way in ("random", "chosen"):
        shown[f"mean Spearman, {way} samples"] = f"{mean_of(details, way, 'spearman_mean'):.3f}"
        within = 100 * mean_of(details, way, "within_10pct")
        shown[f"predicted within 10%, {way} samples"] = f"{within:.1f}%"
    return shown


if __name__ == "__main__":
    sys.exit(main())
