"""By how much a search trains more than it was asked for, where measuring shows that it should."""

from __future__ import annotations

import math

from nas.config import SearchConfig
from nas.search.store.ledger import Ledger

MORE_TRIALS = 0.25
"""Candidates a search trains when it goes on after measuring, as a share of what was asked for."""

MORE_ROUNDS = 2
"""How often a search goes on because the most accurate candidate was lost when it was measured, or
because more fits than it seemed."""


def rounds_left(ledger: Ledger) -> int:
    """How often a search may still go on."""
    return max(0, MORE_ROUNDS - len(ledger.extensions()))


def more_trials(config: SearchConfig) -> int:
    """Candidates of one more round."""
    return math.ceil(MORE_TRIALS * config.trials)
