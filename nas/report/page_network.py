"""The recommended network on the page: its parts, their latencies, and the next steps."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from nas.config import SearchConfig, TargetConfig
from nas.models.cost import Cost, network_cost
from nas.report.notation import gmacs_text, ms_text
from nas.results.values import Candidate, DeviceResult, SearchResult
from nas.space.architecture import Architecture, Stage
from nas.space.block import Block
from nas.space.block_kinds import kind_of
from nas.space.stage import CONVOLUTION
from nas.system import folders


def network_section(result: SearchResult, best: Candidate) -> dict[str, Any]:
    """Return the template's values for the section about the recommended network."""
    return {
        "faster": _faster(best, result),
        "parts": network_parts(best.architecture, result),
        "rest": [_rest(best, result, device) for device in result.devices],
        "legend": _legend(best.architecture),
        "next": next_steps(result),
    }


def next_steps(result: SearchResult) -> list[tuple[str, str]]:
    """List next steps with the recommended network: pairs of purpose and file, code or command."""
    config, folder = result.config, str(result.run_dir)
    where = shlex.quote(folder)
    build = f"nas.build_network(nas.load_architecture({folder!r}), {config.num_classes})"
    predict = [
        (
            f"Predict its latency{_on(result, device)}",
            f"{folders.command()} predict {where} {_table_options(config, device.target)}",
        )
        for device in result.devices
    ]
    return [
        ("Deploy and time", str(result.run_dir / "best.onnx")),
        ("Build it to train", f"import nas; network = {build}"),
        *predict,
        ("Search on", f"{folders.command()} --resume {where} --trials {2 * config.trials}"),
    ]


def _table_options(config: SearchConfig, target: TargetConfig) -> str:
    """Command-line options that select the table, and the workload if it is not the default."""
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


def _on(result: SearchResult, device: DeviceResult) -> str:
    """``on`` and the name of the device, to end a text; empty if there is only one device."""
    return f" on {result.device_names[device.index]}" if len(result.devices) > 1 else ""


def _faster(best: Candidate, result: SearchResult) -> str:
    """Say how much faster the network is than the fastest preset on each device, as predicted."""
    names: dict[tuple[str, str], list[str]] = {}
    for name, device in zip(result.device_names, result.devices, strict=True):
        text = _faster_on(best, result, device.index)
        if text:
            names.setdefault((text, device.provenance), []).append(name)
    several = len(result.devices) > 1
    return "; ".join(
        f"{text}{' on ' + ' and '.join(where) if several else ''}, both {provenance}"
        for (text, provenance), where in names.items()
    )


def _faster_on(best: Candidate, result: SearchResult, index: int) -> str:
    """Say how much faster it is on one device; empty without presets, or for less than 5%."""
    if not result.references:
        return ""
    reference = min(result.references, key=lambda r: r.predicted[index].latency_ms)
    ratio = reference.predicted[index].latency_ms / best.latencies[index].predicted.latency_ms
    if best.architecture == reference.architecture or 0.95 < ratio < 1.05:
        return ""
    factor = f"{ratio:.1f}x faster" if ratio > 1 else f"{1 / ratio:.1f}x slower"
    return f"{factor} than {reference.name}"


def network_parts(architecture: Architecture, result: SearchResult) -> list[dict[str, Any]]:
    """Return the template's values for stem, stages and head: blocks, output, cost and latency."""
    blocks = architecture.blocks(result.config.workload)
    depths = [stage.depth for stage in architecture.stages]
    bounds = [0, *accumulate(depths, initial=1), len(blocks)]
    total = network_cost(blocks)
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
                "devices": [_part_ms(device.breakdown_ms, extent) for device in result.devices],
                "blocks": [str(block) for block in part],
            }
        )
    return parts


def _part_cost(part: Sequence[Block], total: Cost) -> dict[str, str]:
    cost = network_cost(part)
    return {
        "gmacs": gmacs_text(cost.macs / 1e9, total.macs / 1e9),
        "macs_share": f"{100 * cost.macs / total.macs:.1f}",
        "mparams": f"{cost.params / 1e6:.2f}",
        "params_share": f"{100 * cost.params / total.params:.1f}",
    }


def _part_ms(breakdown_ms: Sequence[float], extent: slice) -> dict[str, Any]:
    part_ms = breakdown_ms[extent]
    return {
        "ms": ms_text(sum(part_ms)),
        "share": f"{100 * sum(part_ms) / sum(breakdown_ms):.1f}",
        "blocks_ms": [ms_text(block_ms) for block_ms in part_ms],
    }


def _rest(best: Candidate, result: SearchResult, device: DeviceResult) -> str:
    """Say in a sentence how the parts' milliseconds add up to the network's latency."""
    predicted_ms = device.latency(best).predicted.latency_ms
    rest_ms = predicted_ms - sum(device.breakdown_ms)
    constant = f" and a constant of {rest_ms:+.2f}" if abs(rest_ms) >= 0.005 else ""
    return (
        f"The parts' milliseconds{constant} make the {ms_text(predicted_ms)} "
        f"{device.provenance} for the whole network{_on(result, device)}."
    )


def _groups(stage: Stage | None) -> list[list[str]]:
    """List ``convolution`` or ``transformer`` for each block of a stage, one list per group.

    The result is empty for None, which stands for stem and head.
    """
    if stage is None:
        return []
    group = ["convolution"] * stage.num_ncb + ["transformer"] * bool(stage.ntb_width)
    return [group] * stage.repeats


def _legend(architecture: Architecture) -> list[tuple[str, str]]:
    """List the kinds of block in the stages: pairs of place (as in `_groups`) and meaning."""
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
