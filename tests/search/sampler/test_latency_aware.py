"""Studies on spaces whose every architecture is known: what is proposed, and how good it is."""

from __future__ import annotations

import random

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from nas.search.sampler import latency_aware
from nas.search.sampler.candidates import key
from nas.search.sampler.hypervolume import expected_gain, hypervolume
from nas.search.sampler.latency_aware import MIN_OBSERVATIONS as ENOUGH
from nas.search.sampler.latency_aware import LatencyAware
from nas.search.sampler.observation import Observation
from nas.search.sampler.optuna_adapter import LatencyAwareSampler
from tests.tiny import AT_64, made_up_ms, tiny_space
from tests.toy import (
    One,
    Toy,
    every_selection,
    shares,
    toy_accuracy,
    toy_latency,
    two_devices,
)

SPACE = Toy()
RATIO = shares(2.5)
"""Which 39% of the space fit."""

SMALL = Toy(2)
SMALL_RATIO = shares(1.0)
FITTING = {key(w) for w in every_selection(SMALL) if toy_latency(w.architecture) <= 1.0}
"""The architectures within the limit of a space that a study can exhaust."""


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def study_of(space=SPACE, ratio=RATIO, seed=0, sampler=None, **kwargs) -> optuna.Study:
    kwargs.setdefault("directions", ["maximize", "minimize"])
    return optuna.create_study(sampler=sampler or LatencyAwareSampler(space, ratio, seed), **kwargs)


def run(study, count, space=SPACE, ratio=RATIO, accuracy=toy_accuracy):
    """Ask and tell, one after the other; what was built."""
    built = []
    for _ in range(count):
        trial = study.ask()
        architecture = space.suggest(trial)
        study.tell(trial, [accuracy(architecture), ratio([architecture]).max()])
        built.append(architecture)
    return built


def params_of(study) -> list[dict]:
    return [trial.params for trial in study.get_trials(deepcopy=False)]


def keys_of(study) -> list[tuple]:
    return [tuple(params.items()) for params in params_of(study)]


def test_what_is_proposed_fits_is_new_and_is_in_the_space():
    built = run(study_of(), 24)
    assert len(set(built)) == 24
    assert RATIO(built).max() <= 1.0
    assert set(built) <= {selection.architecture for selection in every_selection(SPACE)}


def test_the_first_are_spread_over_the_ratios():
    ratio = np.sort(RATIO(run(study_of(), ENOUGH))[:, 0])
    assert ratio[0] < 0.25
    assert ratio[-1] > 0.95
    assert np.diff(ratio).max() < 0.25


@pytest.mark.slow
def test_it_searches_a_space_of_networks(tmp_path):
    space = tiny_space(tmp_path)

    def latency_ms(network) -> float:
        return sum(made_up_ms(block) for block in network.blocks(AT_64))

    rng = random.Random(0)
    limit_ms = float(np.median([latency_ms(space.sample(rng)) for _ in range(100)]))

    def ratio(networks) -> np.ndarray:
        return np.array([[latency_ms(network) / limit_ms] for network in networks])

    def accuracy(network) -> float:
        return 0.5 + network.depth / 100 + sum(s.ncb_width for s in network.stages) / 2000

    study = study_of(space, ratio)
    built = run(study, 25, space, ratio, accuracy)
    assert len({network.id for network in built}) == 25
    assert ratio(built).max() <= 1.0
    fitting = [a for a in (space.sample(rng) for _ in range(300)) if ratio([a])[0, 0] <= 1.0]
    assert max(map(accuracy, built)) >= max(map(accuracy, fitting))


def test_suggestions_for_the_best_network_use_more_of_the_limit():
    def highest_ratios(best_every: int, seed: int) -> np.ndarray:
        study = optuna.create_study(
            sampler=LatencyAwareSampler(SPACE, RATIO, seed, best_every=best_every),
            directions=["maximize", "minimize"],
        )
        return RATIO(run(study, ENOUGH + 12)[ENOUGH:])[:, 0]

    for seed in range(3):
        front, every_second, best = (highest_ratios(n, seed) for n in (0, 2, 1))
        assert best.mean() > every_second.mean() > front.mean()


def test_a_space_is_exhausted_without_repeats_then_values_are_random():
    study = study_of(SMALL, SMALL_RATIO)
    run(study, len(FITTING), SMALL, SMALL_RATIO)
    assert len(FITTING) > ENOUGH + 5
    assert set(keys_of(study)) == FITTING
    afterwards = run(study, 20, SMALL, SMALL_RATIO)
    assert len(set(afterwards)) > 5
    assert SMALL_RATIO(afterwards).max() > 1.0


def test_values_are_random_where_nothing_fits():
    built = run(study_of(ratio=shares(0.1)), ENOUGH + 3)
    assert len(set(built)) > 5


def test_a_space_of_one_is_proposed_over_and_over():
    def ratio(made):
        return np.full((len(made), 1), 0.5)

    assert run(study_of(One(), ratio), ENOUGH + 2, One(), ratio, float) == [7] * (ENOUGH + 2)


def test_the_seed_decides_what_is_proposed():
    first, again, other = study_of(seed=3), study_of(seed=3), study_of(seed=4)
    for study in (first, again, other):
        run(study, ENOUGH + 4)
    assert keys_of(first) == keys_of(again)
    assert len({*keys_of(first), *keys_of(other)}) > 1.5 * len(keys_of(first))


def test_queued_trials_get_their_values():
    study = study_of()
    wanted = [w.params for w in every_selection(SPACE)][5::300]
    for params in wanted[:4]:
        study.enqueue_trial(params)
    run(study, 4 + ENOUGH)
    for params in wanted[4:]:
        study.enqueue_trial(params)
    run(study, len(wanted))
    assert params_of(study)[:4] == wanted[:4]
    assert params_of(study)[4 + ENOUGH :][: len(wanted) - 4] == wanted[4:]
    assert len(set(keys_of(study))) == len(keys_of(study))


def test_what_a_queued_trial_leaves_open_is_random():
    study = study_of()
    for _ in range(12):
        study.enqueue_trial({"depth": 2, "s1.width": 64})
    built = run(study, 12)
    assert all(len(layers) == 2 and layers[0].width == 64 for layers in built)
    assert len(set(built)) > 6
    run(study, 5)


@pytest.mark.parametrize("trained", [0, ENOUGH + 2])
def test_parallel_workers_get_different_architectures(trained):
    study = study_of()
    before = run(study, trained)
    trials = [study.ask() for _ in range(10)]
    built = [SPACE.suggest(trial) for trial in trials]
    assert len({*built, *before}) == 10 + trained
    assert RATIO(built).max() <= 1.0
    for trial, layers in reversed(list(zip(trials, built, strict=True))):
        study.tell(trial, [toy_accuracy(layers), RATIO([layers])[0, 0]])
    after = run(study, 5)
    assert len({*after, *built, *before}) == 15 + trained


def test_several_threads_may_ask():
    study = study_of()

    def objective(trial):
        layers = SPACE.suggest(trial)
        return toy_accuracy(layers), RATIO([layers])[0, 0]

    study.optimize(objective, n_trials=16, n_jobs=3)
    assert len(study.get_trials(states=[TrialState.COMPLETE])) == 16


def test_all_of_a_space_may_be_asked_for_at_once():
    study = study_of(SMALL, SMALL_RATIO)
    run(study, ENOUGH, SMALL, SMALL_RATIO)
    for _ in range(len(FITTING) - ENOUGH):
        SMALL.suggest(study.ask())
    assert set(keys_of(study)) == FITTING


def test_pending_architectures_count_by_their_expected_score(monkeypatch):
    sizes = []

    def recorded(mean, deviation, ratio, front, reference):
        sizes.append(len(front[0]))
        return expected_gain(mean, deviation, ratio, front, reference)

    monkeypatch.setattr(latency_aware, "expected_gain", recorded)
    study = study_of()
    run(study, ENOUGH)
    for _ in range(3):
        SPACE.suggest(study.ask())
    assert list(dict.fromkeys(sizes)) == [
        ENOUGH,
        ENOUGH + 1,
        ENOUGH + 2,
    ]


def test_a_whole_space_may_be_queued_in_part():
    study = study_of(SMALL, SMALL_RATIO)
    for selection in sorted(FITTING)[::3]:
        study.enqueue_trial(dict(selection))
    run(study, len(FITTING), SMALL, SMALL_RATIO)
    assert len(set(keys_of(study))) == len(FITTING)


def test_a_first_objective_may_be_an_error_to_minimise():
    one = study_of(directions=["maximize"])
    other = study_of(directions=["minimize"])
    for study, sign in ((one, 1.0), (other, -1.0)):
        for _ in range(ENOUGH + 4):
            trial = study.ask()
            study.tell(trial, sign * toy_accuracy(SPACE.suggest(trial)))
    assert keys_of(one) == keys_of(other)


def test_what_diverged_or_failed_is_not_proposed_again():
    study = study_of(SMALL, SMALL_RATIO)
    states = [TrialState.PRUNED, TrialState.FAIL, TrialState.COMPLETE]
    for number in range(len(FITTING)):
        trial = study.ask()
        layers = SMALL.suggest(trial)
        state = states[number % 3] if number < 6 else TrialState.COMPLETE
        values = [toy_accuracy(layers), SMALL_RATIO([layers])[0, 0]]
        study.tell(trial, values if state == TrialState.COMPLETE else None, state=state)
    assert set(keys_of(study)) == FITTING


def test_nothing_but_failures_is_no_failure():
    study = study_of()
    for number in range(ENOUGH + 4):
        trial = study.ask()
        if number % 3:  # others fail before they have a value
            SPACE.suggest(trial)
        study.tell(trial, state=TrialState.PRUNED if number % 2 else TrialState.FAIL)
    built = [params for params in params_of(study) if params]
    assert len({tuple(params.items()) for params in built}) == len(built)
    run(study, ENOUGH + 2)


def test_equal_accuracies_stop_nothing():
    built = run(study_of(), ENOUGH + 6, accuracy=lambda _: 0.1)
    assert len(set(built)) == ENOUGH + 6
    assert RATIO(built).max() <= 1.0


def test_a_queued_architecture_may_be_over_the_limit():
    study = study_of()
    slowest = max(every_selection(SPACE), key=lambda selection: toy_latency(selection.architecture))
    study.enqueue_trial(slowest.params)
    built = run(study, ENOUGH + 6)
    assert RATIO(built[:1])[0, 0] > 1.5
    assert RATIO(built[1:]).max() <= 1.0


@pytest.mark.slow
def test_a_study_in_a_database_is_continued(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    study = study_of(storage=storage, study_name="toy")
    fastest = min(every_selection(SPACE), key=lambda selection: toy_latency(selection.architecture))
    study.enqueue_trial(fastest.params)
    before = run(study, ENOUGH + 1)
    again = optuna.load_study(
        study_name="toy", storage=storage, sampler=LatencyAwareSampler(SPACE, RATIO, 0)
    )
    after = run(again, 2)
    assert before[0] == fastest.architecture
    assert len({*before, *after}) == ENOUGH + 3
    assert RATIO([*before, *after]).max() <= 1.0
    kept = study.get_trials()
    assert [SPACE.build_from(trial.params) for trial in kept] == [*before, *after]


def test_the_limits_of_two_devices_are_kept():
    built = run(study_of(ratio=two_devices), ENOUGH + 12, ratio=two_devices)
    assert len(set(built)) == ENOUGH + 12
    assert two_devices(built).max() <= 1.0
    best = max(
        toy_accuracy(selection.architecture)
        for selection in every_selection(SPACE)
        if two_devices([selection.architecture]).max() <= 1.0
    )
    assert max(map(toy_accuracy, built)) > best - 0.03


def _area(layers) -> float:
    return hypervolume([toy_accuracy(a) for a in layers], RATIO(layers)[:, 0], (0.3, 1.0))


@pytest.mark.slow
def test_it_finds_far_better_fronts_than_chance():
    fitting = [w.architecture for w in every_selection(SPACE) if toy_latency(w.architecture) <= 2.5]
    most = _area(fitting)
    missing = [most - _area(run(study_of(seed=seed), 24)) for seed in range(3)]
    by_chance = [most - _area(random.Random(seed).sample(fitting, 24)) for seed in range(10)]
    assert max(missing) < 0.5 * min(by_chance)
    assert np.mean(missing) < 0.3 * np.mean(by_chance)


def test_a_queued_architecture_may_break_a_limit_infinitely():
    def ratio(made):
        return np.where([[len(layers) == 3] for layers in made], np.inf, RATIO(made))

    study = study_of(ratio=ratio)
    study.enqueue_trial(max(every_selection(SPACE), key=lambda w: len(w.params)).params)
    for _ in range(ENOUGH + 2):
        trial = study.ask()
        study.tell(trial, [toy_accuracy(SPACE.suggest(trial)), 1.0])


def test_a_trial_seen_while_another_process_suggests_it_is_not_taken_for_another():
    study = study_of(SMALL, SMALL_RATIO, storage=optuna.storages.InMemoryStorage())
    other_process = optuna.load_study(
        study_name=study.study_name,
        storage=study._storage,
        sampler=LatencyAwareSampler(SMALL, SMALL_RATIO, 1),
    )
    slow = study.ask()
    slow.suggest_categorical("depth", (1, 2))
    run(other_process, 1, SMALL, SMALL_RATIO)
    study.tell(slow, [toy_accuracy(SMALL.suggest(slow)), 0.5])
    run(other_process, len(FITTING) - 2, SMALL, SMALL_RATIO)
    assert len(set(keys_of(study))) == len(FITTING)


def test_a_queued_trial_that_was_asked_for_is_not_proposed_again():
    study = study_of(SMALL, SMALL_RATIO)
    best = max(FITTING, key=lambda selection: toy_accuracy(SMALL.build_from(dict(selection))))
    study.enqueue_trial(dict(best))
    slow = study.ask()
    run(study, len(FITTING) - 1, SMALL, SMALL_RATIO)
    study.tell(slow, [toy_accuracy(SMALL.suggest(slow)), 0.5])
    assert len(set(keys_of(study))) == len(FITTING)


def test_choices_made_before_either_is_drawn_differ():
    """As threads of ``study.optimize(n_jobs=2)`` may."""
    study = study_of(SMALL, SMALL_RATIO)
    for _ in range(len(FITTING) // 2):
        pair = [study.ask(), study.ask()]
        assert all(trial.relative_params for trial in pair)  # chosen, nothing drawn
        for trial in pair:
            study.tell(trial, [toy_accuracy(SMALL.suggest(trial)), 0.5])
    assert len(set(keys_of(study))) == len(FITTING) // 2 * 2


def test_a_first_parameter_of_one_choice_hides_nothing():
    """Optuna draws a single choice before it asks the sampler."""
    space, ratio = Toy(1), shares(9.0)  # its depth is 1
    study = study_of(space, ratio)
    run(study, len(list(every_selection(space))), space, ratio)
    assert set(keys_of(study)) == {key(selection) for selection in every_selection(space)}


@pytest.mark.slow
def test_any_loop_may_ask_it_and_it_learns_as_much_from_what_stopped_at_a_rung():
    """All but the first stop there, 30 points of accuracy short."""

    def found(seed: int, rungs: bool) -> float:
        sampler = LatencyAware(SPACE, RATIO, seed)
        observations: list[Observation] = []
        built = []
        for number in range(30):
            suggested = sampler.suggest(observations)
            score = toy_accuracy(suggested.architecture)
            at_rung = rungs and number > 0
            group, loss = (-1, 0.3) if at_rung else (0, 0.0)
            observations.append(Observation(suggested.params, score - loss, group))
            built.append(suggested.architecture)
        assert len(set(built)) == 30
        return _area(built)

    in_rungs, in_full = (
        np.mean([found(seed, rungs) for seed in (0, 1)]) for rungs in (True, False)
    )
    assert in_rungs == pytest.approx(in_full, abs=0.015)
    assert in_rungs > 0.26  # 30 random ones that fit cover 0.19 to 0.25


def test_with_a_prior_it_begins_as_without_and_then_trains_the_best_that_others_found():
    rng = random.Random(5)
    selections = [w for w in every_selection(SPACE) if RATIO([w.architecture]).max() <= 1.0]
    best = max(selections, key=lambda w: toy_accuracy(w.architecture))
    chosen = [best, *rng.sample(selections, 15)]
    prior = [Observation(dict(w.params), 0.5 * toy_accuracy(w.architecture), 1) for w in chosen]
    study = study_of(sampler=LatencyAwareSampler(SPACE, RATIO, 0, prior, best_every=1))
    built = run(study, ENOUGH + 6)
    assert built[:ENOUGH] == run(study_of(), ENOUGH)
    assert best.architecture in built[ENOUGH:]
