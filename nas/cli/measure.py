"""`run_search.py measure`: the latency of any ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.options import make_console


def measure(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    target: Annotated[str, typer.Option(help="Runtime to measure with: see tables runtimes.")],
    shape: Annotated[
        list[str] | None,
        typer.Option(help="Shape of an input that the file leaves open: images=1x3x224x224."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure any ONNX file on this machine, by the protocol that tables are measured with."""
    import json

    from nas.latency.collect.any_model import measure_model, parse_shape
    from nas.report.console import shown_text
    from nas.report.notation import measured_word

    result = measure_model(model, target, dict(parse_shape(text) for text in shape or []))
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
        return
    timing = result.timing
    console = make_console()
    about = "" if timing.steady else "about "
    measured = (
        f"{model}: {about}{timing.latency_ms:.3f} ms {measured_word(timing)} (95% interval "
        f"±{timing.ci_pct:.1f}%, spread {timing.spread_pct:.1f}%, {timing.runs} runs)"
    )
    console.print(shown_text(console, measured), soft_wrap=True)
    if not timing.steady:
        console.print("measure it again when the machine does less", style="yellow")
    inputs = ", ".join(f"{name} {'x'.join(map(str, size))}" for name, size in result.inputs.items())
    threads = f", {result.threads} threads" if result.threads else ""
    console.print(
        f"{inputs}; {result.target} {result.runtime_version} on {result.device_description} "
        f"({result.precision}{threads}); a call's overhead of {result.overhead_ms:.3f} ms is in it",
        style="dim",
        soft_wrap=True,
    )
