"""A headless browser for the tests: what a page becomes once its scripts have run."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAMES = ("chromium", "google-chrome", "chromium-browser", "google-chrome-stable")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--virtual-time-budget=4000",
    "--dump-dom",
)


@dataclass(frozen=True)
class Opened:
    """The DOM as text, and the lines that the page left on the console."""

    dom: str
    console: list[str]


def find_browser() -> str | None:
    """Path of an installed Chrome or Chromium."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def open_page(page: Path, profile: Path, width: int = 1280) -> Opened:
    """Open a local page without a network, in a fresh profile."""
    browser = find_browser()
    assert browser is not None
    done = subprocess.run(
        [
            browser,
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size={width},1800",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return Opened(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line])
