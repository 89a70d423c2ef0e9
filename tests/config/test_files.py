"""A search's configuration as a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nas.config import CONFIG_FORMAT, SearchConfig, config_of, config_text, read_config
from nas.errors import ConfigError

EVERYTHING = SearchConfig(
    targets=[
        {"target": "tensorrt", "budget": "8.3ms", "device": "nvidia-t4", "precision": "fp16"},
        {"target": "coreml", "budget": "1200img/s", "batch_size": 8},
    ],
    resolution="512x683",
    max_params="25M",
    max_macs="1.2G",
    max_size="20MB",
    confidence="95%",
    time_limit="1.5h",
    warm_start=("results/one", "results/two"),
    data="imagefolder:photos",
    by_accuracy=True,
)


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "search.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "config",
    [
        EVERYTHING,
        SearchConfig(target="onnxruntime", budget_ms=0.9),
        SearchConfig(target="a", budget_ms=1 / 3, time_limit_s=1e-5, max_size="64MiB"),
    ],
)
def test_what_is_written_is_read_as_it_was(file, config):
    assert read_config(file(config_text(config))) == config


def test_a_file_speaks_as_the_options_do(file):
    text = config_text(EVERYTHING)
    assert f"format: {CONFIG_FORMAT}\n" in text
    for line in ("budget: 8.3ms", "budget: 1200img/s", "max_size: 20MB", "time_limit: 5400s"):
        assert line in text
    assert "#" not in text and "!" not in text
    assert yaml.safe_load(text)["max_params"] == 25_000_000


def test_the_size_bonus_is_that_of_the_evaluator(file):
    """A run writes the one it used; another evaluator does not inherit it."""
    trained = SearchConfig(target="a", budget_ms=8)
    own = SearchConfig(target="a", budget_ms=8, evaluator="mine:score")
    assert trained.size_bonus > 0 == own.size_bonus
    path = file(config_text(trained))
    assert config_of({"evaluator": "mine:score"}, path).size_bonus == 0
    assert config_of({"by_accuracy": True}, path).size_bonus == 0
    assert config_of({"trials": 3}, path).size_bonus == trained.size_bonus
    path = file(config_text(own))
    assert config_of({"evaluator": "training"}, path).size_bonus == trained.size_bonus
    assert config_of({"evaluator": "mine:other"}, path).size_bonus == 0


def test_recorded_accuracies_have_no_finalists(file):
    """There is nothing to train longer; another evaluator does not inherit it."""
    recorded = SearchConfig(target="a", budget_ms=8, evaluator="recorded:known.csv", finalists=3)
    assert recorded.finalists == recorded.changed({"finalists": 2}).finalists == 0
    path = file(config_text(recorded))
    assert config_of({"evaluator": "training"}, path).finalists == 4
    assert config_of({"evaluator": "mine:f", "finalists": 2}, path).finalists == 2
    assert config_of({"evaluator": "recorded:other.csv"}, path).finalists == 0
    assert config_of({"trials": 3}, path).finalists == 0


def test_a_file_may_be_as_short_as_a_command(file):
    path = file("target: tensorrt\nbudget: 8ms\nproxy_images: 500\ntime_limit: 20min\n")
    config = read_config(path)
    assert config.targets == SearchConfig(target="tensorrt", budget_ms=8).targets
    assert config.proxy.train_images == 500 and config.time_limit_s == 1200


def test_options_override_a_file_and_targets_as_a_whole(file):
    path = file(config_text(EVERYTHING))
    given = {"trials": 3, "proxy_images": 99, "target": ["openvino"], "budget": ["5ms"]}
    config = config_of(given, path)
    assert config.targets == SearchConfig(target="openvino", budget_ms=5).targets
    assert config.trials == 3 and config.proxy.train_images == 99
    assert config.proxy.data == "imagefolder:photos" and config.resolution == "512x683"
    assert config_of({"time_limit": "30s"}, path).time_limit_s == 30
    assert config_of({}, path) == EVERYTHING


def test_a_part_of_a_target_overrides_that_of_a_file_with_one(file):
    path = file("target: openvino\nbudget: 8ms\ndevice: phone\n")
    (target,) = config_of({"budget": ["5ms"]}, path).targets
    assert (target.target, target.device, target.budget_ms) == ("openvino", "phone", 5)
    (target,) = config_of({"budget": ["1200img/s"], "batch_size": [8]}, path).targets
    assert target.throughput_img_s == 1200
    written = file(config_text(SearchConfig(target="openvino", budget_ms=8)))
    assert config_of({"budget": ["5ms"]}, written).targets[0].budget_ms == 5


def test_a_part_of_a_target_does_not_override_a_file_with_several(file):
    path = file(config_text(EVERYTHING))
    for given in ({"budget": ["5ms"]}, {"budget": ["5ms", "6ms"]}, {"batch_size": [2]}):
        with pytest.raises(ConfigError, match="give --target and --budget for each"):
            config_of(given, path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a configuration is a mapping of options"),
        ("- a\n", "a configuration is a mapping of options"),
        ("1: 2\n", "a configuration is a mapping of options"),
        ("a: [\n", "not readable as YAML"),
        ("a: !!python/object:os.system x\n", "not readable as YAML"),
        ("[" * 50_000, "not readable as YAML"),
        ("x" * 200_000, "not readable as YAML: larger than"),
        ("target: a\nbudget: 8ms\ntrials: 0\n", ":3: trials: 0: Input should be greater"),
        ("target: a\nbudget: 8ms\ntrails: 3\n", ":3: trails: unknown entry 'trails': did you mean"),
        ("target: a\nbudget: 8ms\nmax_size: 20\n", ":3: max_size: '20' is not a size"),
        ("target: a\nbudget: 8\n", ":2: budget: '8' has no unit: write for example 8ms"),
        ("target: a\nbudget: 8ms\ntime_limit: 20\n", ":3: time_limit: '20' has no unit"),
        ("target: a\nbudget: '8'\n", ":2: budget: '8' has no unit: write for example 8ms"),
        ("target: a\nbudget: 5 parsecs\n", ":2: budget: '5 parsecs' has an unknown unit"),
        ("target: a\n", ":1: budget: is missing: for example 8ms"),
        ("budget: 8ms\n", ":1: target: "),
        ("target: a\nbudget: 99img/s\n", ":2: budget: '99img/s' is a throughput, which needs"),
        ("target: a\nbudget: 9img/h\n", ":2: budget: '9img/h' is not a throughput"),
        ("target: a\nbudget: 8ms\nbudget_ms: 3\n", "give budget or budget_ms, not both"),
        ("target: a\nbudget: 8ms\ntrials: 1\ntrials: 2\n", ":4: trials is there twice"),
        ("target: a\nbudget: 8ms\nmax_size: 20B\nmax_params: x\n", ":4: max_params: 'x' is not a"),
        ("target: a\nbudget: 8ms\nproxy: 3\n", ":3: proxy: 3 is no mapping of entries"),
        ("target: a\nbudget: 8ms\nproxy:\n  data: 3\n", ":4: data: 3: Input should be a valid"),
        ("target: a\nbudget: 8ms\nproxy: {ema: 3}\n", ":3: ema: unknown entry 'ema'"),
        ("target: a\nbudget: 8ms\nproxy_images: many\n", ":3: proxy_images: 'many'"),
        (
            "targets:\n- target: a\n  budget: 8ms\n  devise: x\n",
            ":4: devise: unknown entry 'devise'",
        ),
        ("target: a\nbudget: 8ms\ntrials: true\n", ":3: trials: 'true' is not a value for"),
        ("target: a\ntargets: []\n", "give target or targets, not both"),
        (
            "target: a\nbudget: 8ms\nthroughput_img_s: 100\nbatch_size: 8\n",
            "give budget or throughput_img_s, not both",
        ),
        (
            "target: a\nbudget: 8ms\nby_accuracy: true\nsize_bonus: 0.01\n",
            "give by_accuracy or size_bonus, not both",
        ),
        ("targets: []\n", ":1: targets: []: Tuple should have at least 1"),
        ("targets: a\n", ":1: targets: 'a': Input should be a valid"),
        ("format: 99\ntarget: a\n", "format 99 is newer than this version reads, which is 1"),
        ("format: one\n", "format 'one' is none: leave it out, or write 1"),
        ("format: 0\n", "format 0 is none"),
        ("confidence: 90\ntarget: a\nbudget: 8ms\n", ":1: confidence: 90: Input should be less"),
        ("a: &a [1]\nb: [" + "*a, " * 40 + "]\n", "more than 32 aliases"),
        ("target: a\nbudget: 8ms\nspace: 2026-01-01\n", ":3: space: "),
        ("target: a\nbudget: .nan\n", ":2: budget: 'nan' is not a duration"),
    ],
)
def test_mistakes_are_named_with_file_and_line(file, text, expected):
    path = file(text)
    with pytest.raises(ConfigError) as refused:
        read_config(path)
    said = str(refused.value)
    assert said.startswith(str(path)) and expected in said and len(said.splitlines()) == 1


def test_what_the_command_line_got_wrong_is_not_blamed_on_the_file(file):
    path = file("target: a\nbudget: 8ms\nproxy: {resolution: 16}\n")
    for given, expected in (
        ({"trials": 0}, "--trials 0: "),
        ({"proxy_images": 0}, "--proxy-images 0: "),
        ({"proxy_images": True}, "--proxy-images 'true' is not a value"),
        ({"target": ["a"], "budget": ["8"]}, "--budget '8' has no unit"),
    ):
        with pytest.raises(ConfigError, match=f"^{expected}"):
            config_of(given, path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="none.yaml: cannot be read: No such file"):
        read_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_config(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"bytes.yaml: not readable as YAML"):
        read_config(tmp_path / "bytes.yaml")


def test_a_file_has_these_entries():
    values = yaml.safe_load(config_text(SearchConfig(target="tensorrt", budget_ms=8.0)))
    assert list(values) == [
        *("format", "targets", "resolution", "num_classes", "max_params", "max_macs", "max_size"),
        *("confidence", "interpolate", "space", "trials", "sampler", "rungs", "finalists"),
        *("time_limit", "seed", "warm_start", "evaluator", "size_bonus", "workers", "proxy"),
    ]
    assert list(values["targets"][0]) == ["target", "budget", "device", "precision", "batch_size"]
    assert list(values["proxy"]) == [
        *("data", "train_images", "resolution", "batch_size", "learning_rate", "weight_decay"),
        *("warmup", "label_smoothing", "ema_decay", "shift", "jitter", "skip_unreadable"),
    ]
