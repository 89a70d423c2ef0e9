"""A space, tables and trainings that are small enough for tests, and real."""

from __future__ import annotations

from pathlib import Path

from nas.config import ProxyConfig
from nas.latency.collect.tables import CALIBRATION_NETWORKS, calibration_networks
from nas.latency.table.catalog import own_key
from nas.latency.table.files import append_blocks, append_networks, read_table, write_meta
from nas.latency.table.table import LatencyTable, NetworkRow, TableMeta
from nas.measurement.protocol import Timing
from nas.models.cost import block_cost
from nas.space.block import Block
from nas.space.search_space import SearchSpace
from nas.space.space_files import load_space
from nas.space.workload import Workload

TINY_YAML = """\
stem_width: [32]
stages:
  - {num_ncb: [1], ncb_width: [32, 64], ntb_width: [0], ncb_mlp_ratio: [1, 2]}
  - {num_ncb: [1, 2], ncb_width: [32], ntb_width: [0, 64], ncb_mlp_ratio: [1], ntb_mlp_ratio: [1],
     mix_ratio: [0.5], sr_ratio: [1]}
  - {num_ncb: [1, 2], ncb_width: [32, 64], ntb_width: [0], ncb_mlp_ratio: [1]}
  - {num_ncb: [1], ncb_width: [64, 96], ntb_width: [0], ncb_mlp_ratio: [1, 2]}
"""

NARROW_YAML = """\
stem_width: [32]
stages:
  - {num_ncb: [1], ncb_width: [32, 64], ntb_width: [0], ncb_mlp_ratio: [1]}
  - {num_ncb: [1], ncb_width: [32], ntb_width: [0, 64], ncb_mlp_ratio: [1], ntb_mlp_ratio: [1],
     mix_ratio: [0.5], sr_ratio: [1]}
  - {num_ncb: [1], ncb_width: [32, 64], ntb_width: [0], ncb_mlp_ratio: [1]}
  - {num_ncb: [1], ncb_width: [64], ntb_width: [0], ncb_mlp_ratio: [1]}
"""

AT_64 = Workload.square(64)
"""Images of 64 pixels, 1,000 classes."""

TINY_PROXY = ProxyConfig(train_images=128, batch_size=32)


def tiny_space(folder: Path) -> SearchSpace:
    """A space of 256 networks that train in a second."""
    path = folder / "tiny.yaml"
    path.write_text(TINY_YAML, encoding="utf-8")
    return load_space(path)


def narrow_space(folder: Path) -> SearchSpace:
    """A space of 8 networks, all of which a table measures in seconds."""
    path = folder / "narrow.yaml"
    path.write_text(NARROW_YAML, encoding="utf-8")
    return load_space(path)


def made_up_ms(block: Block) -> float:
    """A plausible latency for tests of what is done with latencies."""
    cost = block_cost(block)
    return 0.02 + cost.macs / 50e6 + cost.activations / 50e6


def made_up_table(
    tables_dir: Path, space: SearchSpace, resolution: int = 64, device: str | None = None
) -> LatencyTable:
    """A complete table of this machine's ONNX Runtime, whose rows are calculated.

    Whole networks take 5% less than the sum of their blocks, and 0.1 ms more.
    """
    key = own_key("onnxruntime")
    assert key is not None and key.device
    meta = TableMeta(
        kind="measured",
        target="onnxruntime",
        device=device or key.device,
        device_description="a test device",
        precision="fp32",
        batch_size=1,
        runtime_version="1.0",
        threads=2,
        reference_ms=2.0,
        created="2026-11-22",
        updated="2026-11-22",
    )
    path = tables_dir / "onnxruntime" / meta.folder
    path.mkdir(parents=True)
    write_meta(path, meta)
    append_blocks(
        path,
        [
            (b, Timing(made_up_ms(b), 0.5, 1.0, 30))
            for b in space.blocks(Workload.square(resolution))
        ],
    )
    rows = []
    for network in calibration_networks(space, CALIBRATION_NETWORKS):
        total_ms = sum(made_up_ms(block) for block in network.blocks(Workload.square(resolution)))
        timing = Timing(0.1 + 0.95 * total_ms, 0.5, 1.0, 30)
        rows.append(NetworkRow(network.id, Workload.square(resolution), network, timing))
    append_networks(path, rows)
    return read_table(path)
