"""Results of kits become tables; any other file gives one clear error."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import TableError, TableWarning
from nas.latency.collect.kit_import import import_results
from nas.latency.predict.predictor import LatencyPredictor
from nas.latency.table.table import LatencyTable
from nas.measurement.kit.files import read_results, write_results
from tests.kits import OVERHEAD_MS, made_up_results, sealed, write_json
from tests.tiny import made_up_ms, tiny_space


def _tiny_results():
    with tempfile.TemporaryDirectory() as folder:
        return made_up_results(tiny_space(Path(folder)))


RESULTS = _tiny_results()
DOCUMENT = RESULTS.to_json()
BLOCK = RESULTS.manifest.of_kind("block")[3].name
NETWORK = RESULTS.manifest.of_kind("network")[3].name


@pytest.fixture
def refused(tmp_path):
    """Import a document that must be refused; returns the error's one line."""

    def run(document) -> str:
        path = write_json(tmp_path / "results.json", document)
        with pytest.raises(TableError) as caught:
            import_results(path, tmp_path / "tables")
        assert not (tmp_path / "tables").exists()
        message = str(caught.value)
        assert len(message.splitlines()) == 1 and "results.json" in message
        return message

    return run


def changed(*place, value=None, seal=True):
    """The document with one entry replaced, and with correct checksums unless ``seal`` is off."""
    document = copy.deepcopy(DOCUMENT)
    node = document
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return sealed(document) if seal else document


def scaled(kind, factor):
    document = copy.deepcopy(DOCUMENT)
    for name, row in document["rows"].items():
        if name.startswith(kind):
            row["latency_ms"] *= factor
    if not kind:
        for name in ("reference_ms", "quiet_ms", "overhead_ms"):
            document[name] *= factor
    return sealed(document)


def test_results_round_trip(tmp_path):
    write_results(tmp_path / "results.json", RESULTS)
    assert read_results(tmp_path / "results.json") == RESULTS
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_file_of_results_has_these_entries(tmp_path):
    write_results(tmp_path / "results.json", RESULTS)
    found = json.loads((tmp_path / "results.json").read_text())
    assert list(found) == [
        *("format", "unit", "kit_sha256", "manifest", "conditions", "created", "updated"),
        *("reference_ms", "quiet_ms", "overhead_ms", "rows", "sha256"),
    ]
    assert list(found["manifest"]) == [
        *("format", "project_version", "space", "target", "precision", "batch_size"),
        *("resolution", "num_classes", "models"),
    ]
    assert list(found["manifest"]["models"][0]) == [
        *("name", "kind", "file", "sha256", "size_bytes", "value"),
    ]
    assert list(found["conditions"]) == [
        *("device", "device_description", "threads", "runtime_version", "python", "platform"),
    ]
    row = next(iter(found["rows"].values()))
    assert list(row) == ["latency_ms", "ci_pct", "spread_pct", "runs"]


def test_results_become_a_table_that_predicts(tmp_path):
    write_results(tmp_path / "results.json", RESULTS)
    table = import_results(tmp_path / "results.json", tmp_path / "tables")
    assert table.path == tmp_path / "tables" / "onnxruntime" / "test-cpu-2c.fp32.b1"
    meta = table.meta
    assert (meta.kind, meta.device_description, meta.threads) == ("measured", "a test CPU", 2)
    assert (meta.reference_ms, meta.overhead_ms) == (1.9, OVERHEAD_MS)
    assert (meta.created, meta.updated) == ("2026-11-22", "2026-11-23")
    assert len(table.networks) == 24
    for (
        block,
        timing,
    ) in table.blocks.items():  # scaled to the quiet machine, without the overhead of a call
        assert timing.latency_ms == pytest.approx(0.95 * made_up_ms(block), abs=2e-5)
    assert LatencyPredictor.fit(table).mean_error < 0.02
    left = {path.name for path in (tmp_path / "tables").rglob("*")}
    assert left == {
        *("onnxruntime", "test-cpu-2c.fp32.b1", "meta.json", "blocks.csv", "networks.csv")
    }


def test_a_table_of_the_device_is_not_replaced(tmp_path):
    write_results(tmp_path / "results.json", RESULTS)
    table = import_results(tmp_path / "results.json", tmp_path / "tables")
    before = {path: path.read_bytes() for path in table.path.iterdir()}
    with pytest.raises(TableError, match="is there already; to replace it, delete that folder"):
        import_results(tmp_path / "results.json", tmp_path / "tables")
    assert {path: path.read_bytes() for path in table.path.iterdir()} == before


def test_a_network_that_was_not_steady_is_left_out_with_a_warning(tmp_path):
    path = write_json(tmp_path / "results.json", changed("rows", NETWORK, "ci_pct", value=150.0))
    with pytest.warns(TableWarning, match="1 of 24 networks are left out, as the machine"):
        table = import_results(path, tmp_path / "tables")
    assert len(table.networks) == 23 and all(row.timing.steady for row in table.networks)


def test_a_block_that_was_not_steady_is_refused(refused):
    said = refused(changed("rows", BLOCK, "ci_pct", value=150.0))
    assert "1 blocks and 0 networks are of no use, as the machine was too busy" in said
    assert "build the kit anew" in said


@pytest.mark.parametrize(
    "save", [lambda t: b"\xef\xbb\xbf" + t.encode(), lambda t: t.encode("utf-16")]
)
def test_results_that_an_editor_saved_are_read(tmp_path, save):
    write_results(tmp_path / "results.json", RESULTS)
    text = (tmp_path / "results.json").read_text()
    (tmp_path / "results.json").write_bytes(save(text.replace("\n", "\r\n")))
    assert read_results(tmp_path / "results.json") == RESULTS


@pytest.mark.parametrize("count", [1, 10])
def test_incomplete_results_say_what_is_missing(refused, count):
    document = copy.deepcopy(DOCUMENT)
    for name in list(document["rows"])[-count:]:
        del document["rows"][name]
    assert f"0 blocks and {count} networks are not measured yet: run the kit" in refused(
        sealed(document)
    )


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("unit",), "us", "unit: must be 'ms', got 'us'"),
        (("format",), 2, "format 2 is of another version"),
        (("rows", BLOCK, "latency_ms"), "fast", "must be a number"),
        (("rows", BLOCK, "latency_ms"), float("nan"), "NaN"),
        (("rows", BLOCK, "latency_ms"), float("inf"), "Infinity"),
        (("rows", BLOCK, "latency_ms"), -1.0, "must be a number from 0.0001 to 1e+07, got -1.0"),
        (("rows", BLOCK, "latency_ms"), 0, "must be a number from"),
        (("rows", BLOCK, "latency_ms"), True, "must be a number from"),
        (("rows", BLOCK, "runs"), 1.5, "runs: must be a whole number"),
        (("rows", BLOCK, "spread_pct"), 1e6, "spread_pct: must be a number"),
        (("rows", BLOCK, "unit"), "s", "unknown entry 'unit'"),
        (("rows", "block-0"), {}, "'block-0' is no block or network of the kit"),
        (("rows",), [], "rows: must be a mapping"),
        (("quiet_ms",), 0.05, "too far apart to compare"),
        (("overhead_ms",), 1e5, "an empty call takes longer than whole networks"),
        (("conditions", "device"), "../../x", "conditions: device: must be a name"),
        (("conditions", "device_description"), "a\nb", "must be one line"),
        (("manifest", "target"), "npu", "unknown target 'npu'"),
        (("manifest", "target"), "..", "target: must be a name"),
        (("manifest", "precision"), "int8", "precision: must be 'fp32' or 'fp16'"),
        (("manifest", "models", 5, "value", "stride"), 0, "no such block can exist"),
        (("manifest", "models", 5, "value", "mlp_ratio"), 10**400, "no such block can exist"),
        (("manifest", "models", 5, "value"), DOCUMENT["manifest"]["models"][4]["value"], "second"),
        (("manifest", "models", 5, "value"), {"a": [[[1]]]}, "nested too deeply"),
        (("manifest", "models", 5, "file"), "models/../x", "not a plain path inside models/"),
        (("manifest", "models", -1, "value", "stages"), [], "stages must be a tuple of 4"),
        (("manifest", "resolution"), 96, "is not among the kit's blocks"),
        (("created",), "yesterday", "must be a date"),
    ],
)
def test_a_wrong_entry_is_named(refused, place, value, expected):
    assert expected in refused(changed(*place, value=value))


def test_a_precision_that_the_target_lacks_is_refused(refused):
    document = copy.deepcopy(DOCUMENT)
    document["manifest"].update(target="openvino", precision="fp16")
    assert "precision fp16: target openvino has fp32" in refused(sealed(document))


@pytest.mark.parametrize(
    ("kind", "factor", "expected"),
    [
        ("block", 1000, "alone"),
        ("block", 1e-3, "must be a number from 0.0001"),
        ("block", 5e-3, "so the latency is not in ms"),
        ("network", 1e-3, "an empty call takes longer"),
        ("network", 1000, "is in another unit"),
        ("", 5e-3, "so the latency is not in ms"),
        ("", 1000, "too slow to be milliseconds"),
        (NETWORK, 100, "is in another unit"),
    ],
)
def test_a_unit_mistaken_is_noticed(refused, kind, factor, expected):
    assert expected in refused(scaled(kind, factor))


def test_one_block_in_microseconds_is_noticed(refused):
    assert "alone" in refused(scaled(BLOCK, 1000))


def test_a_change_by_hand_is_noticed(refused):
    document = changed("rows", BLOCK, "latency_ms", value=0.5, seal=False)
    assert "the checksum does not fit the content" in refused(document)
    document = changed("manifest", "space", value="other", seal=False)
    unsealed = {key: value for key, value in document.items() if key != "sha256"}
    document = sealed({**unsealed, "sha256": ""})
    document["kit_sha256"] = DOCUMENT["kit_sha256"]
    assert "checksum" in refused(document) or "kit_sha256" in refused(document)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not readable as JSON, or not complete"),
        (b"\xff\xfe", "not readable as JSON"),
        (b"[" * 200_000, "not readable as JSON"),
        (b"[" * 900 + b"]" * 900, "must be a mapping"),
        (b"null", "must be a mapping"),
        (b'{"format": 1, "format": 1}', "'format' is there twice"),
        (b'{"format": ' + b"9" * 10_000 + b"}", "not readable as JSON"),
        (b'{"format": 1e999}', "is no finite number"),
    ],
)
def test_a_file_that_holds_no_results(content, expected, tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(TableError, match=expected) as caught:
        import_results(path, tmp_path / "tables")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "tables").exists()


def test_files_that_are_huge_missing_or_folders(tmp_path):
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(2_000_000_000)  # a sparse file: only the first 64 MB are read
    for path, expected in (
        (huge, "larger than 64 MB"),
        (tmp_path / "none.json", "No such file"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(TableError, match=expected):
            import_results(path, tmp_path / "tables")


BAD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.sampled_from([0, -1, 10**400, -0.0, 1e-300, 1e308, float("nan"), float("inf")]),
    st.floats(),
    st.text(max_size=10),
    st.sampled_from(["", "ms", "../../x", "/etc/passwd", "a\nb", "\ud800", "x" * 10_000]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
)


@st.composite
def mutated(draw):
    """The valid document with one to three entries changed, dropped, added or repeated."""
    document = copy.deepcopy(DOCUMENT)
    for _ in range(draw(st.integers(1, 3))):
        node, parent, key = document, None, None
        while isinstance(node, (dict, list)) and node and (not parent or draw(st.booleans())):
            keys = list(node) if isinstance(node, dict) else range(len(node))
            parent, key = node, draw(st.sampled_from(list(keys)))
            node = parent[key]
        if parent is None:
            return document
        action = draw(st.sampled_from(["change", "change", "drop", "add", "repeat"]))
        if action == "drop":
            del parent[key]
        elif action == "change":
            parent[key] = draw(BAD_VALUES)
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(node))
        else:
            new = draw(st.text(max_size=5)) if action == "add" else f"{key}2"
            parent[new] = copy.deepcopy(node)
    return sealed(document) if draw(st.booleans()) else document


@settings(max_examples=400)
@given(document=mutated())
def test_no_document_gets_past_as_anything_but_a_table_or_one_line(document):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_json(folder / "results.json", document)
        try:
            table = import_results(path, folder / "tables")
        except TableError as error:
            assert len(str(error).splitlines()) == 1
            assert len(str(error)) < 1000
            assert not (folder / "tables").exists()
        else:
            assert isinstance(table, LatencyTable)
            LatencyPredictor.fit(table)
        assert {entry.name for entry in folder.iterdir()} <= {"results.json", "tables"}


@given(data=st.data())
def test_a_file_cut_short_is_refused(data):
    text = json.dumps(DOCUMENT)
    end = data.draw(st.integers(0, len(text) - 1))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "results.json"
        path.write_text(text[:end])
        with pytest.raises(TableError, match="not readable as JSON, or not complete"):
            import_results(path, Path(name) / "tables")
        assert not (Path(name) / "tables").exists()
