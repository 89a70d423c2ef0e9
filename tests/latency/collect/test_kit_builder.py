"""Device kits: their content, what they refuse, and a run as on a device."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import sys
import tempfile
import zipfile
from importlib import util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nas
from nas.cli import main as nas_main
from nas.errors import RuntimeUnavailableError, TableError, UserError
from nas.latency.collect import kit_builder as kit
from nas.latency.collect import tables as collect
from nas.latency.collect.tables import calibration_networks
from nas.measurement import protocol
from nas.measurement.kit import runner as kit_runner
from nas.measurement.kit.files import is_inside, read_results
from nas.measurement.kit.source import MANIFEST, open_kit
from nas.space.space_files import load_space
from tests.kits import add_package_runtime, bench_here, tiny_kit
from tests.tiny import AT_64, tiny_space

ROOT = Path(__file__).resolve().parents[3]
DOUBLES = ROOT / "tests" / "doubles"


@pytest.fixture(scope="module")
def onnx_kit(tmp_path_factory):
    return tiny_kit(tmp_path_factory.mktemp("kit"), "onnxruntime")


@pytest.fixture
def runtime(monkeypatch):
    """A runtime whose models are folders and whose latencies follow from their weights."""
    monkeypatch.setattr(kit_runner, "BenchProcess", bench_here)
    return add_package_runtime(monkeypatch)


@pytest.fixture(scope="module")
def built_package_kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    with pytest.MonkeyPatch.context() as patch:
        add_package_runtime(patch)
        tiny_kit(folder, "package", networks=5)
    return folder


@pytest.fixture
def package_kit(built_package_kit, runtime, tmp_path):
    shutil.copytree(built_package_kit, tmp_path, dirs_exist_ok=True)
    return tmp_path / "kit.zip"


def rewritten(source: Path, target: Path, change) -> Path:
    """A copy of a kit; ``change`` takes and returns its entries, a dict of bytes by name."""
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in change(entries).items():
            archive.writestr(name, data)
    return target


def test_a_kit_has_every_block_and_the_calibration_networks(onnx_kit):
    space = load_space(onnx_kit.path.parent / "tiny.yaml")
    with zipfile.ZipFile(onnx_kit.path) as archive:
        manifest = json.loads(archive.read(MANIFEST))
        for model in manifest["models"]:
            data = archive.read(model["file"])
            assert hashlib.sha256(data).hexdigest() == model["sha256"]
            assert len(data) == model["size_bytes"]
    of_kind = {
        kind: [model["value"] for model in manifest["models"] if model["kind"] == kind]
        for kind in ("reference", "empty", "block", "network")
    }
    assert of_kind["block"] == [block.to_json() for block in space.blocks(AT_64)]
    assert of_kind["network"] == [a.to_json() for a in calibration_networks(space, 6)]
    assert of_kind["reference"] == of_kind["empty"] == [None]
    assert (onnx_kit.blocks, onnx_kit.networks) == (len(of_kind["block"]), 6)
    assert onnx_kit.size_bytes == onnx_kit.path.stat().st_size < 0.1 * onnx_kit.models_bytes
    assert onnx_kit.build_s > 0


def test_a_kit_carries_this_projects_own_code(onnx_kit):
    package = Path(nas.__file__).parent
    with zipfile.ZipFile(onnx_kit.path) as archive:
        carried = [name for name in archive.namelist() if name.startswith("nas/")]
        assert archive.read("nas/__init__.py") == b""
        for name in set(carried) - {"nas/__init__.py"}:
            assert archive.read(name) == (package.parent / name).read_bytes()
    assert {"nas/measurement/kit/runner.py", "nas/measurement/runtimes/trtexec.py"} <= set(carried)


def device_modules() -> dict[str, Path]:
    package = Path(nas.__file__).parent
    files = [path for pattern in kit.SOURCES for path in package.glob(pattern)]
    return {path.relative_to(package.parent).as_posix(): path for path in files}


def imports_at_load(tree: ast.Module) -> set[str]:
    """Modules imported when a module is loaded: not those in functions or for type checkers."""
    names: set[str] = set()
    nodes: list[ast.AST] = list(tree.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module
            from_package = util.find_spec(node.module).submodule_search_locations is not None
            names.add(node.module)
            if from_package and node.module.startswith("nas"):
                full = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= {name for name in full if util.find_spec(name)}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            nodes += ast.iter_child_nodes(node)
    return names


@pytest.mark.parametrize("name", device_modules())
def test_code_of_a_kit_needs_the_standard_library_alone(name):
    tree = ast.parse(device_modules()[name].read_text(), feature_version=kit.OLDEST_PYTHON)
    modules = {file[:-3].replace("/", ".").removesuffix(".__init__") for file in device_modules()}
    for imported in imports_at_load(tree):
        allowed = imported in modules or imported.partition(".")[0] in sys.stdlib_module_names
        assert allowed, f"{name} imports {imported}"


def test_the_main_file_reads_on_any_python_3():
    ast.parse(kit.MAIN, feature_version=(3, 4))


def test_the_same_content_is_the_same_kit(runtime, tmp_path):
    kits = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        kits.append(tiny_kit(tmp_path / name, "package", networks=5).path.read_bytes())
    assert kits[0] == kits[1]


@pytest.mark.parametrize("target", ["torch", "torch-cuda", "coreml-iphone"])
def test_targets_whose_models_need_more_have_no_kits(target, tmp_path):
    with pytest.raises(RuntimeUnavailableError, match=f"{target}' has no kits: measure it on"):
        tiny_kit(tmp_path, target)


@pytest.mark.skipif(util.find_spec("coremltools") is not None, reason="it is installed")
def test_a_missing_converter_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeUnavailableError, match="pip install coremltools"):
        tiny_kit(tmp_path, "coreml")
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.yaml"}


def test_places_a_kit_cannot_be_written_to(runtime, tmp_path):
    space = tiny_space(tmp_path)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("cat.png", "mine")
    for path, expected in (
        (tmp_path, "is a folder"),
        (tmp_path / "photos.zip", "is there already, and no kit"),
        (tmp_path / "tiny.yaml", "is there already, and no kit"),
        (tmp_path / "none" / "kit.zip", "no such folder"),
    ):
        with pytest.raises(TableError, match=expected):
            kit.build_kit(space, "package", path, workload=AT_64)
    with pytest.raises(TableError, match="target package has fp32"):
        kit.build_kit(space, "package", tmp_path / "k.zip", precision="fp16", workload=AT_64)
    assert (tmp_path / "tiny.yaml").read_text().startswith("stem_width")


def test_the_command_builds_and_says_what_it_built(runtime, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(collect, "CALIBRATION_NETWORKS", 5)
    tiny_space(tmp_path)
    space = ("--space", str(tmp_path / "tiny.yaml"), "--resolution", "64")
    out = str(tmp_path / "my kit.zip")
    assert nas_main(["tables", "kit", "--target", "package", "--out", out, *space]) == 0
    shown = capsys.readouterr().out
    for part in ("blocks: 25 of 25 written", " MB", "25 blocks and 5 networks, built in", "3.10"):
        assert part in shown
    assert "python 'my kit.zip'" in shown and "tables import results.json" in shown
    assert nas_main(["tables", "kit", "--target", "torch", *space]) == 2
    assert capsys.readouterr().err.startswith("error: target 'torch' has no kits")


def test_measures_imports_and_predicts(package_kit, tmp_path, capsys):
    results = tmp_path / "out.json"
    assert kit_runner.main(package_kit, ["--results", str(results)]) == 0
    shown = capsys.readouterr().out
    assert "package 1.0 on a test CPU" in shown
    assert "networks: 5 of 5 measured" in shown
    assert "python run_search.py tables import out.json" in shown
    tables = str(tmp_path / "tables")
    assert nas_main(["tables", "import", str(results), "--tables-dir", tables]) == 0
    shown = capsys.readouterr().out
    assert "25 blocks and 5 networks measured on a test CPU with package 1.0" in shown
    assert "leave-one-out error on its 5 networks" in shown
    assert kit_runner.main(package_kit, ["--results", str(results), "--list"]) == 0
    assert "ms" in capsys.readouterr().out


def test_an_unzipped_kit_runs_the_same(package_kit, tmp_path):
    with zipfile.ZipFile(package_kit) as archive:
        archive.extractall(tmp_path / "folder")
    rows = []
    for source in (package_kit, tmp_path / "folder"):
        results = tmp_path / f"{source.name}.json"
        assert kit_runner.main(source, ["-o", str(results)]) == 0
        rows.append(read_results(results).rows)
    assert rows[0] == rows[1]


def test_interrupted_it_says_what_is_kept_and_goes_on(package_kit, runtime, tmp_path, capsys):
    results = tmp_path / "results.json"
    runtime.loads_left = 2 + 13 + 3
    assert kit_runner.main(package_kit, ["-o", str(results)]) == kit_runner.INTERRUPTED
    said = capsys.readouterr().err
    assert "13 models are measured and kept in" in said
    assert f"go on with: python {package_kit} --results {results}" in said
    kept = dict(read_results(results).rows)
    runtime.loads_left = 10**9
    assert kit_runner.main(package_kit, ["-o", str(results)]) == 0
    rows = read_results(results).rows
    assert {name: rows[name] for name in kept} == kept
    assert len(rows) == 30
    assert not list(tmp_path.glob(".*"))


def test_on_a_busy_device_models_are_left_out_and_measured_by_the_next_run(
    package_kit, runtime, tmp_path, capsys, monkeypatch
):
    results = tmp_path / "results.json"
    with monkeypatch.context() as busy:
        busy.setattr(protocol, "MAX_CI_PCT", -1.0)  # as if no interval were narrow enough
        assert kit_runner.main(package_kit, ["-o", str(results)]) == 2
    said = capsys.readouterr().err
    assert "results.json: 30 models are left out, as the machine was too busy" in said
    assert not read_results(results).rows
    assert kit_runner.main(package_kit, ["-o", str(results)]) == 0
    assert len(read_results(results).rows) == 30


def test_results_that_a_run_cannot_go_on_with_are_left_alone(
    package_kit, runtime, tmp_path, capsys
):
    results = tmp_path / "results.json"
    runtime.loads_left = 2 + 13 + 1
    kit_runner.main(package_kit, ["-o", str(results)])
    before = results.read_bytes()
    capsys.readouterr()
    other = rewritten(package_kit, tmp_path / "other.zip", _other_space)
    runtime.loads_left = 10**9
    assert kit_runner.main(other, ["-o", str(results)]) == 2
    assert "has the results of another kit" in capsys.readouterr().err
    runtime.device_name = "other-cpu"
    assert kit_runner.main(package_kit, ["-o", str(results)]) == 2
    assert "measured with device test-cpu-2c, now other-cpu" in capsys.readouterr().err
    assert results.read_bytes() == before
    for path, expected in (
        (tmp_path / "tiny.yaml", "not readable as JSON"),
        (tmp_path, "is a folder"),
        (tmp_path / "none" / "results.json", "cannot be written"),
    ):
        assert kit_runner.main(package_kit, ["-o", str(path)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and expected in said and len(said.splitlines()) == 1


def _other_space(entries):
    manifest = json.loads(entries[MANIFEST])
    return {**entries, MANIFEST: json.dumps({**manifest, "space": "other"}).encode()}


def _with_manifest(change):
    def changed(entries):
        manifest = json.loads(entries[MANIFEST])
        change(manifest)
        return {**entries, MANIFEST: json.dumps(manifest).encode()}

    return changed


def _tampered(entries):
    name = sorted(name for name in entries if "/block-" in name and "weights" in name)[0]
    return {**entries, name: entries[name] + b"0"}


def _without_a_model(entries):
    lost = sorted(name for name in entries if "/block-" in name)[0].split("/")[1]
    return {name: data for name, data in entries.items() if lost not in name}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_tampered, r"models/block-\w+.mlpackage is not what the manifest says"),
        (_without_a_model, r"models/block-\w+.mlpackage is missing"),
        (lambda entries: {**entries, "../evil": b"x"}, "the entry '../evil' points outside"),
        (lambda entries: {**entries, "/tmp/evil": b"x"}, "points outside"),
        (lambda entries: {**entries, "models/..\\evil": b"x"}, "points outside"),
        (lambda entries: {**entries, "C:/evil": b"x"}, "points outside"),
        (lambda entries: {k: v for k, v in entries.items() if k != MANIFEST}, "is missing"),
        (lambda entries: {**entries, MANIFEST: b"{"}, "manifest.json.*not readable|not complete"),
        (_with_manifest(lambda m: m.update(target="npu")), "unknown target 'npu'"),
        (_with_manifest(lambda m: m["models"][3].update(file="models/../x")), "not a plain path"),
        (_with_manifest(lambda m: m["models"][3].update(file="/etc/passwd")), "not a plain path"),
        (_with_manifest(lambda m: m["models"][3].update(size_bytes=1)), "is not what the manifest"),
        (_with_manifest(lambda m: m["models"].pop(0)), "0 models of kind 'reference'"),
        (_with_manifest(lambda m: m["models"].append(m["models"][3])), "two models have the name"),
    ],
)
def test_a_kit_that_was_changed_is_refused(change, expected, package_kit, tmp_path, capsys):
    folder = tmp_path / "device"
    folder.mkdir()
    broken = rewritten(package_kit, folder / "kit.zip", change)
    assert kit_runner.main(broken, ["-o", str(folder / "results.json")]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert re.search(expected, said), said
    assert {path.name for path in folder.iterdir()} <= {"kit.zip", "results.json"}
    assert not (tmp_path / "evil").exists()


def test_a_link_out_of_an_unzipped_kit_is_refused(package_kit, tmp_path, capsys):
    folder = tmp_path / "folder"
    with zipfile.ZipFile(package_kit) as archive:
        archive.extractall(folder)
    weights = folder / "models" / "reference.mlpackage" / "Data" / "weights.bin"
    shutil.move(weights, tmp_path / "outside")
    weights.symlink_to(tmp_path / "outside")
    assert kit_runner.main(folder, ["-o", str(tmp_path / "results.json")]) == 2
    assert "is a link that points outside the kit" in capsys.readouterr().err


@given(name=st.text(alphabet="./\\:a~ \0", max_size=12))
def test_names_that_pass_stay_inside(name):
    if is_inside(name):
        assert ".." not in Path(name).parts and not Path(name).is_absolute()
        assert not set(name) & set("\\:~ \0")


@given(data=st.data())
def test_a_manifest_of_anything_is_one_clear_error(data):
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=10,
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / MANIFEST).write_text(json.dumps(data.draw(junk)))
        with pytest.raises(UserError) as caught, open_kit(Path(folder)):
            pass
    assert len(str(caught.value).splitlines()) == 1


@given(end=st.floats(0, 0.999))
def test_a_zip_cut_short_is_refused(end):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kit.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(MANIFEST, b"{}" * 100)
        path.write_bytes(path.read_bytes()[: int(end * path.stat().st_size)])
        with pytest.raises(TableError, match="is no device kit"), open_kit(path):
            pass
