"""What a dry run says is what the search would do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from nas.search.plan import plan
from tests.search.runs import run_config
from tests.tiny import TINY_PROXY


def test_data_named_by_a_relative_path_is_that_of_an_earlier_run(
    finished, folder, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random sampler refuses a run that was trained with other data."""
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(80):
            image = Image.new("RGB", (8, 8), (number, 0, 0))
            image.save(tmp_path / "photos" / name / f"{number}.png")
    shutil.copytree(finished[0].run_dir, tmp_path / "earlier")
    written = Path(tmp_path / "earlier" / "config.yaml")
    absolute = f"imagefolder:{tmp_path / 'photos'}"
    assert "data: digits" in written.read_text()
    written.write_text(written.read_text().replace("data: digits", f"data: {absolute}"))

    monkeypatch.chdir(tmp_path)
    proxy = TINY_PROXY.model_copy(update={"data": "imagefolder:photos"})
    config = run_config(folder, proxy=proxy, warm_start=("earlier",))
    found = plan(config, tmp_path / "run", tables_dir=folder / "tables")
    assert found.imported == len(finished[0].candidates)
    assert found.config.proxy.data == absolute
