"""Tables on disk: round trips, and every corruption named with its file and line."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nas.errors import TableError, TableWarning
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.cells import BLOCK_COLUMNS, tidy
from nas.latency.table.files import (
    append_blocks,
    append_networks,
    read_table,
    write_meta,
    write_table,
)
from nas.latency.table.table import LatencyTable, NetworkRow
from nas.measurement.protocol import Timing
from nas.space.architecture_files import load_architecture
from nas.space.workload import Workload
from tests.samples import architectures
from tests.tiny import AT_64, made_up_table, tiny_space


@pytest.fixture
def table(tmp_path):
    return made_up_table(tmp_path / "tables", tiny_space(tmp_path))


def _made_up_files():
    with tempfile.TemporaryDirectory() as name:
        path = made_up_table(Path(name), tiny_space(Path(name))).path
        return path.name, {file.name: file.read_text() for file in path.iterdir()}


FOLDER, FILES = _made_up_files()


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
        blocks = list(dict.fromkeys(network.blocks(Workload.square(256))))
        append_blocks(path, [(block, timing) for block in blocks[:3]])
        append_blocks(path, [(block, timing) for block in blocks[3:]])
        row = NetworkRow("any, name\n", Workload.square(256, 10), network, timing)
        append_networks(path, [row])
        table = read_table(path)
    assert dict(table.blocks) == dict.fromkeys(blocks, timing)
    assert table.networks == (row,)


def test_meta_round_trips(table):
    changed = table.meta.model_copy(update={"updated": "2027-01-01"})
    write_meta(table.path, changed)
    assert read_table(table.path).meta == changed


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
        ("kind", "MLP", "kind 'MLP' is no name of a kind of block"),
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
    *kept, lost = table.blocks
    for missing in (2, 7, 20):  # the last may end in the middle of the last cell
        path.write_text(FILES["blocks.csv"][:-missing])
        with pytest.warns(TableWarning, match="its last line is not complete, and left out"):
            assert read_table(table.path).blocks == {block: table.blocks[block] for block in kept}
    path.write_text("kind,in_ch")
    with pytest.warns(TableWarning, match="its last line is not complete"):
        assert read_table(table.path).missing([lost]) == [lost]
    path.write_text("")
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
        (b"\xff\xfe\x00", "not readable as CSV: line 1 is no text in UTF-8"),
        (b"kind,caf\xe9\n", "not readable as CSV: line 1 is no text in UTF-8"),
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
        (FILES["meta.json"].replace("a test device", "a\\nb"), "device_description: .* one print"),
        (FILES["meta.json"].replace("a test", "a" * 6000), "device_description: .* at most 5000"),
        (FILES["meta.json"].replace('"2026', '"20 26'), "created: .* pattern"),
        (FILES["meta.json"].replace('"kind"', '"target": "x", "kind"'), "'target' is there twice"),
    ],
)
def test_bad_meta_is_refused(table, content, message):
    (table.path / "meta.json").write_text(content)
    with pytest.raises(TableError, match=message) as caught:
        read_table(table.path)
    assert "meta.json" in str(caught.value)


def test_a_newer_table_is_refused_clearly(table):
    path = table.path / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 3}))
    with pytest.raises(TableError, match=r"meta\.json: format 3 is newer than this version"):
        read_table(table.path)


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


def _read(files):
    """The table in these files, or the one line with which it is refused."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "onnxruntime" / FOLDER
        path.mkdir(parents=True)
        for file, content in files.items():
            (path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        try:
            return read_table(path)
        except TableError as error:
            assert str(error).startswith(f"{path}/"), error
            assert len(str(error).splitlines()) == 1 and len(str(error)) < 600, error
            return str(error)
        finally:
            assert {file.name for file in path.iterdir()} == set(files)


def test_files_round_trip():
    assert isinstance(_read(FILES), LatencyTable)


@given(junk=st.binary(max_size=200), name=st.sampled_from(["meta.json", "blocks.csv"]))
def test_no_junk_gets_past_as_anything_but_a_table_error(junk, name):
    empty = not junk.removeprefix(b"\xef\xbb\xbf").strip()
    assume(not empty and not b",".join(name.encode() for name in BLOCK_COLUMNS).startswith(junk))
    assert isinstance(_read({**FILES, name: junk}), str)


BAD_CELLS = st.one_of(
    st.sampled_from(["", "nan", "inf", "-1", "0", "1e-310", "1e400", "9" * 5000, "1,5", "2 us"]),
    st.sampled_from(["a\nb", '"', "\0", "[" * 9999, "true", "stem", "{}", "\u202e"]),
    st.text(max_size=4),
    st.floats().map(str),
    st.integers().map(str),
)


@st.composite
def mutated(draw):
    """The files with one to three cells, rows, columns or entries changed, dropped or repeated."""
    files = dict(FILES)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(files)))
        if name == "meta.json":
            meta = json.loads(files[name])
            key = draw(st.sampled_from(sorted(meta)))
            if draw(st.booleans()):
                del meta[key]
            else:
                bad = st.one_of(BAD_CELLS, st.floats(), st.integers(), st.just([[{}]]), st.none())
                meta[key] = draw(bad)
            files[name] = json.dumps(meta)
            continue
        rows = list(csv.reader(io.StringIO(files[name], newline="")))
        row = draw(st.integers(0, len(rows) - 1))
        column = draw(st.integers(0, len(rows[row]) - 1)) if rows[row] else 0
        action = draw(st.sampled_from(["cell", "cell", "cell", "drop", "repeat", "column"]))
        if action == "cell" and rows[row]:
            rows[row][column] = draw(BAD_CELLS)
        elif action == "drop" and len(rows) > 1:
            del rows[row]
        elif action == "repeat":
            rows.append(rows[row])
        else:
            rows = [[*cells[:column], *cells[column + 1 :]] for cells in rows]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        files[name] = text.getvalue()
    return files


@settings(max_examples=400)
@given(files=mutated())
def test_no_changed_table_gets_past_but_as_finite_numbers_or_one_line(files):
    table = _read(files)
    if isinstance(table, str):
        return
    for timing in (*table.blocks.values(), *(row.timing for row in table.networks)):
        assert 0 < timing.latency_ms < 1e9
    try:
        predictor = LatencyPredictor.fit(table)
        predicted = predictor.predict([row.architecture for row in table.networks], AT_64)
    except TableError as error:
        assert len(str(error).splitlines()) == 1
    else:
        bounds = (predicted.low_ms, predicted.latency_ms, predicted.high_ms)
        assert np.isfinite(bounds).all() and (np.diff(bounds, axis=0) >= 0).all()


@pytest.mark.filterwarnings("ignore:.*its last line is not complete")
@given(data=st.data())
def test_a_csv_cut_short_keeps_its_whole_lines(data):
    text = FILES["blocks.csv"]
    kept = text[: data.draw(st.integers(0, len(text)))]
    table = _read({**FILES, "blocks.csv": kept})
    assert isinstance(table, LatencyTable)
    only_newline_lost = f"{kept}\n" in text and kept.count("\n") > 0 and kept[-1:] != "\n"
    assert len(table.blocks) == max(0, kept.count("\n") - 1 + only_newline_lost)


def _semicolons(text):
    """As a spreadsheet saves it where numbers have decimal commas; trailing zeros are lost."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    for cells in csv.reader(io.StringIO(text)):
        numbers = (c.replace(".", "").isdigit() for c in cells)
        shown = (
            f"{float(c):g}".replace(".", ",") if n else c
            for c, n in zip(cells, numbers, strict=True)
        )
        writer.writerow(shown)
    return out.getvalue()


SAVED = {
    "bom-crlf": lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
    "semicolons": lambda text: _semicolons(text).encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "no-newline": lambda text: text.rstrip("\n").encode(),
    "semicolons-no-newline": lambda text: _semicolons(text).rstrip().encode(),
}


@pytest.mark.parametrize("save", SAVED.values(), ids=SAVED)
def test_a_table_saved_by_a_spreadsheet_is_read_and_added_to_without_loss(tmp_path, save):
    table = made_up_table(tmp_path / "tables", tiny_space(tmp_path))
    names = ("blocks.csv", "networks.csv")
    for name in names:
        (table.path / name).write_bytes(save(FILES[name]))
    read = read_table(table.path)
    assert list(read.blocks) == list(table.blocks) and len(read.networks) == len(table.networks)
    for block, timing in table.blocks.items():
        assert read.blocks[block].latency_ms == pytest.approx(timing.latency_ms, rel=1e-5)
    tidy(table.path)
    assert read_table(table.path) == read
    *_, block = table.blocks
    new = replace(block, height=2 * block.height, width=2 * block.width)
    append_blocks(table.path, [(new, table.blocks[block])])
    grown = read_table(table.path)
    assert list(grown.blocks) == [*table.blocks, new] and grown.networks == read.networks
    assert b"\r" not in (table.path / "blocks.csv").read_bytes()


def test_tidy_leaves_what_this_project_wrote_and_drops_an_unfinished_line(table):
    for name in ("blocks.csv", "networks.csv"):
        before = (table.path / name).stat()
        tidy(table.path)
        assert (table.path / name).stat().st_mtime_ns == before.st_mtime_ns
    path = table.path / "blocks.csv"
    path.write_text(FILES["blocks.csv"] + "ncb,32,3")
    with pytest.warns(TableWarning):
        tidy(table.path)
    assert path.read_text() == FILES["blocks.csv"]


def test_a_column_of_the_users_own_is_refused_not_dropped(table):
    path = table.path / "networks.csv"
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line},{'note' if not i else 'x'}\n" for i, line in enumerate(lines)))
    with pytest.raises(TableError, match=r"networks\.csv:1: the header is"):
        tidy(table.path)


@pytest.mark.parametrize("name", ["meta.json", "blocks.csv"])
def test_a_huge_file_is_refused(table, name):
    with (table.path / name).open("ab") as file:
        file.truncate(2_000_000_000)  # a sparse one: takes no space
    with pytest.raises(TableError, match=f"{name}: .*larger than 64 MB"):
        read_table(table.path)


def test_rows_of_another_unit_are_refused(table):
    path = table.path / "blocks.csv"
    path.write_text(path.read_text().replace("latency_ms", "latency_us"))
    with pytest.raises(TableError, match=r"blocks\.csv:1: the header"):
        read_table(table.path)
    path.write_text(FILES["blocks.csv"].replace(",0.00000\n", ",2000.0\n", 3))
    with pytest.raises(TableError, match=r"reference_ms 2000 is too far from that of meta\.json"):
        read_table(table.path)


def test_published_tables_hold_the_published_figures():
    from nas.system import folders

    for folder, first in (
        ("tensorrt/nvidia-t4.fp16.b8", 7.7),
        ("coreml/iphone12-pro-max.fp16.b1", 3.5),
    ):
        table = read_table(folders.shipped_tables() / folder)
        assert table.meta.kind == "published"
        assert "Next-ViT" in table.meta.source
        assert len(table.networks) == 9
        assert table.networks[0].timing.latency_ms == first
        with (folders.shipped_tables() / folder / "networks.csv").open() as file:
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


def test_files_of_a_table_have_these_columns_and_entries(table):
    timing = ["latency_ms", "ci_pct", "spread_pct", "runs", "reference_ms"]
    blocks, networks = ((table.path / f"{name}.csv").read_text() for name in ("blocks", "networks"))
    assert blocks.splitlines()[0].split(",") == [
        *("kind", "in_channels", "out_channels", "stride", "height", "width"),
        *("mlp_ratio", "mix_ratio", "sr_ratio"),
        *timing,
    ]
    assert networks.splitlines()[0].split(",") == [
        *("name", "resolution", "num_classes", "architecture"),
        *timing,
    ]
    assert list(json.loads((table.path / "meta.json").read_text())) == [
        *("format", "kind", "target", "device", "device_description", "precision", "batch_size"),
        *("runtime_version", "threads", "reference_ms", "overhead_ms", "created", "updated"),
        *("source", "constant_ms", "relative_errors"),
    ]


KILLED = """
import os, signal, sys
from pathlib import Path
from nas.system.atomic import staging_folder
with staging_folder(Path(sys.argv[1]), "new") as folder:
    (folder / "blocks.csv").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_table_that_a_kill_left_half_staged_is_removed_by_the_next(table, tmp_path):
    (tmp_path / "new").mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "new")], check=False)
    (left,) = (tmp_path / "new").iterdir()
    assert left.name.startswith(".new.")
    written = write_table(tmp_path / "new", table.meta, table.blocks, table.networks)
    assert written.blocks == table.blocks
    assert [path.name for path in (tmp_path / "new").iterdir()] == [table.meta.target]
