"""The package from a wheel, outside the checkout: all that comes along, and where files go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import made_up_table, tiny_space

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("nas", "search_spaces", "latency_tables")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the wheel is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run([*pip, *wheel], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    install = ["install", "--no-deps", "--target", str(folder / "site"), str(built)]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    shutil.rmtree(source)
    return folder / "site"


@pytest.fixture
def run(site, tmp_path):
    """Runs Python in an empty folder; returns exit code and all that was printed."""
    here = tmp_path / "here"
    here.mkdir()

    def call(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=here,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(site),
                "HOME": str(tmp_path / "home"),
                "OMP_NUM_THREADS": "1",
            },
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.returncode, done.stdout

    return call


@pytest.mark.slow
def test_spaces_presets_and_tables_come_along(run, site):
    code, text = run("-m", "nas", "spaces")
    assert code == 0 and "30,958,682,112" in text and "nextvit-small" in text
    code, text = run("-m", "nas", "tables", "list")
    assert code == 0 and "tensorrt/nvidia-t4.fp16.b8" in text
    code, text = run("-m", "nas", "predict", "nextvit-small", "--target", "tensorrt")
    assert code == 0 and "ms estimated" in text
    assert "python -m nas tables measure --target tensorrt" in text
    code, text = run(
        "-c",
        "import nas; print(nas.__file__, nas.load_space('nextvit').name, "
        "nas.load_architecture('nextvit-small').id, nas.load_table('tensorrt').meta.device)",
    )
    assert code == 0 and text.split()[1:] == ["nextvit", "c7bcf68ff3", "nvidia-t4"]
    assert text.startswith(str(site))
    code, text = run(str(site / "bin" / "nextvit-nas"), "--help")
    assert code == 0 and "Usage: nextvit-nas" in text


@pytest.mark.slow
def test_a_search_reads_the_users_tables_and_writes_into_the_current_folder(run, site, tmp_path):
    before = sorted(site.rglob("*.csv"))
    kept = tmp_path / "home" / ".local" / "share" / "nextvit-nas" / "latency_tables"
    made_up_table(kept, tiny_space(tmp_path), device="another-8c")
    code, text = run("-m", "nas", "tables", "list")
    assert code == 0 and "onnxruntime/another-8c.fp32.b1" in text and "nvidia-t4" in text
    code, text = run(
        *("-m", "nas", "--target", "onnxruntime", "--device", "another-8c", "--budget", "0.9ms"),
        *("--space", "../tiny.yaml", "--resolution", "64", "--proxy-images", "128"),
        *("--trials", "1", "--finalists", "0", "--sampler", "random"),
    )
    assert code == 0, text
    (made,) = (tmp_path / "here" / "results").iterdir()
    assert (made / "best.json").exists() and made.name.endswith("onnxruntime-0.9ms")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["results"]
    assert sorted(site.rglob("*.csv")) == before


@pytest.mark.slow
def test_a_new_table_goes_to_the_users_folder(run, site, tmp_path):
    kept = tmp_path / "home" / ".local" / "share" / "nextvit-nas" / "latency_tables"
    code, text = run(
        "-c",
        "from nas.latency.table.catalog import new_table_folder; print(new_table_folder(None))",
    )
    assert text.strip() == str(kept)
    (tmp_path / "home").write_text("")  # it cannot be made then
    tiny_space(tmp_path)
    code, text = run(
        *("-m", "nas", "tables", "measure", "--target", "onnxruntime", "--resolution", "64"),
        *("--space", "../tiny.yaml"),
    )
    assert code == 2
    line = text.splitlines()[-1]  # ONNX Runtime may have said before what it cannot write
    assert line.startswith(f"error: {kept}/onnxruntime/")
    assert "cannot be written: Not a directory; name another folder with --tables-dir" in line
