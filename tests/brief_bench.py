"""Real measurements without the waits of the protocol, whose accuracy benchmarks/ shows.

``python -m tests.brief_bench ARGUMENTS`` is ``run_search.py ARGUMENTS`` with them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nas.cli import main
from nas.measurement import bench_process, protocol

_begin_child = bench_process._begin_child


def begin_child() -> None:
    """Begin a process that measures: a short look at the reference, no wait for quiet."""
    protocol.REFERENCE_BEGIN_S = 0.6
    protocol.WAIT_S = protocol.WAIT_SHARE = 0.0
    _begin_child()


@contextmanager
def brief_measurements() -> Iterator[None]:
    """Every bench that is opened inside is a brief one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bench_process, "_begin_child", begin_child)
        yield


if __name__ == "__main__":
    from tests.brief_bench import brief_measurements as brief

    with brief():  # of the importable module, which a new process finds
        sys.exit(main(sys.argv[1:]))
