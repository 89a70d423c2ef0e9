"""Numbers, intervals and architectures as short texts, for the page, the figures and the terminal.

All texts are plain, without markup: the caller escapes them for its output.
"""

from __future__ import annotations

from nas.measurement.protocol import Timing
from nas.results.values import DeviceLatency, Latency
from nas.space.architecture import Architecture
from nas.space.stage import CONVOLUTION, TRANSFORMER, Stage


def gmacs_text(gmacs: float, of: float | None = None) -> str:
    """Write G multiply-accumulates with two decimals, or four for networks below 0.1 G.

    Args:
        gmacs: G multiply-accumulates of a network or of a part of it.
        of: G multiply-accumulates of the whole network; None if ``gmacs`` is the whole.
    """
    whole = gmacs if of is None else of
    return f"{gmacs:.2f}" if whole >= 0.1 else f"{gmacs:.4f}"


def ms_text(latency_ms: float) -> str:
    """Write milliseconds with three significant digits, without a unit: 0.482, 4.82, 48.2, 482."""
    decimals = 3 if latency_ms < 0.9995 else 2 if latency_ms < 9.995 else int(latency_ms < 99.95)
    return f"{latency_ms:.{decimals}f}"


def interval_text(latency: Latency) -> str:
    """Write the ends of an interval in milliseconds, without a unit."""
    return f"{ms_text(latency.low_ms)}–{ms_text(latency.high_ms)}"  # noqa: RUF001


def measured_word(timing: Timing) -> str:
    """The word ``measured``, and why the latency is only rough where it is."""
    return "measured" if timing.steady else "measured while the machine was too busy"


def difference_text(latency: DeviceLatency) -> str:
    """Measured latency relative to the predicted one, in percent; empty if it was not measured."""
    if latency.measured is None:
        return ""
    ratio = latency.measured.latency_ms / latency.predicted.latency_ms
    percent = 100 * (ratio - 1)
    text = f"{percent:+.1f}%" if abs(percent) < 100 else f"{percent:+.0f}%"
    return text.replace("-0.0", "+0.0")


def accuracy_text(accuracy: float) -> str:
    """Accuracy 0..1 as a percentage with one decimal."""
    return f"{100 * accuracy:.1f}%"


def points_text(accuracy: float) -> str:
    """A difference of accuracies (0..1) in points with one decimal: +0.8."""
    return f"{100 * accuracy:+.1f}".replace("-0.0", "+0.0")


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
    """The stem and the four stages, one line each."""
    stages = [f"S{n}: {stage_text(s)}" for n, s in enumerate(architecture.stages, start=1)]
    stride = "" if architecture.stem_stride == 4 else f", stride {architecture.stem_stride}"
    return [f"Stem: {architecture.stem_width}{stride}", *stages]
