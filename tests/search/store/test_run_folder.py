"""A run's folder: which one a new run takes, and its configuration."""

from __future__ import annotations

import json
import math
import os

import pytest

from nas.config import SearchConfig
from nas.errors import RunError
from nas.search.store.run_folder import (
    CONFIG,
    OLD_CONFIG,
    create_run,
    read_run,
    require_empty,
    write_config,
)


def test_a_budget_without_end_in_a_run_is_refused(tmp_path):
    config = SearchConfig(target="tensorrt", budget_ms=8.0).model_dump()
    config["targets"][0]["budget_ms"] = math.inf
    (tmp_path / OLD_CONFIG).write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"targets\.0\.budget_ms: Input should be a finite number"):
        read_run(tmp_path)
    (tmp_path / CONFIG).write_text("targets:\n- target: tensorrt\n  budget_ms: .inf\n")
    with pytest.raises(RunError, match=r"config\.yaml:3: budget: inf: Input should be a finite"):
        read_run(tmp_path)


def test_a_newer_run_is_refused(tmp_path):
    (tmp_path / CONFIG).write_text("format: 2\n")
    with pytest.raises(RunError, match=r"config\.yaml: format 2 is newer than this version reads"):
        read_run(tmp_path)


def test_a_run_of_before_is_read_until_it_is_gone_on_with(tmp_path):
    config = SearchConfig(target="tensorrt", budget_ms=8.0, trials=3)
    (tmp_path / OLD_CONFIG).write_text(config.model_dump_json())
    with pytest.raises(RunError, match="already holds a run"):
        require_empty(tmp_path)
    assert read_run(tmp_path) == config
    write_config(tmp_path, config.changed({"trials": 5}))
    assert read_run(tmp_path).trials == 5


CONFIG_OF_A_RUN = SearchConfig(target="tensorrt", budget_ms=8.0)


@pytest.mark.parametrize("name", ["notes.txt", "checkpoints/epoch90.pth", "best.onnx", "r\n.txt"])
def test_new_run_in_a_folder_with_files_is_refused_and_touches_nothing(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    for refuse in (require_empty, lambda path: create_run(CONFIG_OF_A_RUN, path)):
        with pytest.raises(RunError) as caught:
            refuse(tmp_path)
        said = str(caught.value)
        assert said.startswith(f"results folder {tmp_path} is not empty, it holds ")
        assert said.endswith(f"such as --output {tmp_path / 'run'}") and "\n" not in said
    assert (tmp_path / name).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("hidden", [None, ".gitkeep", ".DS_Store", ".config.yaml.1.part"])
def test_new_run_takes_a_folder_that_is_empty_or_has_hidden_files_alone(tmp_path, hidden):
    if hidden:
        (tmp_path / hidden).write_text("")
    assert create_run(CONFIG_OF_A_RUN, tmp_path) == tmp_path
    assert read_run(tmp_path) == CONFIG_OF_A_RUN


@pytest.mark.parametrize("name", ["a%2Fb", "q?a", "q#b", "{x}", os.fsdecode(b"r\xe4")])
def test_paths_in_a_configuration_may_have_any_name(tmp_path, name):
    config = CONFIG_OF_A_RUN.changed({"space": str(tmp_path / name)})
    create_run(config, tmp_path / name)
    assert read_run(tmp_path / name) == config


def test_configuration_that_cannot_be_written_names_the_file_and_the_remedy(tmp_path):
    (tmp_path / CONFIG).mkdir()
    with pytest.raises(RunError) as caught:
        write_config(tmp_path, CONFIG_OF_A_RUN)
    assert str(caught.value).startswith(f"{tmp_path / CONFIG}: cannot be written: Is a directory; ")
    assert str(caught.value).endswith(f"go on with --resume {tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == [CONFIG]
