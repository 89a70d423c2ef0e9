"""Real measurements, but short ones: benchmarks/ shows how exact those of the protocol are.

``python -m tests.brief_bench ARGUMENTS`` is ``run_search.py ARGUMENTS`` with them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nas.cli import main
from nas.measurement import bench, bench_process, protocol

EFFORT = protocol.Effort(turn_s=0.01, min_rounds=6, max_rounds=10, ci_pct=3.0)

_begin_child = bench_process.begin_child
_measure = bench.measure


def begin_child() -> None:
    """Begin a process that measures: a short look at the reference, no waits, few turns."""
    protocol.REFERENCE_BEGIN_S = 0.6
    protocol.WAIT_S = protocol.WAIT_SHARE = 0.0
    protocol.MAX_CI_PCT = 100.0
    bench.measure = lambda sessions, reference, _: _measure(sessions, reference, EFFORT)
    _begin_child()


@contextmanager
def brief_measurements() -> Iterator[None]:
    """Every bench that is opened inside is a brief one, and whatever it measures is steady."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(protocol, "MAX_CI_PCT", 100.0)
        patched.setattr(bench_process, "begin_child", begin_child)
        yield


if __name__ == "__main__":
    from tests.brief_bench import brief_measurements as brief  # as a new process imports it

    with brief():
        sys.exit(main(sys.argv[1:]))
