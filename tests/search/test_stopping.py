"""How much time a search still has."""

from __future__ import annotations

import math

import pytest

from nas.search.stopping import TimeLimit


def test_counts_from_when_it_is_made_without_pauses():
    now = [100.0]
    limit = TimeLimit(60.0, lambda: now[0])
    now[0] += 10.0
    assert limit.remaining_s() == 50.0
    with limit.paused():
        now[0] += 1_000.0
    assert limit.remaining_s() == 50.0
    with pytest.raises(KeyboardInterrupt), limit.paused():
        now[0] += 1_000.0
        raise KeyboardInterrupt
    now[0] += 60.0
    assert limit.remaining_s() == -10.0


def test_without_a_limit_time_never_ends():
    assert TimeLimit(None).remaining_s() == math.inf
