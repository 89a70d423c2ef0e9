"""Estimates of shapes that were not measured: against known truth and against a real table."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from nas.errors import TableError
from nas.latency.predict.block_interpolation import (
    block_features,
    block_shapes,
    fit_blocks,
    interpolate_blocks,
)
from nas.latency.predict.interpolation import MIN_ROWS, Interpolator
from nas.latency.table.files import read_table
from nas.models.cost import block_ops
from nas.space.block import Block
from nas.system import folders

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@dataclass(frozen=True)
class Row:
    latency_ms: float


Rows = Mapping[Block, Row]


def truth_ms(block: Block) -> float:
    """A device with a roofline, and with tiles of 64 channels that no smooth law has."""
    waste = -(-block.out_channels // 64) * 64 / block.out_channels
    operators = block_ops(block)
    return sum(
        max(2 * waste * op.macs / 2e8, 4 * (op.weights + op.activations) / 3e7) + 0.01
        for op in operators
    )


def synthetic_blocks() -> list[Block]:
    stems = [Block("stem", 3, width, 4, size, size) for width in (32, 64) for size in (192, 224)]
    heads = [Block("head", width, 1000, 1, 7, 7) for width in (256, 512, 768)]
    convolutions = [
        Block("ncb", c_in, c_out, stride, size, size, mlp_ratio=ratio)
        for c_in in (64, 128, 192)
        for c_out in (64, 96, 128, 192, 256)
        for stride in (1, 2)
        for size in (14, 28, 56)
        for ratio in (2.0, 3.0)
    ]
    transformers = [
        Block("ntb", c_in, c_out, 1, size, size, ratio, mix, sr)
        for c_in in (64, 192)
        for c_out in (128, 256, 384)
        for size in (14, 28)
        for ratio in (1.0, 2.0)
        for mix in (0.5, 0.75)
        for sr in (1, 2)
    ]
    return [*stems, *heads, *convolutions, *transformers]


@pytest.fixture(scope="module")
def synthetic() -> dict[Block, Row]:
    """The synthetic device's table, with 2% of noise."""
    rng = np.random.default_rng(0)
    return {b: Row(truth_ms(b) * float(np.exp(0.02 * rng.normal()))) for b in synthetic_blocks()}


@pytest.fixture(scope="module")
def measured() -> Rows:
    """The blocks of a measured table that comes with the project."""
    for path in sorted((folders.shipped_tables() / "onnxruntime").glob("*/blocks.csv")):
        blocks = read_table(path.parent).blocks
        if len(blocks) >= 200:
            return {block: Row(timing.latency_ms) for block, timing in blocks.items()}
    raise AssertionError("no measured ONNX Runtime table comes with the project")


def without(rows: Rows, held: set[Block]) -> dict[Block, Row]:
    return {block: row for block, row in rows.items() if block not in held}


def errors_and_coverage(rows: Rows, held: list[Block]) -> tuple[float, float]:
    """Mean relative error and covered share on blocks that the fit has not seen."""
    found = np.array(interpolate_blocks(without(rows, set(held)), held))
    goal = np.array([rows[block].latency_ms for block in held])
    inside = (found[:, 1] <= goal) & (goal <= found[:, 2])
    return float(np.abs(found[:, 0] / goal - 1).mean()), float(inside.mean())


def test_finds_the_truth_of_a_synthetic_device(synthetic: Rows) -> None:
    held = random.Random(0).sample([b for b in synthetic if b.kind in ("ncb", "ntb")], 60)
    error, coverage = errors_and_coverage(synthetic, held)
    assert error < 0.05
    assert 0.8 <= coverage <= 1.0


def test_goes_beyond_what_was_measured_with_a_wider_interval(synthetic: Rows) -> None:
    near = [b for b in synthetic if b.kind in ("ncb", "ntb") and b.height == 28]
    far = [replace(b, height=96, width=96) for b in near]
    fit = fit_blocks(synthetic)
    inside, outside = fit.predict(block_shapes(near)), fit.predict(block_shapes(far))
    goal = np.array([truth_ms(block) for block in far])
    assert np.abs(outside.latency_ms / goal - 1).mean() < 0.2
    widths = [np.log(e.high_ms / e.low_ms) for e in (inside, outside)]
    assert np.median(widths[1]) > 1.5 * np.median(widths[0])
    assert ((outside.low_ms <= goal) & (goal <= outside.high_ms)).mean() > 0.8


def test_a_larger_image_takes_longer(synthetic: Rows) -> None:
    fit = fit_blocks(synthetic)
    for block in list(synthetic)[::12]:
        sizes = [block.height * step // 14 for step in range(14, 43, 2)]
        grown = [replace(block, height=size, width=size) for size in sizes]
        latency_ms = fit.predict(block_shapes(grown)).latency_ms
        assert (latency_ms[1:] > 0.97 * latency_ms[:-1]).all()  # the trees' steps are no law


def test_is_the_same_whatever_the_order_of_the_rows(synthetic: Rows) -> None:
    missing = [Block("ncb", 128, 160, 1, 28, 28, mlp_ratio=2.0), Block("stem", 3, 48, 4, 256, 256)]
    turned = dict(reversed(list(synthetic.items())))
    assert interpolate_blocks(synthetic, missing) == interpolate_blocks(turned, missing)


def test_any_block_gets_positive_finite_numbers(synthetic: Rows) -> None:
    extremes = [
        Block("ncb", 32, 32, 1, 1, 1, mlp_ratio=1.0),
        Block("ncb", 4096, 4096, 2, 2048, 2048, mlp_ratio=8.0),
        Block("ntb", 32, 2048, 2, 513, 33, 4.0, 0.9, 8),
        Block("stem", 3, 1024, 4, 4096, 4096),
        Block("head", 8192, 1_000_000, 1, 128, 128),
    ]
    found = np.array(interpolate_blocks(synthetic, extremes))
    assert np.isfinite(found).all() and (found > 0).all()
    assert (found[:, 1] < found[:, 0]).all() and (found[:, 0] < found[:, 2]).all()


def test_the_batch_size_scales_the_work(synthetic: Rows) -> None:
    block = Block("ncb", 128, 128, 1, 28, 28, mlp_ratio=3.0)
    one, eight = block_shapes([block]), block_shapes([block], batch_size=8)
    assert eight.gflop.sum() == pytest.approx(8 * one.gflop.sum())
    assert one.gbyte.sum() < eight.gbyte.sum() < 8 * one.gbyte.sum()


def test_features_of_blocks_are_finite() -> None:
    blocks = synthetic_blocks()
    assert block_features(blocks).shape == (len(blocks), 15)
    assert np.isfinite(block_features(blocks)).all()
    assert block_features([]).shape == (0, 15)


def test_nothing_missing_needs_no_table() -> None:
    assert interpolate_blocks({}, []) == []


def test_too_few_blocks_of_a_kind_are_named(synthetic: Rows) -> None:
    stems = [block for block in synthetic if block.kind == "stem"]
    missing = [Block("stem", 3, 48, 4, 256, 256)]
    with pytest.raises(TableError, match="1 measured block.* of kind stem.*at least 2.*measure"):
        interpolate_blocks(without(synthetic, set(stems[1:])), missing)
    few = dict(list(synthetic.items())[: MIN_ROWS - 1])
    with pytest.raises(TableError, match=f"at least {MIN_ROWS} measured rows, there are 19"):
        interpolate_blocks(few, missing)


def test_a_kind_of_two_blocks_gets_an_estimate(synthetic: Rows) -> None:
    stems = [b for b in synthetic if b.kind == "stem" and b.height == 224]
    rows = {b: r for b, r in synthetic.items() if b.kind != "stem" or b in stems}
    at_384 = [replace(block, height=384, width=384) for block in stems]
    for block, found in zip(at_384, interpolate_blocks(rows, at_384), strict=True):
        assert found.latency_ms == pytest.approx(truth_ms(block), rel=0.25)
        assert found.low_ms < truth_ms(block) < found.high_ms


def test_the_fit_refuses_latencies_that_are_none(synthetic: Rows) -> None:
    rows = {**synthetic, next(iter(synthetic)): Row(float("nan"))}
    with pytest.raises(TableError, match="not a positive number"):
        fit_blocks(rows)


def test_the_fit_refuses_families_it_has_not_seen(synthetic: Rows) -> None:
    fit = fit_blocks({b: r for b, r in synthetic.items() if b.kind in ("ncb", "ntb")})
    with pytest.raises(TableError, match=r"families \[3\]"):  # heads, the fourth kind
        fit.predict(block_shapes([Block("head", 512, 1000, 1, 7, 7)]))


def test_twins_are_held_out_together() -> None:
    """A pair that tells all about each other must not make the error look small."""
    rng = np.random.default_rng(0)
    base = block_shapes([b for b in synthetic_blocks() if b.kind == "ncb"])
    noise = np.exp(0.3 * rng.normal(size=len(base)))
    twice = base.take(np.repeat(np.arange(len(base)), 2))
    measured_ms = np.repeat(noise, 2)
    together = Interpolator.fit(twice, measured_ms)
    apart = Interpolator.fit(replace(twice, twins=np.arange(len(twice))), measured_ms)
    assert together.mean_error > 0.2 > 0.1 > apart.mean_error


def test_importing_it_is_light() -> None:
    code = (
        "import sys, nas.latency.predict.block_interpolation;"
        "print([m for m in ('sklearn', 'scipy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_held_out_blocks_of_the_measured_table(measured: Rows) -> None:
    """About 4.5% on the table of 2026-11-23, whose own spread is as large."""
    body = sorted(block for block in measured if block.kind in ("ncb", "ntb"))
    found = [errors_and_coverage(measured, random.Random(s).sample(body, 40)) for s in (1, 2)]
    error, coverage = np.mean(found, axis=0)
    assert error < 0.08
    assert coverage > 0.75


def test_a_whole_resolution_held_out_of_the_measured_table(measured: Rows) -> None:
    """About 12% on the table of 2026-11-23 for the largest maps, beyond all others."""
    largest = max(b.out_height for b in measured if b.kind == "ncb")
    held = [b for b in measured if b.kind == "ncb" and b.out_height == largest]
    error, coverage = errors_and_coverage(measured, held)
    assert error < 0.25
    assert coverage > 0.6


def test_other_resolutions_of_the_measured_table(measured: Rows) -> None:
    fit = fit_blocks(measured)
    assert fit.rows == len(measured) and fit.mean_error < 0.08
    known = sorted(measured)
    at_384 = [replace(b, height=b.height * 12 // 7, width=b.width * 12 // 7) for b in known]
    before, after = fit.predict(block_shapes(known)), fit.predict(block_shapes(at_384))
    growth = after.latency_ms / before.latency_ms
    body = np.array([block.kind != "head" for block in known])
    # Between linear in the side and quadratic in the pixels, as attention is.
    assert (growth[body] > 12 / 7).mean() > 0.95 and growth.min() > 0.9
    assert growth.max() < (12 / 7) ** 4.5
    wider = np.log(after.high_ms / after.low_ms) / np.log(before.high_ms / before.low_ms)
    assert np.median(wider) > 1.2


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``main`` of the benchmark."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import conv_interpolation

    return conv_interpolation.main  # type: ignore[no-any-return]


def write_convolutions(path: Path) -> None:
    lines = ["type,batch,cin,h,w,cout,k,stride,fused_add,ms"]
    for batch in (1, 32):
        for c_in, c_out in ((16, 16), (32, 32), (64, 64), (128, 128), (16, 32), (32, 64)):
            for size in (8, 14, 28, 42, 56):
                for k in (1, 3):
                    for added in (0, 1):
                        macs = batch * size**2 * c_in * c_out * k**2
                        bytes_ = 2 * batch * size**2 * (c_in + (1 + added) * c_out)
                        ms = 0.01 + macs / 3e10 + bytes_ / 6e8
                        row = (batch, c_in, size, size, c_out, k, 1, added, f"{ms:.6f}")
                        lines.append(",".join(["regular", *map(str, row)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_benchmark_compares_both(
    benchmark: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = tmp_path / "table.csv", tmp_path / "out.json"
    write_convolutions(table)
    code = benchmark(["--table", str(table), "--seeds", "2", "--json", str(out)])
    found = json.loads(out.read_text(encoding="utf-8"))
    for name in ("ours", "baseline"):
        assert sorted(found[name]) == ["fit_s", "mean_error", "within_10pct"]
    assert found["ours"]["mean_error"] < found["baseline"]["mean_error"]
    met = found["ours"]["mean_error"] <= 0.065 and found["ours"]["within_10pct"] >= 0.82
    assert code == (0 if met else 1)
    assert ("target met" if met else "target missed") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (None, [], "no such file"),
        (("cout", "c_out"), [], "the columns are .*, expected type,batch"),
        (("0.0", "x"), [], "ms '.*' is no size"),
        (("regular", "winograd"), [], "neither regular nor depthwise"),
        (("42,42", "28,28"), [], "a second row for the same convolution"),
        (("regular", "x,regular"), [], "its rows have more cells than its header"),
        (("", ""), ["--holdout", "0"], "--holdout must be above 0"),
        (("", ""), ["--holdout", "0.9"], "--holdout must be above 0 and at most 0.5, got 0.9"),
        (("", ""), ["--holdout", "nan"], "--holdout must be"),
        (("", ""), ["--holdout", "0.0001"], "holds none out"),
        (("", ""), ["--seeds", "0"], "--seeds must be at least 1, got 0"),
    ],
)
def test_the_benchmark_says_what_it_cannot_use(
    benchmark: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: tuple[str, str] | None,
    options: list[str],
    message: str,
) -> None:
    table = tmp_path / "table.csv"
    if change is not None:
        write_convolutions(table)
        table.write_text(table.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    assert benchmark(["--table", str(table), *options]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert re.search(message, errors)
