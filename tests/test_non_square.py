"""Images need not be square: every number is for height x width."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.cli import main
from nas.errors import ArchitectureError
from nas.latency.collect.kit_builder import build_kit
from nas.latency.collect.tables import collect_table, missing_for
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.files import read_table
from nas.measurement.kit.source import open_kit
from nas.models.model_files.onnx import export_network
from nas.models.network import build_network
from nas.space.architecture import Architecture
from nas.space.block import Block
from nas.space.workload import Workload
from tests.samples import TINY, architectures
from tests.tiny import narrow_space, tiny_space

AT = Workload(64, 96, 10)


def halved(side: int) -> int:
    """What a convolution of stride 2, or a pooling with ceil_mode, makes of a side."""
    return (side + 1) // 2


@given(
    architectures(),
    st.integers(1, 700),
    st.integers(1, 700),
    st.sampled_from([2, 4]),
    st.integers(1, 2000),
)
def test_blocks_have_the_sizes_of_an_independent_computation(
    architecture: Architecture, height: int, width: int, stem_stride: int, outputs: int
) -> None:
    architecture = Architecture(architecture.stem_width, architecture.stages, stem_stride)
    maps = [(height, width), (halved(height), halved(width))]
    if stem_stride == 4:
        maps[1] = halved(maps[1][0]), halved(maps[1][1])
    expected = [(height, width, 3, architecture.stem_width)]
    channels, impossible = architecture.stem_width, False
    for number, stage in enumerate(architecture.stages):
        for _ in range(stage.repeats):
            for index in range(stage.num_ncb):
                expected.append((*maps[-1], channels, stage.ncb_width))
                channels = stage.ncb_width
                if number and not _ and not index:
                    maps.append((halved(maps[-1][0]), halved(maps[-1][1])))
            if stage.ntb_width:
                impossible |= maps[-1][0] * maps[-1][1] < stage.sr_ratio**2
                expected.append((*maps[-1], channels, stage.ntb_width))
                channels = stage.ntb_width
    expected.append((*maps[-1], channels, outputs))
    workload = Workload(height, width, outputs)
    if impossible:
        with pytest.raises(ArchitectureError, match=f"a {height}x{width} image gives"):
            architecture.expand(workload)
        return
    found = architecture.blocks(workload)
    assert [(b.height, b.width, b.in_channels, b.out_channels) for b in found] == expected
    # The other way round every map is, too.
    turned = architecture.blocks(Workload(width, height, outputs))
    assert [(b.width, b.height) for b in turned] == [(b.height, b.width) for b in found]


@pytest.mark.parametrize("stem_stride", [2, 4])
def test_modules_put_out_what_blocks_say(stem_stride: int) -> None:
    architecture = Architecture(TINY.stem_width, TINY.stages, stem_stride)
    blocks = architecture.blocks(Workload(61, 94, 10))
    network = build_network(architecture, 10).eval()
    modules = [network.stem, *network.blocks, network.head]
    x = torch.zeros(1, 3, 61, 94)
    for block, module in zip(blocks, modules, strict=True):
        assert x.shape[1:] == (block.in_channels, block.height, block.width)
        x = module(x)
    assert x.shape == (1, 10)


def test_a_network_is_exported_for_it(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    export_network(TINY, path, AT.with_batch(2))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [2, 3, 64, 96]
    assert session.get_modelmeta().custom_metadata_map["resolution"] == "64x96"
    images = np.random.default_rng(0).random((2, 3, 64, 96), dtype=np.float32)
    (logits,) = session.run(None, {"images": images})
    assert logits.shape == (2, 10)
    assert np.isfinite(logits).all()


@pytest.mark.slow
def test_a_table_is_measured_and_predicts_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space, tables = narrow_space(tmp_path), tmp_path / "tables"
    table = collect_table(space, "onnxruntime", workload=AT, tables_dir=tables)
    assert set(table.blocks) == set(space.blocks(AT))
    assert {block.width / block.height for block in table.blocks} == {1.5}
    assert not missing_for(table, space, AT)
    assert missing_for(table, space, Workload(96, 64, 10)).networks

    header, *rows = (table.path / "networks.csv").read_text().splitlines()
    column = header.split(",").index("resolution")
    assert {row.split(",")[column] for row in rows} == {"64x96"}
    assert {row.workload for row in read_table(table.path).networks} == {AT}

    network = space.sample(random.Random(3))
    found = LatencyPredictor.fit(table).predict([network], AT)
    assert 0 < found.low_ms[0] < found.latency_ms[0] < found.high_ms[0]

    architecture = tmp_path / "network.json"
    architecture.write_text(json.dumps(network.to_json()), encoding="utf-8")
    options = ["--target", "onnxruntime", "--tables-dir", str(tables), "--num-classes", "10"]
    assert main(["predict", str(architecture), *options, "--resolution", "64x96"]) == 0
    assert "at 64x96 pixels" in capsys.readouterr().out
    assert main(["predict", str(architecture), *options, "--resolution", "96x64"]) == 2
    assert "--resolution 64x96" not in capsys.readouterr().err


def test_a_kit_is_made_for_it(tmp_path: Path) -> None:
    path = tmp_path / "kit.zip"
    build_kit(tiny_space(tmp_path), "openvino", path, workload=AT)
    with open_kit(path) as source:
        manifest = source.manifest
    assert manifest.resolution == "64x96"
    blocks = {Block.from_json(model.value) for model in manifest.of_kind("block")}
    assert blocks == set(tiny_space(tmp_path).blocks(AT))
