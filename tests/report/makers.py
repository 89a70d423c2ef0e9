"""Makes search results as a search would end in, from real architectures."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from nas.accuracy.size_bonus import SizeBonus
from nas.config import ProxyConfig, SearchConfig, TargetConfig
from nas.measurement.protocol import Timing
from nas.models.cost import block_cost, network_cost
from nas.results.values import (
    Candidate,
    DeviceLatency,
    DeviceResult,
    Latency,
    LongerTraining,
    Reference,
    SearchResult,
    StopReason,
)
from nas.space.architecture import Architecture
from nas.space.architecture_files import load_architecture
from nas.space.space_files import load_space
from nas.space.workload import IMAGENET

TOP1 = {"nextvit-small": 82.5, "nextvit-base": 83.2, "nextvit-large": 83.6}


@cache
def gmacs_of(architecture: Architecture) -> float:
    """MACs of one image at 224 pixels, in G."""
    return network_cost(architecture.blocks()).macs / 1e9


def latency_of(architecture: Architecture, scale: float = 7.2) -> Latency:
    """A latency that grows with the MACs, as a table would give it."""
    value = scale * (gmacs_of(architecture) + 0.0125 * architecture.depth)
    return Latency(value, 0.945 * value, 1.06 * value)


def breakdown_of(architecture: Architecture, scale: float) -> tuple[float, ...]:
    """The same latency, Block by Block; a stem and a head have no share in the depth."""
    blocks = architecture.blocks()
    depth = (0.0125 if block.kind in ("ncb", "ntb") else 0.0 for block in blocks)
    return tuple(scale * (block_cost(b).macs / 1e9 + d) for b, d in zip(blocks, depth, strict=True))


def accuracy_of(architecture: Architecture, rng: random.Random) -> float:
    """An accuracy that saturates with the MACs, with the noise of a training."""
    gmacs = gmacs_of(architecture)
    return min(0.9, 0.62 + 0.24 * gmacs / (gmacs + 0.7) + rng.gauss(0, 0.012))


def bonus_of(architecture: Architecture) -> float:
    """The size bonus of the default proxy."""
    weight = SearchConfig.model_fields["size_bonus"].default
    return SizeBonus(weight, IMAGENET).of(architecture, ProxyConfig().train_images)


def front_of(
    candidates: tuple[Candidate, ...], budget_ms: float, index: int = 0
) -> tuple[Candidate, ...]:
    """The Pareto-optimal ones within a device's budget, fastest first."""
    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.latencies[index].latency_ms, -c.score)):
        better = not front or candidate.score > front[-1].score
        if candidate.latencies[index].latency_ms <= budget_ms and better:
            front.append(candidate)
    return tuple(front)


def with_finalists(
    candidates: tuple[Candidate, ...], budget_ms: float, rng: random.Random
) -> tuple[Candidate, ...]:
    """The best three of the measured front, trained longer."""
    measured = tuple(c for c in candidates if c.measured)
    numbers = {c.number for c in front_of(measured, budget_ms)[-3:]}
    return tuple(
        replace(c, longer=LongerTraining(c.accuracy + 0.1 + rng.gauss(0, 0.01), 0.0, 64_000))
        if c.number in numbers and len(numbers) > 1
        else c
        for c in candidates
    )


def with_latency(candidate: Candidate, index: int, latency: DeviceLatency) -> Candidate:
    """The candidate with another latency on one device."""
    latencies = list(candidate.latencies)
    latencies[index] = latency
    return replace(candidate, latencies=tuple(latencies))


def timing_of(predicted: Latency, rng: random.Random, slower: float = 1.0) -> Timing:
    """A latency as verification would have measured it."""
    latency_ms = predicted.latency_ms * slower * (1 + rng.gauss(0.01, 0.025))
    return Timing(latency_ms, 0.5, abs(rng.gauss(1.2, 0.3)), 60)


def measure(
    candidate: Candidate, rng: random.Random, slower: float = 1.0, index: int = 0
) -> Candidate:
    """The candidate as verification would have measured it on one device."""
    latency = candidate.latencies[index]
    measured = timing_of(latency.predicted, rng, slower)
    return with_latency(candidate, index, replace(latency, measured=measured))


def with_numbers(result: SearchResult, changed: tuple[Candidate, ...]) -> SearchResult:
    """The result with some candidates replaced wherever they occur."""
    new = {candidate.number: candidate for candidate in changed}
    best = result.recommended
    return replace(
        result,
        candidates=tuple(new.get(c.number, c) for c in result.candidates),
        devices=tuple(
            replace(device, front=tuple(new.get(c.number, c) for c in device.front))
            for device in result.devices
        ),
        recommended=new.get(best.number, best) if best else None,
    )


def with_device_values(result: SearchResult, index: int = 0, **values: Any) -> SearchResult:
    """The result with other values of one device."""
    devices = list(result.devices)
    devices[index] = replace(devices[index], **values)
    return replace(result, devices=tuple(devices))


def device_of(
    index: int,
    kind: str,
    target: TargetConfig,
    front: tuple[Candidate, ...],
    breakdown_ms: tuple[float, ...],
    table_name: str | None = None,
) -> DeviceResult:
    """One device of a search: ``kind`` is ``verified``, ``predicted`` or ``estimated``."""
    estimated, batch = kind == "estimated", target.batch_size or 1
    name = "tensorrt/t4.fp16" if estimated else "onnxruntime/xeon-8481c-2t.fp32"
    return DeviceResult(
        index=index,
        target=target,
        table_name=table_name or f"{name}.b{batch}",
        table_provenance=(
            f"estimated from 9 published latencies of NVIDIA T4 (fp16, batch {batch}; "
            "Next-ViT, arXiv 2207.05501)"
            if estimated
            else "from 1412 blocks and 40 networks measured on Intel Xeon Platinum 8481C with "
            f"onnxruntime 1.32.0 (fp32, batch {batch}, 2 threads; 2026-11-21)"
        ),
        provenance="estimated" if estimated else "predicted",
        device_description="NVIDIA T4" if estimated else "Intel Xeon Platinum 8481C",
        runtime_version="" if estimated else "1.32.0",
        replace_command=(
            "python run_search.py tables measure --target tensorrt --precision fp16 --batch-size 8"
            if estimated
            else None
        ),
        front=front,
        breakdown_ms=breakdown_ms,
        verified=kind == "verified",
        unverified_because={
            "verified": None,
            "predicted": "this machine is not the table's device (Intel Xeon Platinum 8481C)",
            "estimated": "TensorRT is not installed",
        }[kind],
    )


def trained_candidates(
    count: int, budget_ms: float, scale: float, rng: random.Random
) -> tuple[list[Candidate], int]:
    """Random candidates within the budget, and how many others were proposed."""
    found: list[Candidate] = []
    untrained = 0
    nextvit = load_space("nextvit")
    while len(found) < count:
        architecture = nextvit.sample(rng)
        predicted = latency_of(architecture, scale)
        if predicted.latency_ms > budget_ms:
            untrained += 1
            continue
        found.append(
            Candidate(
                number=len(found) + untrained,
                architecture=architecture,
                accuracy=accuracy_of(architecture, rng),
                latencies=(DeviceLatency(predicted),),
                bonus=bonus_of(architecture),
            )
        )
    return found, untrained


def trained_references(
    found: list[Candidate], untrained: int, budget_ms: float, scale: float, rng: random.Random
) -> tuple[Reference, ...]:
    """The published family; what fits the budget is trained too, and added to the candidates."""
    references = []
    train = len(found) > 1
    for name, top1 in TOP1.items():
        architecture = load_architecture(name)
        predicted = latency_of(architecture, scale)
        score = None
        if predicted.latency_ms <= budget_ms and train:
            trained = Candidate(
                number=len(found) + untrained,
                architecture=architecture,
                accuracy=accuracy_of(architecture, rng),
                latencies=(DeviceLatency(predicted),),
                origin=name,
                bonus=bonus_of(architecture),
            )
            found.append(trained)
            score = trained.score
        references.append(Reference(name, architecture, top1, (predicted,), score))
    return tuple(references)


def verified(
    candidates: tuple[Candidate, ...], budget_ms: float, slower: float, rng: random.Random
) -> tuple[Candidate, ...]:
    """The candidates with the front measured, and the best of it trained longer."""
    proposed = {c.number for c in front_of(candidates, budget_ms)}
    measured = (measure(c, rng, slower) if c.number in proposed else c for c in candidates)
    return with_finalists(tuple(measured), budget_ms, rng)


@cache
def make_result(
    *,
    count: int = 24,
    budget_ms: float = 15.0,
    kind: str = "verified",
    slower: float = 1.0,
    scale: float = 7.2,
    batch: int = 1,
    seed: int = 1,
    run_dir: Path = Path("results/2026-11-22-xeon-15ms"),
    stopped: StopReason | None = None,
    data: str = "digits",
    space: str = "nextvit",
) -> SearchResult:
    """A search's end on one device: ``kind`` is ``verified``, ``predicted`` or ``estimated``."""
    rng = random.Random(seed)
    found, untrained = trained_candidates(count, budget_ms, scale, rng)
    references = trained_references(found, untrained, budget_ms, scale, rng)
    candidates = tuple(found)
    if kind == "verified":
        candidates = verified(candidates, budget_ms, slower, rng)
    front = front_of(candidates, budget_ms)
    if kind == "verified":
        front = tuple(c for c in front if c.measured)
    best = max(front, key=lambda c: (c.longer is not None, c.finalist_score), default=None)
    target = TargetConfig(
        target="tensorrt" if kind == "estimated" else "onnxruntime",
        budget_ms=budget_ms,
        batch_size=batch if batch > 1 else None,
    )
    breakdown_ms = breakdown_of(best.architecture, scale) if best else ()
    return SearchResult(
        run_dir=run_dir,
        config=SearchConfig(
            targets=(target,),
            space=space,
            proxy=ProxyConfig(data=data),
            time_limit_s=720 if stopped is StopReason.TIME_LIMIT_OF_CANDIDATES else None,
            trials=max(count, 1) + (6 if stopped else 0),
        ),
        devices=(device_of(0, kind, target, front, breakdown_ms),),
        candidates=candidates,
        recommended=best,
        references=references,
        untrained=untrained,
        failed=1 if count > 5 else 0,
        wall_s=37.4 * count + 12,
        stopped=stopped,
    )


def with_device(
    result: SearchResult, kind: str, target: TargetConfig, table_name: str, scale: float
) -> SearchResult:
    """The same search as if it had been for one device more."""
    index, rng = len(result.devices), random.Random(len(result.devices))
    on_front = {c.number for device in result.devices for c in device.front}

    def here(candidate: Candidate) -> Candidate:
        predicted = latency_of(candidate.architecture, scale)
        verified = kind == "verified" and candidate.number in on_front
        measured = timing_of(predicted, rng) if verified else None
        latency = DeviceLatency(predicted, measured)
        return replace(candidate, latencies=(*candidate.latencies, latency))

    added = {c.number: here(c) for c in result.candidates}
    best = added[result.recommended.number] if result.recommended else None
    front = tuple(
        c
        for c in front_of(tuple(added.values()), target.budget_ms, index)
        if kind != "verified" or c.latencies[index].measured
    )
    breakdown_ms = breakdown_of(best.architecture, scale) if best else ()
    devices = [
        replace(device, front=tuple(added[c.number] for c in device.front))
        for device in result.devices
    ]
    new = device_of(index, kind, target, front, breakdown_ms, table_name)
    return replace(
        result,
        config=result.config.model_copy(update={"targets": (*result.config.targets, target)}),
        devices=(*devices, new),
        candidates=tuple(added.values()),
        recommended=best,
        references=tuple(
            replace(r, predicted=(*r.predicted, latency_of(r.architecture, scale)))
            for r in result.references
        ),
    )
