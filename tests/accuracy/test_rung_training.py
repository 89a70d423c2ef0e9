"""Training in rungs: the same result as without interruption, and no step is repeated."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.accuracy.data.dataset import ProxyData, load_data
from nas.accuracy.rung_training import train_to
from nas.accuracy.training import ProxyTraining, schedule
from nas.config import ProxyConfig
from nas.errors import RunError
from tests.samples import TINY

CONFIG = ProxyConfig(train_images=960, batch_size=32, jitter=0.2)
RUNGS = (160, 480, 960)
"""The second is inside a pass over the averages, as 480 images are 15 steps."""


@pytest.fixture(scope="module")
def data() -> ProxyData:
    full = load_data(ProxyConfig())
    return replace(full, val_images=full.val_images[:500], val_labels=full.val_labels[:500])


@pytest.fixture
def steps(monkeypatch) -> list[int]:
    """Records the optimiser steps in order."""
    done: list[int] = []
    step = ProxyTraining._train_step

    def counted(training: ProxyTraining) -> torch.Tensor:
        done.append(training.step)
        return step(training)

    monkeypatch.setattr(ProxyTraining, "_train_step", counted)
    return done


def test_in_parts_it_ends_as_in_one_go_without_a_step_done_twice(data, tmp_path, steps):
    training = ProxyTraining(TINY, data, CONFIG, 5, RUNGS)
    training.run()
    whole = training.result()
    del steps[:]
    checkpoint = tmp_path / "folder" / "one.pt"
    parts = [train_to(RUNGS[:n], checkpoint, TINY, data, CONFIG, 5) for n in (1, 2, 3)]
    assert steps == list(range(30))
    assert [part.steps for part in parts] == [5, 15, 30]
    assert parts[-1].accuracy == whole.accuracy
    assert parts[-1].train_loss == pytest.approx(whole.train_loss, rel=0.2)  # of fewer steps
    assert parts[0].accuracy != parts[-1].accuracy


def test_every_weight_and_moment_is_that_of_one_go(data):
    whole, first, second = (ProxyTraining(TINY, data, CONFIG, 5, RUNGS) for _ in range(3))
    whole.run()
    first.run(13)
    second.load_state_dict(first.state_dict())
    second.run()
    expected, got = whole.state_dict(), second.state_dict()
    for part in ("network", "average"):
        for name, tensor in expected[part].items():
            assert torch.equal(tensor, got[part][name]), (part, name)
    for number, moments in expected["optimizer"]["state"].items():
        for name, tensor in moments.items():
            assert torch.equal(tensor, got["optimizer"]["state"][number][name]), name
    assert torch.equal(expected["order"], got["order"])


def test_another_process_can_go_on(data, tmp_path):
    checkpoint = tmp_path / "one.pt"
    script = f"""
import torch
from pathlib import Path
from nas.config import ProxyConfig
from nas.accuracy.data.dataset import load_data
from nas.accuracy.rung_training import train_to
from tests.samples import TINY
torch.set_num_threads({torch.get_num_threads()})
config = ProxyConfig(**{CONFIG.model_dump()!r})
train_to((160,), Path({str(checkpoint)!r}), TINY, load_data(config), config, 5)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    in_parts = train_to((160, 960), checkpoint, TINY, data, CONFIG, 5)
    whole = ProxyTraining(TINY, data, CONFIG, 5, (160,))
    whole.run()
    assert in_parts.accuracy == whole.result().accuracy


def test_a_damaged_checkpoint_begins_anew(data, tmp_path, steps):
    checkpoint = tmp_path / "one.pt"
    train_to((160,), checkpoint, TINY, data, CONFIG, 5)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    del steps[:]
    again = train_to((160,), checkpoint, TINY, data, CONFIG, 5)
    assert steps == list(range(5)) and again.steps == 5


@pytest.mark.parametrize("state", [{"a": 1}, {"network": {}, "average": 3}, [1, 2]])
def test_a_checkpoint_of_something_else_begins_anew(data, tmp_path, steps, state):
    torch.save(state, tmp_path / "one.pt")
    again = train_to((160,), tmp_path / "one.pt", TINY, data, CONFIG, 5)
    assert steps == list(range(5)) and again.steps == 5


def test_a_checkpoint_that_cannot_be_written_is_said(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"checkpoint .*one\.pt cannot be written"):
        train_to((160,), tmp_path / "file" / "one.pt", TINY, data, CONFIG, 5)


def test_what_diverged_leaves_no_checkpoint(data, tmp_path):
    wild = CONFIG.model_copy(update={"learning_rate": 1e4})
    result = train_to((480,), tmp_path / "one.pt", TINY, data, wild, 5)
    assert result.diverged and not list(tmp_path.iterdir())


def test_the_checkpoint_is_written_in_one_piece(data, tmp_path, monkeypatch):
    def fill_the_disk(state: object, path: Path) -> None:
        path.write_bytes(b"part")
        raise OSError(28, "No space left on device")

    train_to((160,), tmp_path / "one.pt", TINY, data, CONFIG, 5)
    before = (tmp_path / "one.pt").read_bytes()
    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(RunError, match="No space left"):
        train_to((480,), tmp_path / "one.pt", TINY, data, CONFIG, 5)
    assert [path.name for path in tmp_path.iterdir()] == ["one.pt"]
    assert (tmp_path / "one.pt").read_bytes() == before


def test_the_rate_falls_to_zero_at_every_rung_and_rises_after_it(data, monkeypatch):
    rates: list[float] = []
    training = ProxyTraining(TINY, data, CONFIG, 5, RUNGS)
    step = training.optimizer.step

    def noted(*args: object) -> object:
        rates.append(training.optimizer.param_groups[-1]["lr"] / CONFIG.learning_rate)
        return step(*args)

    monkeypatch.setattr(training.optimizer, "step", noted)
    training.run()
    cycles = [schedule(n, length, CONFIG.warmup) for length in (5, 10, 15) for n in range(length)]
    assert rates == pytest.approx(cycles)
    assert rates[4] < 0.1 and rates[14] < 0.1 and rates[29] == 0.0
