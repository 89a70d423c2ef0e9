"""Proxy training in parts: it stops after some of its images, and goes on from a checkpoint.

The learning rate falls to zero at every rung and rises again after it, so that what is looked at
there is a finished short training: on digits, 8,000 images with a rate that falls to zero rank
networks with tau 0.45, the first 8,000 of 64,000 with 0.21 (`benchmarks/proxy_fidelity.py`). The
state of everything random is kept: a training that stopped, in whichever process, ends bit for bit
as one that did not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from nas.accuracy.data.dataset import ProxyData
from nas.accuracy.training import ProxyResult, ProxyTraining, steps_of
from nas.config import ProxyConfig
from nas.errors import RunError
from nas.space.architecture import Architecture


def train_to(
    rungs: Sequence[int],
    checkpoint: Path,
    architecture: Architecture,
    data: ProxyData,
    config: ProxyConfig,
    seed: int,
) -> ProxyResult:
    """Train to a rung, evaluate, and keep the state if there is more to come.

    Args:
        rungs: images seen since the beginning at each rung up to the one to train to; all of
            ``config.train_images`` ends the training.
        checkpoint: where to go on from if it exists, and where the state is kept. One that cannot
            be read is no reason to fail: training begins anew, and ends the same.
        architecture, data, config, seed: see `ProxyTraining`; the same each time.

    Returns:
        What training gave so far; its ``train_s`` is of this part.

    Raises:
        RunError: the checkpoint cannot be written.
    """
    training = ProxyTraining(architecture, data, config, seed, rungs)
    state = _read(checkpoint)
    if state is not None:
        try:
            training.load_state_dict(state)
        except (KeyError, RuntimeError, TypeError, ValueError):  # of something else
            training = ProxyTraining(architecture, data, config, seed, rungs)
    before_s = training.train_s
    training.run(steps_of(rungs[-1], config))
    result = training.result()
    if training.step < training.total_steps and not result.diverged:
        _write(training.state_dict(), checkpoint)
    return replace(result, train_s=result.train_s - before_s)


def _read(path: Path) -> dict[str, object] | None:
    if not path.exists():
        return None
    try:
        state: dict[str, object] = torch.load(path, weights_only=True)
    except Exception:  # a damaged file raises what its bytes happen to mean
        return None
    return state


def _write(state: dict[str, object], path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, temporary)
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch says a full disk with a RuntimeError
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise RunError(
            f"checkpoint {path} cannot be written ({error}): make room, or search without --rungs"
        ) from None
