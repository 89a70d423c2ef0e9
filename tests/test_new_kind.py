"""A kind of block defined in this file alone stands wherever an NCB or NTB stands."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from nas.accuracy.training import initialise
from nas.errors import ArchitectureError, SpaceError, TableError, TableWarning
from nas.latency.predict.completion import with_interpolated
from nas.latency.predict.predictor import LatencyPredictor, block_sums
from nas.latency.table.files import append_blocks, read_table
from nas.measurement.kit.files import KitModel, Manifest, parse_manifest
from nas.measurement.protocol import Timing
from nas.models.blocks import build_block
from nas.models.cost import block_cost, block_ops, network_cost
from nas.models.layers import BN_EPS, BlockModule, DropPath, PatchEmbed, fold_following
from nas.models.model_files.onnx import export_network
from nas.models.network import build_network
from nas.models.operators import conv, patch_embed
from nas.report.notation import architecture_lines
from nas.search.sampler.samplers import SAMPLERS
from nas.space import block_kinds
from nas.space.architecture import Architecture, Stage
from nas.space.block import Block
from nas.space.block_kinds import BlockKind, Field, Op, kind_of, register
from nas.space.search_space import SearchSpace
from nas.space.space_files import load_space
from nas.space.workload import Workload
from tests.models.test_cost import counting, parameters
from tests.networks import images, randomise, relative_error
from tests.samples import TINY
from tests.tiny import made_up_ms, made_up_table


class Wide(BlockModule):
    """x + 1x1(ReLU(BN(depthwise convolution of a given kernel)))."""

    def __init__(self, block: Block, drop_path: float) -> None:
        super().__init__()
        width, kernel = block.out_channels, block["kernel"]
        self.patch_embed = PatchEmbed(block.in_channels, width, block.stride)
        self.spread = nn.Conv2d(
            width, width, kernel, padding=kernel // 2, groups=width, bias=False
        )  # fmt: skip
        self.norm: nn.Module = nn.BatchNorm2d(width, eps=BN_EPS)
        self.act = nn.ReLU(inplace=True)
        self.mix = nn.Conv2d(width, width, 1, bias=False)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.patch_embed(x_BCHW)
        out_BCHW: Tensor = self.mix(self.act(self.norm(self.spread(x_BCHW))))
        return x_BCHW + self.drop_path(out_BCHW)

    def fuse(self) -> None:
        self.patch_embed.fuse()
        self.spread, self.norm = fold_following(self.spread, self.norm), nn.Identity()

    def branch_ends(self) -> tuple[nn.Conv2d | nn.Linear, ...]:
        return (self.mix,)


def operators(block: Block) -> list[Op]:
    width, pixels = block.out_channels, block.out_height * block.out_width
    return [
        *patch_embed(block, width),
        conv(width, width, block["kernel"], pixels, groups=width),
        Op(width**2 * pixels, width**2, 3 * width * pixels, width**2),
    ]


WIDE = register(
    BlockKind(
        "wide",
        "convolution",
        label="Wide",
        meaning="wide depthwise block",
        operators=operators,
        module=Wide,
        fields=(Field("kernel", 1, 31, default=5),),
    )
)

SPACE = """\
stem_width: [32]
stages:
  - {num_ncb: [1, 2], ncb_width: [32, 64], ntb_width: [0], ncb_kind: [ncb, wide],
     ncb_mlp_ratio: [1, 2], ncb_kernel: [3, 5]}
  - {num_ncb: [1], ncb_width: [32], ntb_width: [0, 64], ncb_mlp_ratio: [1],
     ntb_kind: [wide, ntb], ntb_kernel: [7], ntb_mlp_ratio: [1], mix_ratio: [0.5], sr_ratio: [1]}
  - {num_ncb: [1, 2], ncb_width: [32, 64], ntb_width: [0], ncb_kind: [wide]}
  - {num_ncb: [1], ncb_width: [64, 96], ntb_width: [0], ncb_mlp_ratio: [1]}
"""

AT = Workload(64, 96)

NETWORK = Architecture(
    32,
    (
        Stage(2, 1, 32, 0, 0, 0, 0, 0, ncb_kind="wide", extra=(("ncb_kernel", 3),)),
        Stage(1, 1, 32, 64, 1, 0, 0, 0, ntb_kind="wide", extra=(("ntb_kernel", 7),)),
        Stage(1, 1, 64, 0, 0, 0, 0, 0, ncb_kind="wide"),
        Stage(1, 1, 64, 0, 1, 0, 0, 0),
    ),
)


@pytest.fixture
def space(tmp_path: Path) -> SearchSpace:
    path = tmp_path / "wide.yaml"
    path.write_text(SPACE, encoding="utf-8")
    return load_space(path)


def wide_blocks() -> list[Block]:
    return [block for block in NETWORK.blocks(AT) if block.kind == "wide"]


def test_a_network_with_it_survives_json_and_has_ids_of_its_own() -> None:
    read = Architecture.from_json(json.loads(json.dumps(NETWORK.to_json())))
    assert (read, read.id, hash(read)) == (NETWORK, NETWORK.id, hash(NETWORK))
    assert read.blocks(AT) == NETWORK.blocks(AT)
    for block in NETWORK.blocks(AT):
        assert Block.from_json(json.loads(json.dumps(block.to_json()))) == block
    other = Stage.from_json({**NETWORK.stages[0].to_json(), "ncb_kernel": 5})
    assert other.id != NETWORK.stages[0].id
    assert [block["kernel"] for block in wide_blocks()] == [3, 3, 7, 5]


def test_a_default_is_left_out_wherever_it_is_said() -> None:
    said = Stage(1, 1, 64, 0, 0, 0, 0, 0, ncb_kind="wide", extra=(("ncb_kernel", 5),))
    assert said == NETWORK.stages[2]
    assert "ncb_kernel" not in said.to_json()
    assert said.value("ncb_kernel") == 5
    one, other = (
        Block("wide", 32, 32, 1, 8, 8),
        Block("wide", 32, 32, 1, 8, 8, extra=(("kernel", 5),)),
    )
    assert (one, one.id) == (other, other.id)
    assert str(one) == "wide 32->32 at 8x8 kernel 5"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ncb_kernel": 32}, "ncb_kernel must be a whole number from 1 to 31, got 32"),
        ({"ncb_kernel": 3.5}, "ncb_kernel must be a whole number from 1 to 31, got 3.5"),
        ({"ncb_mlp_ratio": 2}, "ncb_mlp_ratio must be 0: kind wide has none, got 2"),
        ({"ncb_kind": "ncb"}, "unknown entry 'ncb_kernel'"),
        ({"ncb_kind": "narrow"}, "kind must be one of stem, ncb, ntb, head"),
        ({"ntb_kind": "wide"}, "ntb_kind does not apply to a stage without NTB"),
    ],
)
def test_a_stage_that_cannot_have_it_is_refused_by_name(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArchitectureError) as caught:
        Stage.from_json({**NETWORK.stages[0].to_json(), **change})
    assert str(caught.value).startswith(message)


def test_an_ntb_may_stand_in_the_place_of_ncbs() -> None:
    extra = (("ncb_mix_ratio", 0.5), ("ncb_sr_ratio", 2))
    stage = Stage(2, 1, 64, 0, 1, 0, 0, 0, ncb_kind="ntb", extra=extra)
    network = Architecture(32, (stage, *NETWORK.stages[1:]))
    assert Architecture.from_json(network.to_json()) == network
    first = network.blocks(AT)[1]
    assert (first.kind, first.mix_ratio, first.sr_ratio, first.extra) == ("ntb", 0.5, 2, ())
    with pytest.raises(ArchitectureError, match="stage 1: sr_ratio 2 needs at least 4 tokens"):
        network.expand(Workload.square(4))
    with pytest.raises(ArchitectureError, match="ncb_sr_ratio must be from 1 to 64, got 0"):
        Stage.from_json({k: v for k, v in stage.to_json().items() if k != "ncb_sr_ratio"})
    with pytest.raises(ArchitectureError, match="ncb_kind head is no block of a stage"):
        replace(stage, ncb_kind="head")


@pytest.mark.parametrize("block", wide_blocks(), ids=str)
def test_it_costs_what_its_module_does(block: Block) -> None:
    module = build_block(block).eval()
    with counting(module) as count:
        module(torch.zeros(3, block.in_channels, block.height, block.width))
    assert 3 * block_cost(block).macs == count.macs
    assert block_cost(block).params == parameters(module)
    module.fuse()  # type: ignore[operator]
    assert block_cost(block).weights == parameters(module)
    assert len(block_ops(block)) == 2 + bool(patch_embed(block, block.out_channels)) + (
        block.stride == 2
    )


def test_a_space_offers_it_where_it_says(space: SearchSpace) -> None:
    rng = random.Random(0)
    sampled = [space.sample(rng) for _ in range(300)]
    kinds = {(s.ncb_kind, s.ntb_kind) for a in sampled for s in a.stages}
    assert kinds == {("ncb", "ntb"), ("wide", "ntb"), ("ncb", "wide")}
    assert space.size == len({*sampled, *_every(space)})
    union = {block for network in _every(space) for block in network.blocks(AT)}
    assert space.blocks(AT) == sorted(union)
    for network in sampled[:50]:
        assert space.build_from(space.params(network)) == network
        assert all(near in space for near in space.neighbours(network))
    assert TINY not in space
    offered = space.select(lambda _, choices: choices[-1]).offered
    assert offered["s1.ncb_kind"] == ("ncb", "wide")
    assert offered["s1.ncb_kernel"] == (3, 5)


def _every(space: SearchSpace) -> list[Architecture]:
    """All networks within single changes of each other."""
    seen = {space.build_from({})}
    todo = list(seen)
    while todo:
        new = set(space.neighbours(todo.pop())) - seen
        seen |= new
        todo += new
    return list(seen)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("ncb_kernel: [3, 5]", "ncb_kernel: [3, 33]",
         "4: stage 1: ncb_kernel: 33 is not from 1 to 31"),
        ("[ncb, wide]", "[ncb, narrow]", "3: stage 1: ncb_kind: kind must be one of stem, ncb"),
        ("[ncb, wide]", "[ncb, stem]", "3: stage 1: ncb_kind: stem is no block of a stage"),
        ("[ncb, wide]", "[ncb, ncb]", "3: stage 1: ncb_kind: ncb is there twice"),
        ("[ncb, wide]", "ncb", "3: stage 1: ncb_kind must be a list of at least one kind"),
        ("[ncb, wide]", "[ncb]", "4: stage 1: unknown entry 'ncb_kernel'"),
        ("ncb_mlp_ratio: [1, 2], ", "", "3: stage 1: ncb_mlp_ratio is missing"),
    ],
)  # fmt: skip
def test_mistakes_of_a_space_are_reported_with_their_line(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(SPACE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SpaceError) as caught:
        load_space(path)
    assert str(caught.value).startswith(f"{path}:{expected}")


def test_a_sampler_suggests_it(space: SearchSpace) -> None:
    import optuna

    from nas.space.parameter_space import biased

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5))
    found = set()
    for _ in range(20):
        trial = study.ask()
        network = space.suggest(trial)
        study.tell(trial, float(network_cost(network.blocks(AT)).macs))
        found |= {stage.ncb_kind for stage in network.stages}
    assert found == {"ncb", "wide"}
    assert SAMPLERS and biased(random.Random(0))("s1.ncb_kind", ("ncb", "wide")) in ("ncb", "wide")


def test_a_table_gets_its_column_when_it_comes(tmp_path: Path, space: SearchSpace) -> None:
    table = made_up_table(tmp_path, space)
    assert set(table.blocks) == set(space.blocks(Workload.square(64)))
    header, *rows = (table.path / "blocks.csv").read_text().splitlines()
    assert header.startswith(
        "kind,in_channels,out_channels,stride,height,width,mlp_ratio,mix_ratio,"
    )
    assert ",sr_ratio,kernel,latency_ms," in header
    assert any(row.startswith("wide,") and ",3,0." in row for row in rows)

    predictor = LatencyPredictor.fit(table)
    networks = [space.sample(random.Random(seed)) for seed in range(20)]
    found = predictor.predict(networks, Workload.square(64))
    expected = [0.1 + 0.95 * sum(map(made_up_ms, n.blocks(Workload.square(64)))) for n in networks]
    assert np.allclose(found.latency_ms, expected, rtol=0.01)
    block = next(block for block in table.blocks if block.kind == "wide")
    assert block_sums(table, [block])[0, 1:3].tolist() == [1.0, 0.0]


def test_a_table_of_before_gets_the_column_when_a_block_is_added(tmp_path: Path) -> None:
    old = Block("ncb", 32, 32, 1, 8, 8, 2.0)
    new, usual = (
        Block("wide", 32, 32, 1, 8, 8, extra=(("kernel", 7),)),
        Block("wide", 32, 32, 1, 8, 8),
    )
    timing = Timing(0.5, 0.5, 1.0, 30)
    append_blocks(tmp_path, [(old, timing)])
    before = (tmp_path / "blocks.csv").read_text()
    assert "kernel" not in before
    append_blocks(tmp_path, [(usual, timing)])
    assert (tmp_path / "blocks.csv").read_text().startswith(before)
    append_blocks(tmp_path, [(new, timing)])
    append_blocks(tmp_path, [(old, timing)])
    lines = (tmp_path / "blocks.csv").read_text().splitlines()
    assert lines[0].split(",")[8:10] == ["sr_ratio", "kernel"]
    assert [line.split(",")[9] for line in lines[1:]] == ["", "", "7", ""]


def test_what_is_not_registered_is_left_out_of_a_table_with_a_warning(
    tmp_path: Path, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = made_up_table(tmp_path, space)
    monkeypatch.delitem(block_kinds._KINDS, "wide")
    with pytest.warns(TableWarning, match=r"rows left out: \d+, of kinds of block"):
        read = read_table(table.path)
    assert read.blocks == {b: t for b, t in table.blocks.items() if b.kind != "wide"}
    assert all(
        stage.ncb_kind == "ncb" for row in read.networks for stage in row.architecture.stages
    )


def test_a_column_of_another_kind_is_refused(tmp_path: Path, space: SearchSpace) -> None:
    path = made_up_table(tmp_path, space).path / "blocks.csv"
    lines = path.read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith("ncb,"))
    cells = lines[number].split(",")
    cells[lines[0].split(",").index("kernel")] = "3"
    path.write_text("\n".join([*lines[:number], ",".join(cells), *lines[number + 1 :]]) + "\n")
    with pytest.raises(TableError, match=rf"blocks.csv:{number + 1}: kernel '3': .* ncb has none"):
        read_table(path.parent)


def test_blocks_of_it_that_were_not_measured_are_interpolated(
    tmp_path: Path, space: SearchSpace
) -> None:
    table = made_up_table(tmp_path, space)
    missing = Block("wide", 64, 64, 1, 16, 16, extra=(("kernel", 7),))
    assert missing not in table.blocks
    found = with_interpolated(table, [missing])
    assert found.blocks[missing].latency_ms == pytest.approx(made_up_ms(missing), rel=0.5)
    assert found.interpolated[missing] > 0


def test_a_manifest_of_a_kit_holds_it() -> None:
    values = [block.to_json() for block in NETWORK.blocks(AT)]
    value: Any = json.loads(json.dumps(NETWORK.to_json()))
    models = [KitModel(n, n, f"models/{n}.onnx", "0" * 64, 1, None) for n in ("reference", "empty")]
    models += [
        KitModel(f"block-{i}", "block", f"models/block-{i}.onnx", "0" * 64, 1, value)
        for i, value in enumerate(values)
    ]
    models.append(KitModel("network-1", "network", "models/n.onnx", "0" * 64, 1, value))
    manifest = Manifest("1", "wide", "onnxruntime", "fp32", 1, AT.resolution, 1000, tuple(models))
    read = parse_manifest(json.loads(json.dumps(manifest.to_json())))
    assert read == manifest
    assert [Block.from_json(m.value) for m in read.of_kind("block")] == NETWORK.blocks(AT)
    assert Architecture.from_json(read.of_kind("network")[0].value) == NETWORK


def test_a_network_with_it_is_built_trained_fused_and_exported(tmp_path: Path) -> None:
    network = build_network(NETWORK, 10, drop_path_rate=0.1)
    initialise(network)
    ends = [module.mix.weight for module in network.modules() if isinstance(module, Wide)]
    assert len(ends) == 4
    assert not any(weight.any() for weight in ends)
    network.train()(images(2, 3, 64, 96)).sum().backward()
    assert all(weight.grad is not None for weight in ends)

    randomise(network)
    x = images(2, 3, 64, 96)
    with torch.inference_mode():
        expected = network(x)
        assert relative_error(network.fuse()(x), expected) < 1e-4
    path = tmp_path / "wide.onnx"
    export_network(NETWORK, path, replace(AT, outputs=10))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images(1, 3, 64, 96).numpy()})
    assert logits.shape == (1, 10)
    assert np.isfinite(logits).all()


def test_a_report_names_it() -> None:
    assert architecture_lines(NETWORK)[1:3] == [
        "S1: Wide 32 x2, ncb_kernel 3",
        "S2: (NCB 32 x1 + Wide 64) x1, mlp 1, ntb_kernel 7",
    ]


def test_a_new_process_imports_it_with_a_network(tmp_path: Path) -> None:
    path = tmp_path / "network.pickle"
    path.write_bytes(pickle.dumps(NETWORK))
    code = (
        "import pickle, sys; network = pickle.load(open(sys.argv[1], 'rb')); "
        "print(network.id, len(network.blocks()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [NETWORK.id, str(len(NETWORK.blocks()))]


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"kind 'ncb' of .*: nas\.models\.blocks\.ncb has"):
        register(BlockKind("ncb", "convolution", "X", "x", operators, Wide))
    with pytest.raises(ArchitectureError, match="a field cannot be called 'stride'"):
        BlockKind("x", "convolution", "X", "x", operators, Wide, fields=(Field("stride", 1, 2),))
    with pytest.raises(ArchitectureError, match="field 'sr_ratio' cannot have a default"):
        field = Field("sr_ratio", 0, 64, default=2)
        BlockKind("x", "convolution", "X", "x", operators, Wide, fields=(field,))
    with pytest.raises(ArchitectureError, match="'Big' is no name"):
        BlockKind("Big", "convolution", "X", "x", operators, Wide)
    assert kind_of("ncb").label == "NCB"
