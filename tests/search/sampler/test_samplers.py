"""Every sampler proposes; unknown names are refused."""

from __future__ import annotations

import optuna
import pytest

from nas.accuracy.short_training import Evaluation
from nas.errors import ConfigError
from nas.search.sampler.samplers import SAMPLERS, check_sampler, make_sampler
from nas.search.store.study import SearchStudy


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_search_within_the_budget(name, budget):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "minimize"])
    search = SearchStudy(study, budget, seed=0)
    study.sampler = make_sampler(name, 0, budget.space, search.load)
    search.begin([])
    for number in range(16):
        proposal = search.propose()
        assert proposal is not None
        assert budget.fits(proposal.architecture)
        search.finish(proposal, Evaluation(0.5 + number / 100, False, 0.1, 8_000))
    assert len({c.architecture for c in search.candidates()}) == 16


def test_unknown_sampler_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown sampler 'nsga': did you mean 'nsga"):
        check_sampler("nsga")
