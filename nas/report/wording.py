"""The sentences that the page, its figures and the terminal share.

All texts are plain, without markup: the caller escapes them for its output.
"""

from __future__ import annotations

from statistics import median

from nas.config import SearchConfig
from nas.measurement.protocol import MAX_CI_PCT
from nas.report.notation import accuracy_text, interval_text, measured_word, ms_text
from nas.report.score_wording import (
    proxy_name,
    score_name,
)
from nas.results.values import (
    Candidate,
    DeviceLatency,
    DeviceResult,
    Latency,
    SearchResult,
    StopReason,
)
from nas.system import folders

MAX_TABLE_ERROR = 0.1
"""Largest median relative difference of measured from predicted latencies without a warning."""

MAX_HEADLINE_DEVICES = 2
"""Largest number of devices whose latencies the headline names; for more devices, it says on how
many the network was measured."""

_STOP_TEXTS = {
    StopReason.INTERRUPTED: "interrupted; go on with --resume",
    StopReason.VERIFICATION_INTERRUPTED: (
        "measuring the front was interrupted; go on with --resume"
    ),
    StopReason.SPACE_EXHAUSTED: "nothing new within budget was found in the space",
    StopReason.TIME_LIMIT_OF_CANDIDATES: "no further candidate fitted into the time limit",
    StopReason.TIME_LIMIT: (
        "the time limit was reached; go on with --resume and a longer --time-limit"
    ),
    StopReason.WORKERS_DIED: (
        "a training process died, or ran out of memory, again and again: try fewer --workers, "
        "then --resume"
    ),
    StopReason.EVALUATOR_FAILED: (
        "the evaluator failed several times in a row: mend it, then go on with --resume"
    ),
}


def stop_text(reason: StopReason, config: SearchConfig) -> str:
    """Say why a search, or a part of it, stopped early, and what to do about it."""
    text = _STOP_TEXTS[reason]
    if reason is StopReason.TIME_LIMIT_OF_CANDIDATES and config.time_limit_s is not None:
        return f"{text} of {config.time_limit_s:g} s"
    return text


def stopped_text(result: SearchResult) -> str:
    """Say why a search stopped early; empty if it did not."""
    return stop_text(result.stopped, result.config) if result.stopped else ""


def unfinished_text(result: SearchResult) -> str:
    """Say how many finalists were not trained longer, and why; empty if all were."""
    unfinished = result.unfinished_finalists
    if unfinished is None:
        return ""
    return (
        f"{unfinished.count} of {unfinished.total} finalists were not trained longer: "
        f"{stop_text(unfinished.reason, result.config)}"
    )


def verification_note(result: SearchResult, device: DeviceResult) -> str:
    """Say how the front was measured on a device, or why it was not."""
    reason = device.unverified_because
    if reason is not None:
        why = stop_text(reason, result.config) if isinstance(reason, StopReason) else reason
        return f"Latencies are {device.provenance}, not verified: {why}."
    if device.verified:
        runtime = f"{device.target.target} {device.runtime_version}".strip()
        return (
            f"The front was measured whole on this machine ({device.device_description}, "
            f"{runtime})."
        )
    if not result.candidates:
        return "Nothing was verified: no candidate was trained in full."
    return "Nothing was verified: by today's predictions no candidate is within budget."


def budget_text(device: DeviceResult) -> str:
    """The budget with its unit, see `nas.config.TargetConfig.budget_text`."""
    return device.target.budget_text


def confidence_text(config: SearchConfig) -> str:
    """The confidence of every predicted interval of a search: 90%."""
    return f"{100 * config.confidence:g}%"


def batch_size(device: DeviceResult) -> int:
    """Number of images in one timed call."""
    return device.target.batch_size or 1


def call_text(config: SearchConfig, device: DeviceResult) -> str:
    """Number and size of the images of one call."""
    batch, workload = batch_size(device), config.workload
    images = "one image" if batch == 1 else f"a batch of {batch} images"
    return f"{images} at {workload.height}x{workload.width}"


def calls_text(result: SearchResult) -> str:
    """Say how many images of what size a call has, for example ``one image at 224x224``.

    Devices are named only if their calls differ.
    """
    names: dict[str, list[str]] = {}
    for name, device in zip(result.device_names, result.devices, strict=True):
        names.setdefault(call_text(result.config, device), []).append(name)
    if len(names) == 1:
        return next(iter(names))
    return ", ".join(f"{call} on {' and '.join(where)}" for call, where in names.items())


def over_budget(candidate: Candidate, device: DeviceResult) -> bool:
    """Whether a candidate breaks a device's budget, or was measured too close to it to be sure."""
    return bool(over_budget_text(candidate, device))


def over_budget_text(candidate: Candidate, device: DeviceResult) -> str:
    """Say how a candidate breaks a device's budget; empty if it does not."""
    latency, budget_ms = device.latency(candidate), device.target.budget_ms
    if latency.latency_ms > budget_ms:
        return "measured over the budget" if latency.measured else "over the budget"
    again_ms = latency.remeasured_high_ms
    if again_ms is not None and again_ms > budget_ms:
        return "measured too close to the budget"
    return ""


def latency_text(latency: DeviceLatency, device: DeviceResult, config: SearchConfig) -> str:
    """Say the measured latency of a network, or else the predicted one, with its interval."""
    measured = latency.measured
    if measured:
        again = ""
        if latency.remeasured_high_ms is not None:
            pct = 100 * (latency.remeasured_high_ms / measured.latency_ms - 1)
            again = f"; measured again, {confidence_text(config)} within ±{pct:.1f}%"
        return (
            f"{ms_text(measured.latency_ms)} ms {measured_word(measured)} "
            f"(95% within ±{measured.ci_pct:.1f}%, {measured.runs} runs{again})"
        )
    return predicted_text(latency.predicted, device, config)


def predicted_text(latency: Latency, device: DeviceResult, config: SearchConfig) -> str:
    """A predicted or estimated latency with its provenance and interval."""
    within = f"{confidence_text(config)} within {interval_text(latency)}"
    return f"{ms_text(latency.latency_ms)} ms {device.provenance} ({within})"


def shown_front(result: SearchResult, device: DeviceResult) -> tuple[Candidate, ...]:
    """The front, the finalists and all candidates measured on a device, fastest first.

    Candidates measured over the budget are not in `DeviceResult.front`, but must be visible.
    """
    numbers = {candidate.number for candidate in device.front}
    rows = [
        candidate
        for candidate in result.candidates
        if candidate.number in numbers or device.latency(candidate).measured or candidate.longer
    ]
    return tuple(sorted(rows, key=lambda c: (device.latency(c).latency_ms, c.number)))


def off_front(candidate: Candidate, result: SearchResult, device: DeviceResult) -> bool:
    """Whether a candidate of `shown_front` keeps all budgets but is not on this device's front."""
    shown = device.latency(candidate).measured is not None or candidate.longer is not None
    on_front = any(candidate.number == other.number for other in device.front)
    return shown and not on_front and not any(over_budget(candidate, d) for d in result.devices)


def over_other_budgets_text(
    candidate: Candidate, result: SearchResult, device: DeviceResult
) -> str:
    """Say on which other devices a candidate breaks the budget.

    Empty if there are none, or if it breaks the budget of this device too.
    """
    if over_budget(candidate, device):
        return ""
    named = zip(result.device_names, result.devices, strict=True)
    over = [name for name, other in named if over_budget(candidate, other)]
    return f"over budget on {' and '.join(over)}" if over else ""


def published(result: SearchResult) -> bool:
    """Whether every reference of a result has a published ImageNet-1k accuracy."""
    return all(reference.imagenet_top1 is not None for reference in result.references)


def references_name(result: SearchResult) -> str:
    """Name of the presets shown for comparison, for example ``Published Next-ViT family``."""
    return "Published Next-ViT family" if published(result) else "Preset networks"


def headline(result: SearchResult) -> str:
    """The sentence that sums up the result of a search."""
    budget = " and ".join(budget_text(device) for device in result.devices)
    best = result.recommended
    if best:
        latencies = _headline_latencies(best, result)
        longer = best.converged_longer
        score = f"{accuracy_text((longer or best).score)} {score_name(result.config)}"
        after = f" after {longer.images:,} images" if longer else ""
        return f"Recommended: {latencies}, {score}{after} ({proxy_name(result.config)})"
    if not result.candidates:
        full = " in full" if result.partly_trained else ""
        return f"No recommendation: no candidate was trained{full} (budget {budget})"
    over = [over_budget(c, device) for device in result.devices for c in _measured(result, device)]
    if over and all(over):
        return f"No recommendation: everything measured is over the budget of {budget} or too close"
    return f"No recommendation: no trained candidate is within the budget of {budget}"


def _measured(result: SearchResult, device: DeviceResult) -> list[Candidate]:
    return [candidate for candidate in result.candidates if device.latency(candidate).measured]


def _headline_latencies(best: Candidate, result: SearchResult) -> str:
    count = len(result.devices)
    if count <= MAX_HEADLINE_DEVICES:
        return " and ".join(_headline_latency(best, result, device) for device in result.devices)
    measured = sum(device.latency(best).measured is not None for device in result.devices)
    return f"within budget on {count} devices ({measured} of them measured)"


def _headline_latency(best: Candidate, result: SearchResult, device: DeviceResult) -> str:
    latency = device.latency(best)
    how = f"{device.provenance}, not measured"
    if latency.measured:
        how = measured_word(latency.measured)
    where = f"{result.device_names[device.index]}, " if len(result.devices) > 1 else ""
    return f"{ms_text(latency.latency_ms)} ms {how} ({where}budget {budget_text(device)})"


def nothing_trained_text(result: SearchResult) -> str:
    """Say why a search that is over has trained no candidate (in full), and what to do."""
    text = f"{headline(result).partition(': ')[2]}: {trials_text(result)}"
    if result.stopped:
        text += f"; {stopped_text(result)}"
    return (
        f"{text}; go on with --resume {result.run_dir}, and more --trials or a longer --time-limit"
    )


def estimate_warning(device: DeviceResult) -> str | None:
    """Warn that latencies are estimated; None if they are not.

    It ends in a colon if `DeviceResult.replace_command` is to follow it.
    """
    if device.provenance != "estimated":
        return None
    text = "Estimated latencies: not from a complete table measured on the device."
    return f"{text} To replace them by measured ones:" if device.replace_command else text


def warning_prefix(result: SearchResult, device: DeviceResult) -> str:
    """Table's name and a colon, to begin a device's warning; empty if there is only one device."""
    return f"{device.table_name}: " if len(result.devices) > 1 else ""


def warnings(result: SearchResult) -> list[str]:
    """All warnings about the numbers except `estimate_warning`: by device, then of the search."""
    notes = [
        warning_prefix(result, device) + note
        for device in result.devices
        for note in _device_warnings(result, device)
    ]
    if result.unfinished_finalists:
        notes.append(unfinished_text(result))
    failed = [c.longer for c in result.candidates if c.longer and c.longer.message]
    if failed:
        notes.append(
            f"The evaluator failed in the longer training of {len(failed)} "
            f"finalist{'s' if len(failed) > 1 else ''}; its last error: {failed[-1].message}"
        )
    if result.stopped:
        notes.append(f"Stopped early: {stopped_text(result)}")
    return notes


def _device_warnings(result: SearchResult, device: DeviceResult) -> list[str]:
    notes = []
    if not device.verified:
        notes.append(verification_note(result, device))
    best = device.latency(result.recommended) if result.recommended else None
    if best and not best.measured and best.predicted.high_ms > device.target.budget_ms:
        notes.append(
            f"The recommended network may miss the budget: its {confidence_text(result.config)} "
            f"interval ({interval_text(best.predicted)} ms) reaches over {budget_text(device)}."
        )
    ratio = _measured_ratio(result, device)
    if ratio is not None and abs(ratio - 1) > MAX_TABLE_ERROR:
        slower = "slower" if ratio > 1 else "faster"
        notes.append(
            f"This machine is {100 * abs(ratio - 1):.0f}% {slower} than its table says; "
            f"whether it still holds says: {folders.command()} tables verify {device.table_name}"
        )
    rough = [c for c in _measured(result, device) if not _steady(c, device)]
    if rough:
        names = ", ".join(c.architecture.id for c in rough)
        notes.append(
            f"The machine was too busy to measure {names} (95% interval wider than "
            f"±{MAX_CI_PCT:.0f}%), so those latencies are rough. Measure the network to deploy "
            f"again when the machine does less: {folders.command()} measure --help"
        )
    over = [c for c in _measured(result, device) if over_budget(c, device)]
    if over:
        names = ", ".join(c.architecture.id for c in over)
        notes.append(f"Measured over budget, or too close to it, and not recommended: {names}.")
    return notes


def _steady(candidate: Candidate, device: DeviceResult) -> bool:
    measured = device.latency(candidate).measured
    return measured is None or measured.steady


def _measured_ratio(result: SearchResult, device: DeviceResult) -> float | None:
    """Median of measured to predicted latency on a device; None if nothing was measured."""
    latencies = [device.latency(candidate) for candidate in _measured(result, device)]
    ratios = [latency.latency_ms / latency.predicted.latency_ms for latency in latencies]
    return median(ratios) if ratios else None


def trials_text(result: SearchResult) -> str:
    """Say how many proposals were trained (in full or to a rung), not trained, and failed."""
    earlier = f", {result.imported:,} from earlier runs" if result.imported else ""
    count = len(result.candidates) - result.imported
    if result.partly_trained:
        partly = len(result.partly_trained)
        trained = f"{count + partly:,} trained ({partly:,} of them stopped at a rung)"
    else:
        trained = f"{count:,} trained"
    config = result.config
    sizes = (config.max_params, config.max_macs, config.max_size_bytes) != (None, None, None)
    estimated = all(device.provenance == "estimated" for device in result.devices)
    how = "estimated" if estimated else "predicted"
    over = "over a limit" if sizes else f"{how} over budget"
    return (
        f"{trained}{earlier}, {result.untrained:,} not trained ({over}), "
        f"{result.failed} diverged, interrupted or failed"
    )
