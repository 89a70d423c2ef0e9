"""A small folder of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.accuracy.data.pictures import COLOURS, write_class


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    for name, colour in COLOURS.items():
        write_class(folder / name, colour)
    return folder
