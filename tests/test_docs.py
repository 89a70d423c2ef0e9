"""The examples of the documentation work as they are written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import TINY_YAML

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "blocks-and-spaces.md"
EVALUATORS = ROOT / "docs" / "evaluators.md"

FILES = re.compile(r"```(?:python|yaml)\n# (?P<name>[\w.]+)\n(?P<content>.*?)```", re.DOTALL)

SEARCH_SPACES = """
import random
import nas
from nas.models.cost import network_cost
from nas.space.workload import Workload

space, tied = nas.load_space("my_space:SPACE"), nas.load_space("tied_space:SPACE")
at = Workload(32, 48)
rng = random.Random(0)
kinds = set()
for _ in range(60):
    network = space.sample(rng)
    assert network in space
    assert set(network.blocks(at)) <= set(space.blocks(at))
    kinds |= {str(block).split()[0] for block in network.blocks(at)}
    assert network_cost(network.blocks(at)).macs
    ratios = {stage.ncb_mlp_ratio for stage in tied.sample(rng).stages}
    assert len(ratios) == 1
    assert all(n in tied for n in tied.neighbours(tied.sample(rng)))
assert kinds == {"stem", "ncb", "ntb", "pool", "head"}
assert tied.size * 8 == nas.load_space("nextvit-tiny").size
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page, each under the name in its first line."""
    folder = tmp_path_factory.mktemp("docs")
    found = {match["name"]: match["content"] for match in FILES.finditer(PAGE.read_text())}
    assert list(found) == [
        "pool_block.py", "check_pool.py", "pool_space.yaml", "my_space.py", "tied_space.py",
    ]  # fmt: skip
    for name, content in found.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_the_kind_of_the_page_is_what_its_check_says(folder: Path) -> None:
    done = run(folder, "check_pool.py")
    assert done.returncode == 0, done.stderr


def test_the_spaces_of_the_page_are_loaded_by_their_references(folder: Path) -> None:
    done = run(folder, "-c", SEARCH_SPACES)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_search_of_the_page_runs(folder: Path, tmp_path: Path) -> None:
    command = ["--space", "my_space:SPACE", "--resolution", "32", "--num-classes", "10"]
    command += ["--target", "onnxruntime", "--budget", "500ms", "--trials", "2"]
    command += ["--finalists", "0", "--proxy-images", "192", "--tables-dir", str(tmp_path / "t")]
    brief = ("-m", "tests.brief_bench")
    done = run(folder, *brief, *command, "--output", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "my_space:SPACE" in (tmp_path / "run" / "config.yaml").read_text()
    more = ["--resume", str(tmp_path / "run"), "--trials", "3", "--tables-dir", str(tmp_path / "t")]
    done = run(folder, *brief, *more)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_evaluator_of_the_page_ranks_candidates(tmp_path: Path) -> None:
    """In real worker processes, from the folder of its file."""
    (match,) = FILES.finditer(EVALUATORS.read_text())
    (tmp_path / match["name"]).write_text(match["content"], encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text(TINY_YAML, encoding="utf-8")
    done = run(
        tmp_path,
        *("-m", "nas", "--target", "tensorrt", "--budget", "8ms", "--space", "tiny.yaml"),
        *("--evaluator", "my_evaluator:evaluate", "--trials", "3", "--proxy-images", "1280"),
        *("--finalists", "2", "--output", "run", "--json"),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["trained"] == 3 and result["failed"] == 0
    best = result["recommended"]
    assert best["score"] == pytest.approx(best["accuracy"], abs=1e-6)
    assert best["accuracy"] > 0.2 and best["longer_images"] == 5120
