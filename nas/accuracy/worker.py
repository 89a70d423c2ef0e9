"""Prepares a worker process that evaluates."""

from __future__ import annotations

import os
import sys
import warnings

from nas.errors import DataWarning
from nas.system.output import lasting
from nas.system.processes import begin_child

SPINS = 3_000
"""How often an OpenMP thread spins while it waits for the others, before it sleeps. The default,
300,000, slows training on a busy machine (chosen by `benchmarks/shared_machine.py`)."""


def start_worker(threads: int) -> None:
    """Prepare a worker process as a child (`begin_child`), and limit its threads.

    What an evaluator prints goes to stderr, also after the terminal was closed.
    """
    begin_child()
    sys.stdout = sys.stderr = lasting(sys.stderr)
    warnings.simplefilter("ignore", DataWarning)  # the parent has shown these warnings
    use_threads(threads)


def use_threads(threads: int) -> None:
    """Limit the threads of this process, in which torch is not imported yet."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(
            "GOMP_SPINCOUNT", str(SPINS)
        )  # OpenMP reads it when torch is imported
    import torch

    torch.set_num_threads(threads)
