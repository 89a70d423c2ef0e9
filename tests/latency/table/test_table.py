"""Name, kind and provenance of a table."""

from __future__ import annotations

import pytest

from nas.space.architecture_files import load_architecture
from tests.tiny import made_up_table, tiny_space


@pytest.fixture
def table(tmp_path):
    return made_up_table(tmp_path / "tables", tiny_space(tmp_path))


def test_provenance_names_device_runtime_and_date(table):
    text = table.provenance()
    for part in ("a test device", "onnxruntime 1.0", "fp32", "batch 1", "2 threads", "2026-11-22"):
        assert part in text


def test_missing_blocks(table):
    small = load_architecture("nextvit-small").blocks()
    assert table.missing(small) == small
    assert table.missing(table.blocks) == []
