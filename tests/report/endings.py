"""Search results as a search would end in, made from real architectures."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from nas.accuracy.size_bonus import SizeBonus
from nas.config import ProxyConfig, SearchConfig
from nas.measurement.protocol import Timing
from nas.models.cost import block_cost, network_cost
from nas.results.values import Candidate, Final, Latency, Reference, SearchResult
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
    """What the default proxy adds for size."""
    weight = SearchConfig.model_fields["size_bonus"].default
    return SizeBonus(weight, IMAGENET).of(architecture, ProxyConfig().train_images)


def front_of(candidates: tuple[Candidate, ...], budget_ms: float) -> tuple[Candidate, ...]:
    """The Pareto-optimal ones within budget, fastest first."""
    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.latency_ms, -c.score)):
        better = not front or candidate.score > front[-1].score
        if candidate.latency_ms <= budget_ms and better:
            front.append(candidate)
    return tuple(front)


def with_finalists(
    candidates: tuple[Candidate, ...], budget_ms: float, rng: random.Random
) -> tuple[Candidate, ...]:
    """The best three of the measured front, trained longer."""
    measured = tuple(c for c in candidates if c.measured)
    numbers = {c.number for c in front_of(measured, budget_ms)[-3:]}
    return tuple(
        replace(c, final=Final(c.accuracy + 0.1 + rng.gauss(0, 0.01), 0.0, 64_000))
        if c.number in numbers and len(numbers) > 1
        else c
        for c in candidates
    )


def measure(candidate: Candidate, rng: random.Random, slower: float = 1.0) -> Candidate:
    """The candidate as verification would have measured it."""
    latency_ms = candidate.predicted.latency_ms * slower * (1 + rng.gauss(0.01, 0.025))
    return replace(candidate, measured=Timing(latency_ms, 0.5, abs(rng.gauss(1.2, 0.3)), 60))


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
    stopped: str | None = None,
    data: str = "digits",
    space: str = "nextvit",
) -> SearchResult:
    """A search's end: ``kind`` is ``verified``, ``predicted`` or ``estimated``."""
    rng = random.Random(seed)
    found: list[Candidate] = []
    untrained = 0
    nextvit = load_space("nextvit")
    while len(found) < count:
        architecture = nextvit.sample(rng)
        predicted = latency_of(architecture, scale)
        if predicted.latency_ms > budget_ms:
            untrained += 1
            continue
        accuracy = accuracy_of(architecture, rng)
        number = len(found) + untrained
        found.append(
            Candidate(number, architecture, accuracy, predicted, bonus=bonus_of(architecture))
        )
    references = []
    for name, top1 in TOP1.items():
        architecture = load_architecture(name)
        predicted = latency_of(architecture, scale)
        fits = predicted.latency_ms <= budget_ms and count > 1
        score = None
        if fits:
            trained = Candidate(
                number=len(found) + untrained,
                architecture=architecture,
                accuracy=accuracy_of(architecture, rng),
                predicted=predicted,
                origin=name,
                bonus=bonus_of(architecture),
            )
            found.append(trained)
            score = trained.score
        references.append(Reference(name, architecture, top1, predicted, score))
    candidates = tuple(found)
    if kind == "verified":
        proposed = {c.number for c in front_of(candidates, budget_ms)}
        candidates = tuple(
            measure(c, rng, slower) if c.number in proposed else c for c in candidates
        )
    if kind == "verified":
        candidates = with_finalists(candidates, budget_ms, rng)
    front = front_of(candidates, budget_ms)
    if kind == "verified":
        front = tuple(c for c in front if c.measured)
    best = max(front, key=lambda c: (c.final is not None, c.finalist_score), default=None)
    estimated = kind == "estimated"
    name = "tensorrt/t4.fp16" if estimated else "onnxruntime/xeon-8481c-2t.fp32"
    return SearchResult(
        run_dir=run_dir,
        config=SearchConfig(
            target=name.partition("/")[0],
            budget_ms=budget_ms,
            space=space,
            batch_size=batch if batch > 1 else None,
            proxy=ProxyConfig(data=data),
            trials=max(count, 1) + (6 if stopped else 0),
        ),
        table_name=f"{name}.b{batch}",
        table_provenance=(
            f"estimated from 9 published latencies of NVIDIA T4 (fp16, batch {batch}; "
            "Next-ViT, arXiv 2207.05501)"
            if estimated
            else "from 1412 blocks and 40 networks measured on Intel Xeon Platinum 8481C with "
            f"onnxruntime 1.32.0 (fp32, batch {batch}, 2 threads; 2026-11-21)"
        ),
        provenance="estimated" if estimated else "predicted",
        replace_command=(
            "python run_search.py tables measure --target tensorrt --precision fp16 --batch-size 8"
            if estimated
            else None
        ),
        candidates=candidates,
        front=front,
        recommended=best,
        breakdown_ms=breakdown_of(best.architecture, scale) if best else (),
        verified=kind == "verified",
        verification_note={
            "verified": "The front was measured whole on this machine (Intel Xeon Platinum "
            "8481C, onnxruntime 1.32.0).",
            "predicted": "Latencies are predicted, not verified: this machine is not the "
            "table's device (Intel Xeon Platinum 8481C).",
            "estimated": "Latencies are estimated, not verified: TensorRT is not installed.",
        }[kind],
        references=tuple(references),
        untrained=untrained,
        failed=1 if count > 5 else 0,
        wall_s=37.4 * count + 12,
        stopped=stopped,
    )


def on_two_devices() -> SearchResult:
    """A verified search that was for a phone as well, whose latencies are estimates."""
    here = make_result(seed=12)
    assert here.recommended
    budget_ms = 0.5 * here.config.budget_ms

    def seen(candidate: Candidate) -> Candidate:
        latency = latency_of(candidate.architecture, 3.3)
        return replace(candidate, predicted=latency, measured=None)

    candidates = tuple(seen(c) for c in here.candidates)
    there = replace(
        make_result(kind="estimated", seed=12),
        config=SearchConfig(target="coreml", budget_ms=budget_ms),
        table_name="coreml/iphone.fp16.b1",
        candidates=candidates,
        front=front_of(candidates, budget_ms),
        recommended=seen(here.recommended),
    )
    return replace(here, elsewhere=(there,))


def recommended_off_the_front() -> SearchResult:
    """Nothing was measured, and longer training preferred a network that another one beats."""
    result = make_result(kind="predicted", seed=3)
    best = result.front[-1]
    beaten = max(
        (c for c in result.candidates if c not in result.front),
        key=lambda c: c.predicted.latency_ms,
    )
    finals = {best.number: Final(0.8, 0.0, 64_000), beaten.number: Final(0.9, 0.0, 64_000)}
    candidates = tuple(replace(c, final=finals.get(c.number)) for c in result.candidates)
    return replace(
        result,
        candidates=candidates,
        front=front_of(candidates, result.config.budget_ms),
        recommended=next(c for c in candidates if c.number == beaten.number),
        breakdown_ms=breakdown_of(beaten.architecture, 7.2),
        undecided="2 of 4 finalists were not trained longer: interrupted; go on with --resume",
    )


CASES: dict[str, Callable[[], SearchResult]] = {
    "verified": make_result,
    "predicted": lambda: make_result(kind="predicted", seed=3),
    "estimated-batch-8": lambda: make_result(kind="estimated", batch=8, scale=5.5, seed=4),
    "family-fits": lambda: make_result(count=40, budget_ms=60.0, seed=5),
    "all-over-budget": lambda: make_result(slower=4.0, seed=6, count=8),
    "some-over-budget": lambda: make_result(slower=1.04, seed=11, budget_ms=12),
    "one": lambda: make_result(count=1, seed=7),
    "none": lambda: make_result(count=0, kind="predicted", stopped="interrupted"),
    "stopped": lambda: make_result(stopped="time limit of 720 s reached", seed=8),
    "two-devices": on_two_devices,
    "off-the-front": recommended_off_the_front,
    "tiny-latencies": lambda: make_result(scale=0.3, budget_ms=0.9, count=120, seed=9),
}
"""Every kind of search end the report has to render, by name."""
