"""The recommended network on the page: part by part, where its milliseconds go, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from nas.config import SearchConfig, TargetConfig
from nas.models.cost import Cost, network_cost
from nas.report.notation import ms_text
from nas.results.values import Candidate, DeviceResult, SearchResult
from nas.space.architecture import Architecture, Stage
from nas.space.block import Block
from nas.space.block_kinds import kind_of
from nas.space.stage import CONVOLUTION


def network_section(result: SearchResult, best: Candidate) -> dict[str, Any]:
    """What the page says of the recommended network alone."""
    device = result.devices[0]
    return {
        "faster": _faster(best, result, device),
        "parts": network_parts(best.architecture, result, device),
        "legend": _legend(best.architecture),
        "rest": _rest(best, device),
        "next": next_steps(result),
    }


def next_steps(result: SearchResult) -> list[tuple[str, str]]:
    """What to do with the winner: its purpose, and the file, code or command."""
    config, folder = result.config, str(result.run_dir)
    where = shlex.quote(folder)
    build = f"nas.build_network(nas.load_architecture({folder!r}), {config.num_classes})"
    options = _table_options(config, result.devices[0].target)
    return [
        ("Deploy and time", str(result.run_dir / "best.onnx")),
        ("Build it to train", f"import nas; network = {build}"),
        ("Predict its latency", f"python run_search.py predict {where} {options}"),
        ("Search on", f"python run_search.py --resume {where} --trials {2 * config.trials}"),
    ]


def _table_options(config: SearchConfig, target: TargetConfig) -> str:
    """Which table of which target, and the network's size where it is not the usual one."""
    options = {
        "target": target.target,
        "device": target.device,
        "precision": target.precision,
        "batch-size": target.batch_size,
        "resolution": config.resolution if config.resolution != 224 else None,
        "num-classes": config.num_classes if config.num_classes != 1000 else None,
    }
    given = ((name, value) for name, value in options.items() if value is not None)
    return " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in given)


def _faster(best: Candidate, result: SearchResult, device: DeviceResult) -> str | None:
    """Speed beside the fastest preset, both predicted from the same table."""
    if not result.references:
        return None
    index = device.index
    reference = min(result.references, key=lambda r: r.predicted[index].latency_ms)
    ratio = reference.predicted[index].latency_ms / best.latencies[index].predicted.latency_ms
    if best.architecture == reference.architecture or 0.95 < ratio < 1.05:
        return None
    factor = f"{ratio:.1f}x faster" if ratio > 1 else f"{1 / ratio:.1f}x slower"
    return f"{factor} than {reference.name}, both {device.provenance}"


def network_parts(
    architecture: Architecture, result: SearchResult, device: DeviceResult
) -> list[dict[str, Any]]:
    """Stem, stages and head: what they are, what they put out, and what they cost."""
    blocks = architecture.blocks(result.config.workload)
    depths = [stage.depth for stage in architecture.stages]
    bounds = [0, *accumulate(depths, initial=1), len(blocks)]
    total, total_ms = network_cost(blocks), sum(device.breakdown_ms)
    names = ["Stem", "Stage 1", "Stage 2", "Stage 3", "Stage 4", "Head"]
    stages: list[Stage | None] = [None, *architecture.stages, None]
    parts = []
    for index, (name, stage) in enumerate(zip(names, stages, strict=True)):
        extent = slice(bounds[index], bounds[index + 1])
        part = blocks[extent]
        parts.append(
            {
                "name": name,
                "stage": stage,
                "groups": _groups(stage),
                "note": kind_of(part[-1].kind).note(part[-1]),
                "output": _output(part[-1]),
                **_part_cost(part, total),
                **_part_ms(part, device.breakdown_ms[extent], total_ms),
            }
        )
    return parts


def _part_cost(part: Sequence[Block], total: Cost) -> dict[str, str]:
    cost = network_cost(part)
    return {
        "gmacs": f"{cost.macs / 1e9:.2f}",
        "macs_share": f"{100 * cost.macs / total.macs:.1f}",
        "mparams": f"{cost.params / 1e6:.2f}",
        "params_share": f"{100 * cost.params / total.params:.1f}",
    }


def _part_ms(part: Sequence[Block], part_ms: Sequence[float], total_ms: float) -> dict[str, Any]:
    rows = zip(part, part_ms, strict=True)
    return {
        "ms": ms_text(sum(part_ms)),
        "ms_share": f"{100 * sum(part_ms) / total_ms:.1f}",
        "blocks_ms": [(str(block), ms_text(block_ms)) for block, block_ms in rows],
    }


def _rest(best: Candidate, device: DeviceResult) -> str:
    """How the parts' milliseconds add up to the prediction."""
    predicted_ms = device.latency(best).predicted.latency_ms
    rest_ms = predicted_ms - sum(device.breakdown_ms)
    constant = f" and a constant of {rest_ms:+.2f}" if abs(rest_ms) >= 0.005 else ""
    return (
        f"The parts' milliseconds{constant} make the {ms_text(predicted_ms)} "
        f"{device.provenance} for the whole network."
    )


def _groups(stage: Stage | None) -> list[list[str]]:
    """The blocks of a stage in order, one list of places a group."""
    if stage is None:
        return []
    group = ["convolution"] * stage.num_ncb + ["transformer"] * bool(stage.ntb_width)
    return [group] * stage.repeats


def _legend(architecture: Architecture) -> list[tuple[str, str]]:
    """Place and meaning of every kind of block in the stages."""
    entries: dict[tuple[str, str], None] = {}
    for stage in architecture.stages:
        for place, kind in stage.kinds().items():
            name = "convolution" if place == CONVOLUTION else "transformer"
            entries[name, f"{kind.label}, {kind.meaning}"] = None
    return list(entries)


def _output(block: Block) -> str:
    if kind_of(block.kind).pools:
        return f"{block.out_channels:,} classes"
    return f"{block.out_channels} x {block.out_height} x {block.out_width}"
