"""The words and numbers that the page, its figure and the terminal share.

Plain text without markup: whoever prints it escapes it for where it goes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from statistics import median

from nas.accuracy.size_bonus import REFERENCE_MACS, SizeBonus
from nas.config import SearchConfig
from nas.results.values import Candidate, Latency, Reference, SearchResult, compared
from nas.space.architecture import Architecture, Stage
from nas.space.stage import CONVOLUTION, TRANSFORMER

TABLE_HOLDS = 0.1
"""Median relative difference of measured from predicted latency that a table may have."""


def gmacs_text(gmacs: float, of: float | None = None) -> str:
    """G multiply-accumulates with two decimals, four for networks below 0.1 G.

    Args:
        gmacs: of a network or a part of one.
        of: of the whole network, where it is a part.
    """
    whole = gmacs if of is None else of
    return f"{gmacs:.2f}" if whole >= 0.1 else f"{gmacs:.4f}"


def ms_text(latency_ms: float) -> str:
    """Milliseconds with three significant digits and without a unit: 0.482, 4.82, 48.2, 482."""
    decimals = 3 if latency_ms < 0.9995 else 2 if latency_ms < 9.995 else int(latency_ms < 99.95)
    return f"{latency_ms:.{decimals}f}"


def budget_text(config: SearchConfig) -> str:
    """The budget as it was asked for, with its unit."""
    return f"{config.budget_ms:.6g} ms"


def interval_text(latency: Latency) -> str:
    """The interval in milliseconds, without a unit."""
    return f"{ms_text(latency.low_ms)}–{ms_text(latency.high_ms)}"  # noqa: RUF001


def confidence_text(config: SearchConfig) -> str:
    """The confidence of every interval of a search: 90%."""
    return f"{100 * config.confidence:g}%"


def accuracy_text(accuracy: float) -> str:
    """Accuracy 0..1 as a percentage with one decimal."""
    return f"{100 * accuracy:.1f}%"


def points_text(accuracy: float) -> str:
    """A difference of accuracies (0..1) in points with one decimal: +0.8."""
    return f"{100 * accuracy:+.1f}".replace("-0.0", "+0.0")


def score_name(config: SearchConfig) -> str:
    """What candidates are compared by: their accuracy, or that with something added for size."""
    return "proxy score" if per_doubling(config) else "proxy accuracy"


def per_doubling(config: SearchConfig) -> float:
    """Accuracy (0..1) added to that of a full training for each doubling of MACs."""
    bonus = SizeBonus(config.size_bonus, config.workload)
    return bonus.per_doubling(config.proxy.train_images)


def score_rule(config: SearchConfig) -> str:
    """How the score of a full training comes of its accuracy; empty where nothing is added."""
    added = per_doubling(config)
    if not added:
        return ""
    return (
        f"accuracy, and {points_text(added)} points for each doubling of MACs above "
        f"{REFERENCE_MACS / 1e9:g} G: short training underrates large networks"
    )


def score_text(candidate: Candidate, config: SearchConfig) -> str:
    """The score of a candidate, and what it is made of."""
    named = f"{accuracy_text(candidate.score)} {score_name(config)}"
    if not per_doubling(config):
        return named
    added = points_text(candidate.bonus)
    return f"{named} ({accuracy_text(candidate.accuracy)} accuracy, {added} for size)"


def final_text(candidate: Candidate) -> str:
    """What a finalist's longer training gave; empty for others."""
    final = candidate.final
    if final is None:
        return ""
    if final.diverged:
        return "diverged when trained longer"
    return f"{accuracy_text(final.score)} after {final.images:,} images"


def finalists_rule(result: SearchResult) -> str:
    """How the recommended one was chosen from the finalists; empty if it was not."""
    finals = compared(result.candidates, result.config.finalists)
    if result.recommended is None or result.recommended.number not in finals:
        return ""
    final = finals[result.recommended.number]
    best = score_name(result.config).removeprefix("proxy ")
    return (
        f"{len(finals)} candidates of the best {best} were trained again, on {final.images:,} "
        f"images and with another seed; the one within budget whose mean {best} of both trainings "
        f"is best is recommended"
    )


def difference_text(candidate: Candidate) -> str:
    """Measured latency relative to the table's, in percent; empty where it was not measured."""
    if candidate.measured is None:
        return ""
    ratio = candidate.measured.latency_ms / candidate.predicted.latency_ms
    percent = 100 * (ratio - 1)
    text = f"{percent:+.1f}%" if abs(percent) < 100 else f"{percent:+.0f}%"
    return text.replace("-0.0", "+0.0")


def top1_text(reference: Reference) -> str:
    """Published ImageNet-1k accuracy as a percentage; empty for a preset that has none."""
    top1 = reference.imagenet_top1
    return "" if top1 is None else f"{top1:.1f}%"


def presets_name(result: SearchResult) -> str:
    """What the presets beside the front are: published networks, or just presets."""
    shown = result.references
    return "preset" if shown and not any(map(top1_text, shown)) else "published"


def duration_text(seconds: float) -> str:
    """A wall time in at most two units: 42 s, 12 min 5 s, 3 h 4 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def stage_text(stage: Stage) -> str:
    """A stage in the notation of the Next Hybrid Strategy (arXiv 2207.05501, section 3.4).

    For example ``(NCB 256 x4 + NTB 384) x2, mlp 3/2, mix 0.75, sr 2``.
    """
    labels = {place: kind.label for place, kind in stage.kinds().items()}
    blocks = f"{labels[CONVOLUTION]} {stage.ncb_width} x{stage.num_ncb}"
    if stage.ntb_width:
        blocks = f"({blocks} + {labels[TRANSFORMER]} {stage.ntb_width}) x{stage.repeats}"
    mlp = "/".join(f"{ratio:g}" for ratio in (stage.ncb_mlp_ratio, stage.ntb_mlp_ratio) if ratio)
    ratios = (("mix", stage.mix_ratio), ("sr", stage.sr_ratio), *stage.extra)
    parts = [blocks, f"mlp {mlp}" if mlp else ""]
    parts += [f"{name} {value:g}" if value else "" for name, value in ratios]
    return ", ".join(part for part in parts if part)


def architecture_lines(architecture: Architecture) -> list[str]:
    """The stem and the four stages, a line each."""
    stages = [f"S{n}: {stage_text(s)}" for n, s in enumerate(architecture.stages, start=1)]
    stride = "" if architecture.stem_stride == 4 else f", stride {architecture.stem_stride}"
    return [f"Stem: {architecture.stem_width}{stride}", *stages]


def batch_size(result: SearchResult) -> int:
    """Images of one timed call."""
    return result.config.batch_size or 1


def call_text(result: SearchResult) -> str:
    """What one latency is the time of."""
    batch = batch_size(result)
    workload = result.config.workload
    images = "one image" if batch == 1 else f"a batch of {batch} images"
    return f"{images} at {workload.height}x{workload.width}"


def proxy_name(config: SearchConfig) -> str:
    """The proxy data in a word or two: ``digits``, or the last folder of an image folder."""
    kind, _, path = config.proxy.data.partition(":")
    return f"{kind} {PurePath(path).name}" if path else kind


def proxy_data(config: SearchConfig) -> str:
    """The data behind the proxy accuracy, named wherever the accuracy appears."""
    return f"{config.proxy.data} at {config.proxy.resolution}x{config.proxy.resolution}"


def over_budget(candidate: Candidate, config: SearchConfig) -> bool:
    """Whether a candidate breaks the budget, or was measured too close to it to be sure."""
    return bool(over_budget_text(candidate, config))


def over_budget_text(candidate: Candidate, config: SearchConfig) -> str:
    """How a candidate breaks the budget; empty if it does not."""
    if candidate.latency_ms > config.budget_ms:
        return "measured over the budget" if candidate.measured else "over the budget"
    again_ms = candidate.again_high_ms
    if again_ms is not None and again_ms > config.budget_ms:
        return "measured too close to the budget"
    return ""


def latency_text(candidate: Candidate, result: SearchResult) -> str:
    """A candidate's best known latency, with its provenance."""
    measured = candidate.measured
    if measured:
        return (
            f"{ms_text(measured.latency_ms)} ms measured "
            f"(95% within ±{measured.ci_pct:.1f}%, {measured.runs} runs)"
        )
    return table_latency_text(candidate.predicted, result)


def table_latency_text(latency: Latency, result: SearchResult) -> str:
    """A predicted or estimated latency with its interval."""
    within = f"{confidence_text(result.config)} within {interval_text(latency)}"
    return f"{ms_text(latency.latency_ms)} ms {result.provenance} ({within})"


def all_candidates(result: SearchResult) -> tuple[Candidate, ...]:
    """Every trained candidate by trial number, with its measurement where the front has one."""
    by_number = {candidate.number: candidate for candidate in result.candidates}
    chosen = (*result.front, *((result.recommended,) if result.recommended else ()))
    for candidate in chosen:
        known = by_number.get(candidate.number, candidate)
        measured = candidate.measured or known.measured
        by_number[candidate.number] = replace(candidate, measured=measured)
    return tuple(by_number[number] for number in sorted(by_number))


def shown_front(result: SearchResult) -> tuple[Candidate, ...]:
    """The front, the finalists and whatever else was measured, fastest first.

    What was measured over budget leaves `SearchResult.front`, but a reader has to see it.
    """
    numbers = {candidate.number for candidate in result.front}
    rows = [c for c in all_candidates(result) if c.number in numbers or c.measured or c.final]
    return tuple(sorted(rows, key=lambda c: (c.latency_ms, c.number)))


def off_front(candidate: Candidate, result: SearchResult) -> bool:
    """Whether one of `shown_front` is within budget and not Pareto-optimal."""
    shown = candidate.measured is not None or candidate.final is not None
    known = {c.number for c in result.front}
    within = shown and not over_budget(candidate, result.config)
    return within and candidate.number not in known


def headline(result: SearchResult) -> str:
    """The one sentence a search ends in."""
    budget = " and ".join(budget_text(seen.config) for seen in result.everywhere)
    best = result.recommended
    if best:
        several = len(result.everywhere) > 1
        latencies = " and ".join(_headline_latency(seen, several) for seen in result.everywhere)
        final = best.sound_final
        score = f"{accuracy_text((final or best).score)} {score_name(result.config)}"
        longer = f" after {final.images:,} images" if final else ""
        return f"Recommended: {latencies}, {score}{longer} ({proxy_name(result.config)})"
    candidates = all_candidates(result)
    if not candidates:
        full = " in full" if result.partly_trained else ""
        return f"No recommendation: no candidate was trained{full} (budget {budget})"
    seen = [(c, s.config) for s in result.everywhere for c in all_candidates(s) if c.measured]
    if seen and all(over_budget(candidate, config) for candidate, config in seen):
        return f"No recommendation: everything measured is over the budget of {budget} or too close"
    return f"No recommendation: no trained candidate is within the budget of {budget}"


def _headline_latency(seen: SearchResult, several: bool) -> str:
    best = seen.recommended
    assert best is not None  # the same network on every device
    how = "measured" if best.measured else f"{seen.provenance}, not measured"
    where = f"{seen.config.target}, " if several else ""
    return f"{ms_text(best.latency_ms)} ms {how} ({where}budget {budget_text(seen.config)})"


def estimate_warning(result: SearchResult) -> str | None:
    """What an estimate is worth; `SearchResult.replace_command` follows it where there is one."""
    if result.provenance != "estimated":
        return None
    text = "Estimated latencies: not from a complete table measured on the device."
    return f"{text} To replace them by measured ones:" if result.replace_command else text


def warnings(result: SearchResult) -> list[str]:
    """What else a reader must know before trusting the numbers, the gravest first."""
    notes = []
    for seen in result.everywhere:
        where = f"{seen.table_name}: " if result.elsewhere else ""
        notes += [where + note for note in _warnings_here(seen)]
    if result.undecided:
        notes.append(result.undecided)
    if result.stopped:
        notes.append(f"Stopped early: {result.stopped}")
    return notes


def _warnings_here(result: SearchResult) -> list[str]:
    notes = []
    if not result.verified:
        notes.append(result.verification_note)
    best, config = result.recommended, result.config
    if best and not best.measured and best.predicted.high_ms > config.budget_ms:
        notes.append(
            f"The recommended network may miss the budget: its {confidence_text(config)} interval "
            f"({interval_text(best.predicted)} ms) reaches over {budget_text(config)}."
        )
    candidates = all_candidates(result)
    ratios = [c.measured.latency_ms / c.predicted.latency_ms for c in candidates if c.measured]
    if ratios and abs(median(ratios) - 1) > TABLE_HOLDS:
        slower = "slower" if median(ratios) > 1 else "faster"
        notes.append(
            f"This machine is {100 * abs(median(ratios) - 1):.0f}% {slower} than its table says; "
            f"whether it still holds says: python run_search.py tables verify {result.table_name}"
        )
    over = [c for c in candidates if c.measured and over_budget(c, config)]
    if over:
        names = ", ".join(c.architecture.id for c in over)
        notes.append(f"Measured over budget, or too close to it, and not recommended: {names}.")
    return notes


def trials_text(result: SearchResult) -> str:
    """How many proposals were trained, in full or not, left untrained, and came to nothing."""
    earlier = f", {result.imported:,} from earlier runs" if result.imported else ""
    count = len(all_candidates(result)) - result.imported
    if result.partly_trained:
        partly = len(result.partly_trained)
        trained = f"{count + partly:,} trained ({partly:,} of them stopped at a rung)"
    else:
        trained = f"{count:,} trained"
    config = result.config
    sizes = config.max_params is not None or config.max_macs is not None
    over = "over a limit" if sizes else f"{result.provenance} over budget"
    return (
        f"{trained}{earlier}, {result.untrained:,} not trained ({over}), "
        f"{result.failed} diverged or interrupted"
    )
