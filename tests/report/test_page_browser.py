"""The report as a browser shows it, without a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nas.report.page import write_report
from tests.report.browser import find_browser, open_page
from tests.report.endings import CASES

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chrome or Chromium is installed")


@pytest.mark.parametrize(
    "case", ["family-fits", "estimated-batch-8", "all-over-budget", "three-devices", "none"]
)
def test_chart_is_drawn_without_network_or_errors(case: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = CASES[case]()
    write_report(result, page)
    opened = open_page(page, tmp_path / "profile")
    assert opened.console == []
    assert '<svg class="main-svg"' in opened.dom
    points = len(re.findall(r'<path class="point', opened.dom))
    drawn = len(result.devices) * (len(result.candidates) + len(result.references))
    assert points >= drawn
    for reference in result.references:
        assert re.search(rf"<tspan[^>]*>{reference.name}</tspan>", opened.dom)


def test_console_shows_a_request_that_the_page_refuses(tmp_path: Path) -> None:
    """What the test above relies on: the policy holds, and its complaint is seen."""
    page = tmp_path / "report.html"
    write_report(CASES["none"](), page)
    html = page.read_text(encoding="utf-8")
    page.write_text(
        html.replace("</main>", '<img src="https://example.org/x.png"></main>'), encoding="utf-8"
    )
    opened = open_page(page, tmp_path / "profile")
    assert any("Content Security Policy" in line for line in opened.console)


def test_no_horizontal_scroll_on_a_phone(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_report(CASES["family-fits"](), page)
    html = page.read_text(encoding="utf-8")
    # A frame, since a browser's window is no narrower than 500 pixels.
    report = (
        "<script>const root = document.documentElement; setTimeout(() => parent.postMessage("
        "`${innerWidth}, over by ${root.scrollWidth - root.clientWidth}`, '*'), 1500)"
        "</script></body>"
    )
    page.write_text(html.replace("</body>", report), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<body><iframe src='report.html' style='width:400px;height:900px;border:0'></iframe>"
        "<script>onmessage = e => { document.body.dataset.said = e.data }</script></body>",
        encoding="utf-8",
    )
    opened = open_page(frame, tmp_path / "profile")
    assert 'data-said="400, over by 0"' in opened.dom
