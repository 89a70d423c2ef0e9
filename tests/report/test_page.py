"""The report page as text: complete in every case, self-contained, and safe."""

from __future__ import annotations

import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nas.config import ProxyConfig
from nas.report.notation import ms_text
from nas.report.page import render, write_report
from nas.report.page_network import network_parts, next_steps
from nas.report.wording import (
    headline,
    over_budget,
    shown_front,
    stopped_text,
    verification_note,
)
from nas.results.values import SearchResult
from tests.report.endings import CASES
from tests.report.makers import make_result, with_device_values

LOADING = {"src", "href", "srcset", "action", "data", "poster", "background", "formaction"}


class _Page(HTMLParser):
    """Text outside scripts and styles, and every attribute that could load something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.styles: list[str] = []
        self.tags: list[str] = []
        self.loads: list[tuple[str, str]] = []
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [(tag, name) for name, _ in attrs if name in LOADING]

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.styles.append(data)
        elif self.lasttag != "script":
            self.words.append(data)


def test_every_case_is_complete(result: SearchResult) -> None:
    page = _Page(render(result))
    assert " ".join(headline(result).split()) in page.text
    for device in result.devices:
        assert device.table_name in page.text
        assert device.table_provenance in page.text
        assert verification_note(result, device) in page.text
    for candidate in result.candidates:
        assert candidate.architecture.id in page.text
    for reference in result.references:
        assert reference.name in page.text
    if len(result.devices) > 1:
        for name, device in zip(result.device_names, result.devices, strict=True):
            assert f"Pareto front on {name}" in page.text
            assert f"budget of {device.target.budget_ms:g} ms" in page.text
    assert stopped_text(result) in page.text
    if result.recommended:
        assert "untrained weights" in page.text


def test_loads_nothing() -> None:
    html = render(make_result())
    page = _Page(html)
    assert page.loads == []
    assert "link" not in page.tags
    styles = "".join(page.styles)
    assert "url(" not in styles
    assert "@import" not in styles
    assert html.count("plotly.js v") == 1


def test_estimate_names_the_command_that_replaces_it() -> None:
    result = CASES["estimated-batch-8"]()
    page = _Page(render(result))
    command = result.devices[0].replace_command
    assert command and command in page.text
    assert "Estimated ms" in page.text
    assert "Predicted ms" not in page.text
    assert "a batch of 8 images" in page.text
    assert "Latencies are estimated, not verified: TensorRT" in page.text


def test_a_measured_latency_has_its_interval() -> None:
    page = _Page(render(make_result()))
    assert page.text.count("95% within ±0.5%, 60 runs") >= len(make_result().devices[0].front)


def test_measured_over_budget_is_marked_and_not_recommended() -> None:
    page = _Page(render(CASES["all-over-budget"]()))
    assert "No recommendation: everything measured is over the budget" in page.text
    assert page.text.count("measured over the budget") >= 5
    assert "recommended network" not in page.text


def test_accuracy_is_always_called_proxy() -> None:
    text = _Page(render(make_result())).text
    assert "proxy score after 64,000 images (digits)" in text
    assert "proxy score (digits)" in _Page(render(CASES["predicted"]())).text
    assert "not ImageNet accuracy" in text
    images = f"{ProxyConfig().train_images:,}"
    assert f"validation accuracy on digits at 32x32, after {images} training images" in text


def test_hostile_strings_are_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    result = make_result(kind="predicted", space=hostile, data=f"imagefolder:/x/{hostile}")
    first = replace(result.candidates[0], origin=hostile)
    reference = replace(result.references[0], name=hostile)
    result = replace(
        with_device_values(
            result,
            table_name=hostile,
            table_provenance=hostile,
            unverified_because=hostile,
            replace_command=hostile,
        ),
        run_dir=Path(f"results/{hostile}"),
        candidates=(first, *result.candidates[1:]),
        references=(reference, *result.references[1:]),
    )
    html = render(result)
    assert hostile not in html
    assert "<script>alert" not in html
    assert html.count("<script") == render(make_result()).count("<script")
    assert hostile in _Page(html).text


def test_says_where_the_milliseconds_of_the_winner_go() -> None:
    result = make_result()
    (device,), best = result.devices, result.recommended
    assert best
    parts = network_parts(best.architecture, result)
    shown = [float(part["devices"][0]["ms"]) for part in parts]
    predicted_ms = device.latency(best).predicted.latency_ms
    assert sum(shown) == pytest.approx(predicted_ms, abs=0.05)
    assert [len(part["devices"][0]["blocks_ms"]) for part in parts] == [
        1,
        *(stage.depth for stage in best.architecture.stages),
        1,
    ]
    shares = [float(part["devices"][0]["share"]) for part in parts]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    slower = tuple(0.9 * ms for ms in device.breakdown_ms)
    page = _Page(render(with_device_values(result, breakdown_ms=slower)))
    assert f"and a constant of +{0.1 * predicted_ms:.2f} make the" in page.text


def test_presets_without_published_accuracy() -> None:
    result = CASES["unpublished-presets"]()
    text = _Page(render(result)).text
    assert "Preset networks" in text and "ImageNet-1k top-1" not in text
    assert "ublished" not in text
    some = (replace(result.references[0], imagenet_top1=82.5), *result.references[1:])
    text = _Page(render(replace(result, references=some))).text
    assert "82.5%" in text and text.count("not published") == 2


def test_tables_have_a_latency_for_every_device() -> None:
    result = CASES["three-devices"]()
    text = _Page(render(result)).text
    for name, device in zip(result.device_names, result.devices, strict=True):
        assert text.count(f"ms predicted on {name}") == 2  # stage by stage, and block by block
        assert text.count(f"Predicted ms on {name} 90% interval") == 2  # presets, candidates
        assert f"Device {name} , budget {device.target.budget_ms:g} ms" in text
        for reference in result.references:
            assert ms_text(reference.predicted[device.index].latency_ms) in text


def test_what_another_device_is_too_slow_for_is_marked() -> None:
    result = CASES["over-another-budget"]()
    first, second = result.devices
    lost = [c for c in shown_front(result, first) if over_budget(c, second)]
    assert len(lost) > 1
    text = _Page(render(result)).text
    on_first = text[: text.index("Accuracy against latency on openvino")]
    assert on_first.count("over budget on openvino") == len(lost)
    assert "over budget on onnxruntime" not in text


def test_run_folder_is_quoted_for_the_shell() -> None:
    html = render(make_result(run_dir=Path("results/my run")))
    assert "predict &#39;results/my run&#39;" in html


def test_commands_exist() -> None:
    from typer.main import get_command

    from nas.cli import app

    known = get_command(app)
    steps = next_steps(make_result())
    commands = [text.split()[2:] for _, text in steps if text.startswith("python ")]
    assert len(commands) == 2
    for first, *_ in commands:
        names = {option for param in known.params for option in param.opts}
        assert first in names | set(known.commands)  # type: ignore[attr-defined]


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_report(make_result(count=1), path)
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644

    def refuse(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="no space left"):
        write_report(make_result(), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
