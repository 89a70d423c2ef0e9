"""The report page as text: complete in every case, self-contained, and safe."""

from __future__ import annotations

import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nas.config import ProxyConfig
from nas.report.page import _best, render, write_report
from nas.report.wording import all_candidates, headline
from nas.results.values import SearchResult
from tests.report.endings import CASES, make_result

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
    assert result.table_name in page.text
    assert result.table_provenance in page.text
    assert result.verification_note in page.text
    for candidate in all_candidates(result):
        assert candidate.architecture.id in page.text
    for reference in result.references:
        assert reference.name in page.text
    for seen in result.elsewhere:
        assert seen.table_provenance in page.text
        assert f"Pareto front on {seen.config.target}" in page.text
        assert f"budget of {seen.config.budget_ms:g} ms" in page.text
    if result.stopped:
        assert result.stopped in page.text
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
    assert result.replace_command
    assert result.replace_command in page.text
    assert "Estimated ms" in page.text
    assert "Predicted ms" not in page.text
    assert "a batch of 8 images" in page.text
    assert "Latencies are estimated, not verified: TensorRT" in page.text


def test_a_measured_latency_has_its_interval() -> None:
    page = _Page(render(make_result()))
    assert page.text.count("95% within ±0.5%, 60 runs") >= len(make_result().front)


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
    result = make_result(space=hostile, data=f"imagefolder:/x/{hostile}", stopped=hostile)
    first = replace(result.candidates[0], origin=hostile)
    reference = replace(result.references[0], name=hostile)
    result = replace(
        result,
        table_name=hostile,
        table_provenance=hostile,
        verification_note=hostile,
        replace_command=hostile,
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
    best = _best(result)
    assert best and result.recommended
    shown = [float(part["ms"]) for part in best["parts"]]
    assert sum(shown) == pytest.approx(result.recommended.predicted.latency_ms, abs=0.05)
    assert [len(part["blocks_ms"]) for part in best["parts"]] == [
        1,
        *(stage.depth for stage in result.recommended.architecture.stages),
        1,
    ]
    assert sum(float(part["ms_share"]) for part in best["parts"]) == pytest.approx(100, abs=0.5)
    constant = replace(result, breakdown_ms=tuple(0.9 * ms for ms in result.breakdown_ms))
    rest_ms = 0.1 * result.recommended.predicted.latency_ms
    assert f"and a constant of +{rest_ms:.2f} make the" in _Page(render(constant)).text


def test_run_folder_is_quoted_for_the_shell() -> None:
    html = render(make_result(run_dir=Path("results/my run")))
    assert "predict &#39;results/my run&#39;" in html


def test_commands_exist() -> None:
    from typer.main import get_command

    from nas.cli import app

    known = get_command(app)
    result = make_result()
    best = _best(result)
    assert best
    commands = [text.split()[2:] for _, text in best["next"] if text.startswith("python ")]
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
