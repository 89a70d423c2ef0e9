"""Every sampler proposes; unknown names are refused."""

from __future__ import annotations

import optuna
import pytest

from nas.errors import ConfigError
from nas.search.sampler.samplers import SAMPLERS, check_sampler, make_sampler
from tests.search.runs import Run


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_search_within_the_budget(name, budget, tmp_path):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "minimize"])
    run = Run(study, budget, tmp_path)
    ratio, observe = run.board.latency_ratio, run.store.trials.observe
    run.store.trials.use(make_sampler(name, 0, budget.space, ratio, (), observe))
    run.proposer.enqueue_initial([])
    for number in range(16):
        assert budget.fits(run.evaluate(0.5 + number / 100).architecture)
    assert len({c.architecture for c in run.board.candidates()}) == 16


def test_unknown_sampler_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown sampler 'nsga': did you mean 'nsga"):
        check_sampler("nsga")
