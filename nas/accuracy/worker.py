"""Prepares a worker process that evaluates."""

from __future__ import annotations

import os
import signal
import warnings

from nas.errors import DataWarning
from nas.system.processes import end_with_parent

SPINS = 3_000
"""How often an OpenMP thread spins while it waits for the others, before it sleeps. The default,
300,000, slows training on a busy machine (chosen by `benchmarks/shared_machine.py`)."""


def start_worker(threads: int) -> None:
    """Prepare a worker process: ignore Ctrl-C, end with the parent process, and limit threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(
            "GOMP_SPINCOUNT", str(SPINS)
        )  # OpenMP reads it when torch is imported
    import torch

    warnings.simplefilter("ignore", DataWarning)  # the parent has shown these warnings
    torch.set_num_threads(threads)
