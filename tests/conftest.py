"""Settings for every test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

# Each of several pytest processes keeps to a core of its own, with the processes that it starts:
# threads of one would wait for those of another, and measurements would be disturbed.
if os.environ.get("PYTEST_XDIST_WORKER") and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(os.environ["PYTEST_XDIST_WORKER"][2:]) % len(cores)]})

import torch
from hypothesis import HealthCheck, settings

from tests.brief_bench import brief_measurements

# Tests train tiny networks: on a busy machine more threads wait for one another most of the time.
torch.set_num_threads(1)

# Shared machines have slow spells, so no example has a deadline; runs are reproducible.
settings.register_profile(
    "nas",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("nas")


@pytest.fixture(scope="session", autouse=True)
def brief() -> Iterator[None]:
    """Measurements are real and brief; a test that checks the protocol calls it itself."""
    with brief_measurements():
        yield


@pytest.fixture
def sigint_raises() -> Iterator[None]:
    """A shell's background job ignores it, and so would tests that are run in one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
