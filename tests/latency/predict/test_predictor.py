"""The predictor on tables whose truth is known, and on the published devices."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import numpy as np
import pytest

from nas.errors import TableError
from nas.latency.predict import predictor as predictor_module
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.catalog import load_table
from nas.latency.table.files import read_table
from nas.space.architecture_files import load_architecture
from nas.space.workload import Workload
from tests.tiny import AT_64, made_up_ms, made_up_table, tiny_space


@pytest.fixture
def space(tmp_path):
    return tiny_space(tmp_path)


@pytest.fixture
def predictor(tmp_path, space):
    return LatencyPredictor.fit(made_up_table(tmp_path / "tables", space))


def test_learns_the_correction_of_whole_networks(predictor, space):
    rng = random.Random(5)
    networks = [space.sample(rng) for _ in range(50)]
    truth = [0.1 + 0.95 * sum(made_up_ms(b) for b in n.blocks(AT_64)) for n in networks]
    prediction = predictor.predict(networks, AT_64)
    assert prediction.latency_ms == pytest.approx(truth, rel=0.01)
    assert prediction.latency_ms.shape == (50,)
    assert (prediction.low_ms < prediction.latency_ms).all()
    assert (prediction.high_ms > prediction.latency_ms).all()
    assert predictor.mean_error < 0.01


def test_each_image_size_has_the_correction_of_its_own_networks(tmp_path, space):
    """At 128 pixels, networks take half as long again as here, whatever their blocks do."""
    table, at_128 = made_up_table(tmp_path / "tables", space), Workload.square(128)
    timing = table.networks[0].timing
    blocks = {b: replace(timing, latency_ms=made_up_ms(b)) for b in space.blocks(at_128)}
    slower = []
    for row in table.networks:
        total_ms = sum(made_up_ms(block) for block in row.architecture.blocks(at_128))
        slower.append(
            replace(row, workload=at_128, timing=replace(timing, latency_ms=0.1 + 1.5 * total_ms))
        )
    both = replace(table, blocks={**blocks, **table.blocks}, networks=(*table.networks, *slower))
    networks = [space.sample(random.Random(seed)) for seed in range(20)]

    alone, here = LatencyPredictor.fit(table), LatencyPredictor.fit(both, AT_64)
    assert here.relative_errors == alone.relative_errors
    assert (here.predict(networks, AT_64).high_ms == alone.predict(networks, AT_64).high_ms).all()
    there = LatencyPredictor.fit(both, at_128)
    truth = [0.1 + 1.5 * sum(made_up_ms(b) for b in n.blocks(at_128)) for n in networks]
    assert there.predict(networks, at_128).latency_ms == pytest.approx(truth, rel=0.03)
    assert LatencyPredictor.fit(both).mean_error > 5 * max(alone.mean_error, there.mean_error)
    # A few networks are no calibration of their own.
    few = replace(both, networks=(*table.networks, *slower[:2]))
    assert len(LatencyPredictor.fit(few, at_128).relative_errors) == len(table.networks) + 2


def test_interval_covers_noisy_networks_at_its_confidence(tmp_path, space):
    """Networks with 5% noise: about 90% of new ones lie inside the 90% interval."""
    table = made_up_table(tmp_path / "noisy", space)
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(40):
        noise = np.exp(0.05 * rng.standard_normal(len(table.networks)))
        rows = []
        for row, factor in zip(table.networks, noise, strict=True):
            timing = replace(row.timing, latency_ms=row.timing.latency_ms * float(factor))
            rows.append(replace(row, timing=timing))
        noisy = type(table)(table.path, table.meta, table.blocks, tuple(rows))
        predictor = LatencyPredictor.fit(noisy)
        networks = [space.sample(random.Random(int(rng.integers(1e9)))) for _ in range(25)]
        prediction = predictor.predict(networks, AT_64)
        for network, low, high in zip(networks, prediction.low_ms, prediction.high_ms, strict=True):
            truth = 0.1 + 0.95 * sum(made_up_ms(b) for b in network.blocks(AT_64))
            measured = truth * float(np.exp(0.05 * rng.standard_normal()))
            covered.append(low <= measured <= high)
    assert 0.85 <= np.mean(covered) <= 0.98


def test_breakdown_adds_up(predictor, space):
    blocks = space.sample(random.Random(1)).blocks(AT_64)
    parts = predictor.breakdown(blocks)
    assert [block for block, _ in parts] == blocks
    total = predictor.constant_ms + sum(ms for _, ms in parts)
    assert total == pytest.approx(predictor.predict_blocks(blocks))


def test_an_unmeasured_block_is_named(predictor):
    with pytest.raises(TableError, match="no row for the block stem 3->64 at 224x224 stride 4"):
        predictor.predict([load_architecture("nextvit-small")])


def test_too_few_networks_are_refused_with_the_command(tmp_path, space):
    path = made_up_table(tmp_path / "few", space).path
    lines = (path / "networks.csv").read_text().splitlines()
    (path / "networks.csv").write_text("\n".join(lines[:4]) + "\n")
    with pytest.raises(TableError, match="has 3 whole networks.*tables measure"):
        LatencyPredictor.fit(read_table(path))


@pytest.mark.parametrize(("target", "bound"), [("tensorrt", 0.04), ("coreml", 0.06)])
def test_published_devices_meet_their_leave_one_out_error(target, bound):
    predictor = LatencyPredictor.fit(load_table(target))
    assert len(predictor.relative_errors) == 9
    assert predictor.mean_error <= bound
    assert predictor.error.factor() < 1.15


def test_published_device_orders_the_family():
    predictor = LatencyPredictor.fit(load_table("tensorrt"))
    names = ("nextvit-small", "nextvit-base", "nextvit-large")
    small, base, large = predictor.predict([load_architecture(n) for n in names]).latency_ms
    assert small < base < large
    assert small == pytest.approx(7.7, rel=0.05)


def test_what_is_measured_shifts_all_predictions(predictor, space):
    networks = [space.sample(random.Random(number)) for number in range(12)]
    before = predictor.predict(networks, AT_64)
    assert predictor.recalibrated([], [], AT_64) is predictor

    def shift(count: int, factor: float) -> float:
        measured = factor * before.latency_ms[:count]
        after = predictor.recalibrated(networks[:count], list(measured), AT_64)
        ratio = after.predict(networks, AT_64).latency_ms / before.latency_ms
        assert ratio == pytest.approx(np.full(len(networks), ratio[0]))
        total = after.predict_blocks(networks[0].blocks(AT_64))
        assert total == pytest.approx(after.predict([networks[0]], AT_64).latency_ms[0])
        return float(ratio[0])

    # A normal prior of 2% and an error of 1.5% a network, correlated by 1/7 in pairs.
    own = predictor.error.own
    for count in (1, 4, 12):
        trust = 0.02**2 / (0.02**2 + own**2 * (1 + (count - 1) / 7) / count)
        assert shift(count, 1.05) == pytest.approx(1.05**trust)
        assert shift(count, 0.95) == pytest.approx(0.95**trust)


def test_what_is_measured_narrows_the_intervals(predictor, space):
    networks = [space.sample(random.Random(number)) for number in range(8)]
    before = predictor.predict(networks, AT_64)
    after = predictor.recalibrated(networks, list(before.latency_ms), AT_64)
    assert after.predict(networks, AT_64).latency_ms == pytest.approx(before.latency_ms)
    assert (after.predict(networks, AT_64).high_ms < 0.99 * before.high_ms).all()
    assert after.error.own == predictor.error.own
    assert 0 < after.error.shared < predictor.error.shared


def test_networks_of_the_table_measured_again_shift_and_narrow(predictor, space):
    networks = [space.sample(random.Random(number)) for number in range(4)]
    before = predictor.predict(networks, AT_64).latency_ms
    assert predictor.in_session([]) is predictor
    again = predictor.in_session([1.05, 1.05, 1.05, 4.0])  # one was disturbed
    shift = again.predict(networks, AT_64).latency_ms / before
    noise = 1.2533 * 0.0154 / 2
    assert shift == pytest.approx([1.05 ** (0.02**2 / (0.02**2 + noise**2))] * 4)
    assert again.error.shared < 0.5 * predictor.error.shared
    assert again.breakdown(networks[0].blocks(AT_64))[0][1] == pytest.approx(
        shift[0] * predictor.breakdown(networks[0].blocks(AT_64))[0][1]
    )


def test_a_higher_confidence_has_wider_intervals(predictor, space):
    network = [space.sample(random.Random(0))]
    widths = []
    for confidence in (0.5, 0.9, 0.99):
        found = predictor.predict(network, AT_64, confidence=confidence)
        factor = predictor.error.factor(confidence)
        assert found.high_ms[0] == pytest.approx(factor * found.latency_ms[0])
        assert found.low_ms[0] == pytest.approx(found.latency_ms[0] / factor)
        widths.append(factor)
    assert widths == sorted(widths)


def test_thousands_of_networks_are_fitted_at_once(tmp_path, space):
    table = made_up_table(tmp_path / "tables", space)
    rng = random.Random(0)
    rows = [replace(rng.choice(table.networks), name=str(index)) for index in range(3_000)]
    started = time.monotonic()
    predictor = LatencyPredictor.fit(replace(table, networks=tuple(rows)))
    assert len(predictor.relative_errors) == 3_000
    assert time.monotonic() - started < 30  # seconds here; by 3,000 fits it was many minutes


def test_many_published_networks_are_left_out_in_groups(monkeypatch):
    table = load_table("tensorrt")
    alone = LatencyPredictor.fit(table).relative_errors
    monkeypatch.setattr(predictor_module, "MAX_PUBLISHED_FITS", 3)
    together = LatencyPredictor.fit(table).relative_errors
    assert len(together) == len(alone) and together != alone
    assert max(map(abs, together)) < 0.2
