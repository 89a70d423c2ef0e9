"""Search methods behind one interface, for `search_efficiency.py`: ours and the peers'.

A method is given a problem, a number of evaluations and a seed, and evaluates that many networks.
The peers get the space with every parameter always present, as most of them need it.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from ofa import ACCURACY_NOISE, AccuracyModel, CostModel, OfaSpace, Subnet
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from nas.accuracy.evaluator import Evaluator, Request
from nas.accuracy.recorded import ModelledAccuracy
from nas.search.sampler.candidates import LatencyRatio
from nas.search.sampler.optuna_adapter import LatencyAwareSampler
from nas.search.sampler.samplers import make_sampler
from nas.space.parameter_space import Choice, picked_from

SMALL_POPULATION = 20
"""For methods whose usual population is half of the evaluations here, or all."""


@dataclass
class Problem:
    """Accuracy and cost of networks, and what was evaluated.

    The accuracy comes through the interface that a search has to it, `Evaluator`.

    Attributes:
        top1, cost: of each network evaluated, in order; top-1 in percent with its noise.
    """

    accuracy: AccuracyModel
    cost_model: CostModel
    seed: int
    top1: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._noise = random.Random(self.seed)
        self._evaluator: Evaluator[Subnet] = ModelledAccuracy(
            lambda subnet: float(self.accuracy.predict([subnet])[0])
        )

    def evaluate(self, subnet: Subnet) -> tuple[float, float]:
        """Top-1 in percent, and cost."""
        top1 = self._evaluator.evaluate(Request(subnet, images=0, seed=self.seed)).score
        self.top1.append(top1 + self._noise.gauss(0.0, ACCURACY_NOISE))
        self.cost.append(float(self.cost_model.predict([subnet])[0]))
        return self.top1[-1], self.cost[-1]


Method = Callable[[Problem, int, int], None]


def ours(problem: Problem, evaluations: int, seed: int) -> None:
    """Every suggestion is for the front."""
    space = OfaSpace()
    sampler = LatencyAwareSampler(space, latency_ratio_of(problem.cost_model), seed)
    search_with(problem, evaluations, sampler, space)


def ours_in_a_search(problem: Problem, evaluations: int, seed: int) -> None:
    """The sampler with the settings of a search: some suggestions seek the best network alone."""
    space = OfaSpace()
    sampler = make_sampler("latency-aware", seed, space, latency_ratio_of(problem.cost_model))
    search_with(problem, evaluations, sampler, space)


def latency_ratio_of(model: CostModel) -> LatencyRatio[Subnet]:
    """Costs as shares of the limit: [n, 1]."""
    return lambda subnets: model.predict(subnets)[:, None] / model.limit


def tpe(problem: Problem, evaluations: int, seed: int) -> None:
    search_with(problem, evaluations, optuna.samplers.TPESampler(seed=seed))


def tpe_multivariate(problem: Problem, evaluations: int, seed: int) -> None:
    search_with(problem, evaluations, optuna.samplers.TPESampler(seed=seed, multivariate=True))


def nsga2(problem: Problem, evaluations: int, seed: int) -> None:
    sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=SMALL_POPULATION)
    search_with(problem, evaluations, sampler)


def gp(problem: Problem, evaluations: int, seed: int) -> None:
    search_with(problem, evaluations, optuna.samplers.GPSampler(seed=seed))


def uniform(problem: Problem, evaluations: int, seed: int) -> None:
    rng, space = random.Random(seed), OfaSpace()
    for _ in range(evaluations):
        problem.evaluate(space.sample(rng))


def pymoo_nsga2(problem: Problem, evaluations: int, seed: int) -> None:
    """With pymoo's operators for whole numbers."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    space = OfaSpace(static=True)
    offered = _offered(space)

    class Ofa(ElementwiseProblem):  # type: ignore[misc]
        def __init__(self) -> None:
            highest = [len(choices) - 1 for choices in offered.values()]
            super().__init__(n_var=len(offered), n_obj=2, xl=0, xu=np.array(highest), vtype=int)

        def _evaluate(self, x: np.ndarray, out: dict[str, list[float]]) -> None:
            values = {n: c[int(i)] for i, (n, c) in zip(x, offered.items(), strict=True)}
            top1, cost = problem.evaluate(space.build(picked_from(values)))
            out["F"] = [-top1, cost]

    algorithm = NSGA2(
        pop_size=SMALL_POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=0.9, eta=15, vtype=float, repair=RoundingRepair()),
        mutation=PM(eta=20, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    minimize(Ofa(), algorithm, ("n_eval", evaluations), seed=seed, verbose=False)


def syne_tune_evolution(problem: Problem, evaluations: int, seed: int) -> None:
    """Syne Tune's multi-objective regularized evolution."""
    from syne_tune.config_space import choice
    from syne_tune.optimizer.schedulers.ask_tell_scheduler import AskTellScheduler
    from syne_tune.optimizer.schedulers.multiobjective.multi_objective_regularized_evolution import (  # noqa: E501
        MultiObjectiveRegularizedEvolution,
    )
    from syne_tune.optimizer.schedulers.single_fidelity_scheduler import SingleFidelityScheduler

    space = OfaSpace(static=True)
    config_space = {name: choice(list(choices)) for name, choices in _offered(space).items()}
    searcher = MultiObjectiveRegularizedEvolution(
        config_space, population_size=SMALL_POPULATION, sample_size=5, random_seed=seed
    )
    scheduler = AskTellScheduler(
        SingleFidelityScheduler(config_space, ["error", "cost"], True, searcher, random_seed=seed)
    )
    for _ in range(evaluations):
        trial = scheduler.ask()
        top1, cost = problem.evaluate(space.build(picked_from(trial.config)))
        scheduler.tell(trial, {"error": 100.0 - top1, "cost": cost})


METHODS: dict[str, Method] = {
    "ours": ours,
    "ours-in-a-search": ours_in_a_search,
    "optuna-tpe": tpe,
    "optuna-tpe-multivariate": tpe_multivariate,
    "optuna-nsga2": nsga2,
    "optuna-gp": gp,
    "random": uniform,
    "pymoo-nsga2": pymoo_nsga2,
    "syne-tune-mo-rea": syne_tune_evolution,
}


def search_with(
    problem: Problem,
    evaluations: int,
    sampler: optuna.samplers.BaseSampler,
    space: OfaSpace | None = None,
    known: Sequence[tuple[dict[str, Choice], tuple[float, float]]] = (),
) -> list[dict[str, Choice]]:
    """Evaluate what an Optuna sampler proposes.

    Args:
        problem: keeps what was evaluated.
        evaluations: how many.
        sampler: of Optuna.
        space: what it searches; every position always present by default.
        known: parameters, top-1 and cost of networks that count as evaluated already.

    Returns:
        Parameters of what was evaluated here.
    """
    space = space or OfaSpace(static=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for params, objectives in known:
        offered = space.select(picked_from(params)).offered
        distributions = {
            name: CategoricalDistribution(choices) for name, choices in offered.items()
        }
        trial = create_trial(params=params, distributions=distributions, values=objectives)
        study.add_trial(trial)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.optimize(lambda trial: problem.evaluate(space.suggest(trial)), n_trials=evaluations)
    return [trial.params for trial in study.get_trials(deepcopy=False)[len(known) :]]


def _offered(space: OfaSpace) -> dict[str, tuple[Choice, ...]]:
    return space.select(picked_from({})).offered
