"""Tables on disk: round trips, and every corruption named with its file and line."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nas.architecture_file import load_architecture
from nas.errors import TableError
from nas.latency.measure import Timing
from nas.latency.table import (
    BLOCK_COLUMNS,
    NetworkRow,
    append_blocks,
    append_networks,
    read_table,
    write_meta,
)
from tests.samples import architectures
from tests.tiny import made_up_table, tiny_space


@pytest.fixture
def table(tmp_path):
    return made_up_table(tmp_path / "tables", tiny_space(tmp_path))


TIMINGS = st.builds(
    Timing,
    latency_ms=st.floats(0.001, 10_000).map(lambda value: round(value, 5)),
    ci_pct=st.floats(0, 100).map(lambda value: round(value, 2)),
    spread_pct=st.floats(0, 500).map(lambda value: round(value, 2)),
    runs=st.integers(0, 10_000),
    reference_ms=st.just(2.0),  # that of the table: rows at another are read at this one
)


@given(network=architectures(), timing=TIMINGS)
def test_rows_round_trip(network, timing):
    with tempfile.TemporaryDirectory() as name:
        path = made_up_table(Path(name), tiny_space(Path(name))).path
        for file in path.glob("*.csv"):
            file.unlink()
        blocks = list(dict.fromkeys(network.blocks(256)))
        append_blocks(path, [(block, timing) for block in blocks[:3]])
        append_blocks(path, [(block, timing) for block in blocks[3:]])
        row = NetworkRow("any, name\n", 256, 10, network, timing)
        append_networks(path, [row])
        table = read_table(path)
    assert dict(table.blocks) == dict.fromkeys(blocks, timing)
    assert table.networks == (row,)


def test_meta_round_trips(table):
    changed = table.meta.model_copy(update={"updated": "2027-01-01"})
    write_meta(table.path, changed)
    assert read_table(table.path).meta == changed


def test_provenance_names_device_runtime_and_date(table):
    text = table.provenance()
    for part in ("a test device", "onnxruntime 1.0", "fp32", "batch 1", "2 threads", "2026-11-22"):
        assert part in text


def _edit_line(path: Path, number: int, column: str, value: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    columns = lines[0].split(",")
    cells = lines[number - 1].split(",")
    cells[columns.index(column)] = value
    lines[number - 1] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("latency_ms", "fast", "latency_ms 'fast' is not a number"),
        ("latency_ms", "nan", "latency_ms 'nan' is not from"),
        ("latency_ms", "-1", "latency_ms '-1' is not from"),
        ("latency_ms", "0", "latency_ms '0' is not from"),
        ("latency_ms", "inf", "latency_ms 'inf' is not from"),
        ("kind", "mlp", "kind 'mlp' is none of"),
        ("stride", "1.5", "stride '1.5' is not a whole number"),
        ("runs", "", "runs '' is not a number"),
    ],
)
def test_a_bad_cell_is_named_with_file_and_line(table, column, value, message):
    _edit_line(table.path / "blocks.csv", 4, column, value)
    with pytest.raises(TableError) as caught:
        read_table(table.path)
    assert f"blocks.csv:4: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_second_row_for_a_block_is_refused(table):
    path = table.path / "blocks.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    with pytest.raises(TableError, match=rf"blocks\.csv:{len(lines) + 1}: a second row"):
        read_table(table.path)


def test_a_line_that_a_killed_run_left_unfinished_is_left_out(table):
    path = table.path / "blocks.csv"
    path.write_text(path.read_text()[:-20])
    *kept, lost = table.blocks
    assert read_table(table.path).blocks == {block: table.blocks[block] for block in kept}
    for begun in ("", "kind,in_ch"):
        path.write_text(begun)
        assert read_table(table.path).missing([lost]) == [lost]


def test_a_truncated_line_in_the_middle_is_named(table):
    path = table.path / "blocks.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], lines[4][:-20] + "\n", *lines[5:]]))
    with pytest.raises(TableError, match=r"blocks\.csv:5: \d+ cells, expected 14"):
        read_table(table.path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"kinds,in_channels,out", r"blocks\.csv:1: the header"),
        (b"a,b\n", r"blocks\.csv:1: the header"),
        (b"\xff\xfe\x00", "not readable as CSV"),
        (b'kind,"\n', "blocks.csv"),
    ],
)
def test_a_file_that_is_no_table_is_refused(table, content, message):
    (table.path / "blocks.csv").write_bytes(content)
    with pytest.raises(TableError, match=message):
        read_table(table.path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not readable as JSON"),
        ("[]", "the whole"),
        ("[" * 100_000, "not readable as JSON"),
        ('{"format": 3}', "format"),
    ],
)
def test_bad_meta_is_refused(table, content, message):
    (table.path / "meta.json").write_text(content)
    with pytest.raises(TableError, match=message) as caught:
        read_table(table.path)
    assert "meta.json" in str(caught.value)


def test_a_network_row_with_an_impossible_architecture_is_refused(table):
    path = table.path / "networks.csv"
    lines = path.read_text().splitlines()
    lines[2] = (
        lines[2]
        .replace('""ncb_width"":32', '""ncb_width"":33', 1)
        .replace('""ncb_width"":64', '""ncb_width"":65', 1)
    )
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(TableError, match=r"networks\.csv:3: stage \d: ncb_width must be"):
        read_table(table.path)


def test_missing_blocks(table):
    small = load_architecture("nextvit-small").blocks(224)
    assert table.missing(small) == small
    assert table.missing(table.blocks) == []


@given(junk=st.binary(max_size=200), name=st.sampled_from(["meta.json", "blocks.csv"]))
def test_no_junk_gets_past_as_anything_but_a_table_error(junk, name):
    assume(not b",".join(name.encode() for name in BLOCK_COLUMNS).startswith(junk))
    with tempfile.TemporaryDirectory() as folder:
        table = made_up_table(Path(folder), tiny_space(Path(folder)))
        (table.path / name).write_bytes(junk)
        with pytest.raises(TableError):
            read_table(table.path)


def test_published_tables_hold_the_published_figures():
    import csv

    from nas.latency.table import TABLES_DIR

    for folder, first in (
        ("tensorrt/nvidia-t4.fp16.b8", 7.7),
        ("coreml/iphone12-pro-max.fp16.b1", 3.5),
    ):
        table = read_table(TABLES_DIR / folder)
        assert table.meta.kind == "published"
        assert "Next-ViT" in table.meta.source
        assert len(table.networks) == 9
        assert table.networks[0].timing.latency_ms == first
        with (TABLES_DIR / folder / "networks.csv").open() as file:
            assert {row["name"] for row in csv.DictReader(file)} == {
                "nextvit-small",
                "nextvit-base",
                "nextvit-large",
            }
        for row in table.networks:
            assert row.architecture == load_architecture(row.name)


def test_a_folder_without_meta_is_no_table(table):
    shutil.copytree(table.path, table.path.parent / "copy")
    (table.path.parent / "copy" / "meta.json").unlink()
    with pytest.raises(TableError, match="no latency table"):
        read_table(table.path.parent / "copy")


def test_meta_is_plain_json(table):
    assert json.loads((table.path / "meta.json").read_text())["threads"] == 2


def test_rows_are_read_at_the_speed_of_the_quiet_machine(table):
    """A table begun in a slow spell: its reference was found to be faster later."""
    write_meta(table.path, table.meta.model_copy(update={"reference_ms": 1.6}))
    block = next(iter(table.blocks))
    timing = Timing(10.0, 0.5, 1.0, 30, reference_ms=2.0)
    (table.path / "blocks.csv").unlink()
    append_blocks(table.path, [(block, timing)])
    read = read_table(table.path)
    assert read.blocks[block].latency_ms == pytest.approx(8.0)
    assert read.blocks[block].reference_ms == 1.6
