"""Scoring by stages gives what summing block by block gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ArchitectureError
from nas.latency.predict.scorer import Scorer
from nas.space.workload import Workload
from tests.samples import TINY, architectures
from tests.tiny import made_up_ms


@given(st.lists(architectures(), min_size=1, max_size=4), st.sampled_from([224, 193, 256]))
def test_is_the_sum_over_blocks(networks, resolution):
    scorer = Scorer(0.3, made_up_ms, Workload.square(resolution, 10))
    for network in [*networks, *networks]:  # the second time from what was kept
        try:
            blocks = network.blocks(Workload.square(resolution, 10))
        except ArchitectureError as error:
            with pytest.raises(ArchitectureError, match=str(error).split(":")[0]):
                scorer.latency_ms(network)
            continue
        expected = 0.3 + sum(made_up_ms(block) for block in blocks)
        assert scorer.latency_ms(network) == pytest.approx(expected, rel=1e-9)


def test_the_first_block_that_is_missing_is_named():
    def block_ms(block):
        raise LookupError(str(block))

    with pytest.raises(LookupError, match="stem 3->32"):
        Scorer(0.0, block_ms, Workload.square(64, 10)).latency_ms(TINY)
