"""Settings for every test."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, settings

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
