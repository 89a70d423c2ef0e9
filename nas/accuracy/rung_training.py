"""Proxy training in rungs: it stops at a rung, and is resumed from a checkpoint.

The learning rate falls to zero at every rung and rises again after it, so that a rung compares
finished short trainings, which rank networks better than trainings cut off before their end
(``benchmarks/proxy_fidelity.py``). Checkpoints include the state of all random generators: a
training that was resumed, even in another process, gives bit for bit the same result as one that
was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from nas.accuracy.data.dataset import ProxyData
from nas.accuracy.training import ProxyResult, ProxyTraining, steps_of
from nas.config import ProxyConfig
from nas.errors import RunError
from nas.space.architecture import Architecture
from nas.system.atomic import replacing


def train_to(
    rungs: Sequence[int],
    checkpoint: Path,
    architecture: Architecture,
    data: ProxyData,
    config: ProxyConfig,
    seed: int,
) -> ProxyResult:
    """Train to the last of ``rungs`` and evaluate; write a checkpoint unless training is complete.

    Args:
        rungs: images seen since the beginning at each rung, up to the one to train to. The
            training is complete at ``config.train_images``.
        checkpoint: path of the checkpoint: training is resumed from it if it exists, and writes it
            at the end. If it cannot be read, training starts anew and gives the same result.
        architecture, data, config, seed: see `ProxyTraining`; the same at every rung.

    Returns:
        The result at this rung; its ``train_s`` counts only the seconds of this call.

    Raises:
        RunError: the checkpoint cannot be written.
    """
    training = ProxyTraining(architecture, data, config, seed, rungs)
    state = _read(checkpoint)
    if state is not None:
        try:
            training.load_state_dict(state)
        except (KeyError, RuntimeError, TypeError, ValueError):  # a checkpoint of another training
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
    except Exception:  # a damaged file can raise any error
        return None
    return state


def _write(state: dict[str, object], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            torch.save(state, partial)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise RunError(
            f"checkpoint {path} cannot be written ({error}): make room and go on with "
            f"--resume, or search without --rungs"
        ) from None
