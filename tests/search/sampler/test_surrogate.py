"""The posterior against an explicit inverse of kernels written out, and what it learns."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.optimize import approx_fprime, check_grad
from scipy.stats import kendalltau, multivariate_normal, norm

import nas.search.sampler.surrogate as surrogate_module
from nas.search.sampler.encoding import Encoder
from nas.search.sampler.surrogate import (
    PRIOR_LOG,
    PRIOR_SPREAD,
    Hyperparameters,
    ScoreSurrogate,
    _distances,
    _log_loss,
)
from nas.space.parameter_space import Selection, biased
from tests.toy import Layer, Toy, every_selection, toy_accuracy, toy_latency

THETA = np.log([0.8, 1.3, 0.4, 0.7, 0.02])
ALONE = Hyperparameters((0,), THETA)
"""Where all were trained alike."""


def sampled(count: int, seed: int = 0, places: int = 3) -> list[Selection[tuple[Layer, ...]]]:
    """Different random selections."""
    space, rng = Toy(places), random.Random(seed)
    found: dict[tuple[Layer, ...], Selection[tuple[Layer, ...]]] = {}
    while len(found) < count:
        selection = space.select(biased(rng))
        found[selection.architecture] = selection
    return list(found.values())


def ratios(selections) -> np.ndarray:
    return np.array([[toy_latency(selection.architecture)] for selection in selections])


def accuracies(selections) -> np.ndarray:
    return np.array([toy_accuracy(selection.architecture) for selection in selections])


def covariance(left, right, left_ratio, right_ratio, known, known_ratio, theta) -> np.ndarray:
    """Sum of a constant, a linear kernel, a kernel that counts equal values, and a Gaussian one."""
    encoder = Encoder(known)

    def raw(selections, ratio):
        return np.array(
            [
                [*np.log(row), *encoder.encode([selection]).shared[0]]
                for selection, row in zip(selections, ratio, strict=True)
            ]
        )

    base = raw(known, known_ratio)
    varies = base.std(axis=0) > 1e-9
    center, spread = base.mean(axis=0)[varies], base.std(axis=0)[varies]
    trends = [
        (raw(selections, ratio)[:, varies] - center) / spread / math.sqrt(base.shape[1])
        for selections, ratio in ((left, left_ratio), (right, right_ratio))
    ]
    ranks = [encoder.encode(selections).ranks for selections in (left, right)]
    found = np.empty((len(left), len(right)))
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            linear = sum(trends[0][i] * trends[1][j])
            mine = {name.split("@")[0]: value for name, value in one.params.items()}
            its = {name.split("@")[0]: value for name, value in other.params.items()}
            equal = sum(its.get(name) == value for name, value in mine.items())
            squared = sum((trends[0][i] - trends[1][j]) ** 2)
            squared += 4 * sum((ranks[0][i] - ranks[1][j]) ** 2) / encoder.fields
            near = math.exp(-0.5 * squared / math.exp(theta[3]) ** 2)
            shares = np.exp(theta[:3])
            found[i, j] = 10.0 + shares @ [linear, equal / encoder.fields, near]
    return found


@pytest.mark.parametrize("devices", [1, 2])
def test_the_posterior_is_that_of_the_documented_kernels(devices):
    selections = sampled(40)
    known, new = selections[:25], selections[25:]
    known_ratio, new_ratio = (
        np.hstack([ratios(w), ratios(w) ** 1.5 + 0.3][:devices]) for w in (known, new)
    )
    accuracy = accuracies(known) + np.random.default_rng(0).normal(0, 0.01, 25)
    fitted = ScoreSurrogate(known, known_ratio, accuracy, ALONE, refit=False)
    mean, deviation = fitted.predict(new, new_ratio)

    k = covariance(known, known, known_ratio, known_ratio, known, known_ratio, THETA)
    cross = covariance(new, known, new_ratio, known_ratio, known, known_ratio, THETA)
    own = covariance(new, new, new_ratio, new_ratio, known, known_ratio, THETA)
    inverse = np.linalg.inv(k + (math.exp(THETA[4]) + 1e-6) * np.eye(25))
    target = (accuracy - accuracy.mean()) / accuracy.std()
    np.testing.assert_allclose(
        mean, accuracy.mean() + accuracy.std() * cross @ inverse @ target, rtol=1e-7
    )
    variance = np.diag(own - cross @ inverse @ cross.T)
    np.testing.assert_allclose(deviation, accuracy.std() * np.sqrt(variance), rtol=1e-5)


def loss(theta, distances, target):
    """The loss where there is one group."""
    return _log_loss(theta, distances, target, Hyperparameters.prior((0,)))[0]


def _loss_arguments(count: int = 25):
    known = sampled(count)
    fitted = ScoreSurrogate(known, ratios(known), accuracies(known), ALONE, refit=False)
    return _distances(fitted._features, fitted._features), fitted._target, fitted


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("shift", [0.0, -1.0, 0.8])
def test_the_gradient_of_the_loss_is_that_of_finite_differences(shift, groups):
    known = sampled(25)
    kinds = [number % groups for number in range(25)]
    fitted = ScoreSurrogate(known, ratios(known), accuracies(known), None, False, kinds)
    prior = Hyperparameters.prior(fitted.hyperparameters.groups)
    arguments = (_distances(fitted._features, fitted._features), fitted._target, prior)
    theta = np.append(THETA, [0.4, -2.0, -0.6, -3.0][: 2 * (groups - 1)])
    theta += shift * np.resize([1, -1, 1, 0.5, 1], len(theta))

    def loss(at):
        return _log_loss(at, *arguments)[0]

    def slope(at):
        return _log_loss(at, *arguments)[1]

    size = np.linalg.norm(approx_fprime(theta, loss))
    assert check_grad(loss, slope, theta) < 1e-4 * max(1.0, size)


def test_the_loss_is_the_negative_log_posterior_up_to_a_constant():
    distances, target, fitted = _loss_arguments()

    def log_posterior(theta):
        fitted.hyperparameters = Hyperparameters((0,), theta)
        k = fitted._covariance(distances) + (math.exp(theta[4]) + 1e-6) * np.eye(len(target))
        likelihood = multivariate_normal(np.zeros(len(target)), k).logpdf(target)
        return likelihood + norm(PRIOR_LOG, PRIOR_SPREAD).logpdf(theta).sum()

    others = [THETA + 0.5, PRIOR_LOG, THETA * 1.2]
    for theta in others:
        difference = loss(theta, distances, target) - loss(THETA, distances, target)
        assert difference == pytest.approx(log_posterior(THETA) - log_posterior(theta), rel=1e-6)


def test_fitting_lowers_the_loss():
    distances, target, _ = _loss_arguments()
    known = sampled(25)
    fitted = ScoreSurrogate(known, ratios(known), accuracies(known))
    found = loss(fitted.hyperparameters.theta, distances, target)
    assert found < loss(PRIOR_LOG, distances, target)
    assert found < loss(THETA, distances, target)


def test_data_without_noise_are_met_and_what_is_unknown_is_unsure():
    selections = sampled(60)
    known, new = selections[:20], selections[20:]
    theta = THETA.copy()
    theta[4] = math.log(1e-9)
    exact = Hyperparameters((0,), theta)
    fitted = ScoreSurrogate(known, ratios(known), accuracies(known), exact, refit=False)
    mean, deviation = fitted.predict(known, ratios(known))
    np.testing.assert_allclose(mean, accuracies(known), atol=1e-4)
    assert deviation.max() < 2e-3 * accuracies(known).std()
    _, far_away = fitted.predict(new, ratios(new))
    assert far_away.min() > 10 * deviation.max()


@pytest.mark.parametrize("seed", [0, 1])
def test_it_learns_an_additive_function_better_than_a_line_over_latency(seed):
    everything = list(every_selection(Toy()))
    random.Random(seed).shuffle(everything)
    known, new = everything[:50], everything[50:600]
    noise = np.random.default_rng(seed).normal(0, 0.01, len(known))
    fitted = ScoreSurrogate(known, ratios(known), accuracies(known) + noise)
    mean, deviation = fitted.predict(new, ratios(new))
    line = np.polyfit(np.log(ratios(known)[:, 0]), accuracies(known) + noise, 1)
    by_line = np.polyval(line, np.log(ratios(new)[:, 0]))
    tau = kendalltau(mean, accuracies(new)).statistic
    assert tau > 0.9
    assert tau > kendalltau(by_line, accuracies(new)).statistic + 0.2
    errors = np.abs(mean - accuracies(new)) / deviation
    assert np.mean(errors < 2) > 0.85


def test_predictions_follow_the_scale_of_accuracy_and_not_the_unit_of_latency():
    selections = sampled(40)
    known, new = selections[:25], selections[25:]
    accuracy = accuracies(known)
    base = ScoreSurrogate(known, ratios(known), accuracy)
    mean, deviation = base.predict(new, ratios(new))
    other = ScoreSurrogate(known, 1000 * ratios(known), 100 * accuracy - 7)
    other_mean, other_deviation = other.predict(new, 1000 * ratios(new))
    np.testing.assert_allclose(other_mean, 100 * mean - 7, rtol=1e-3)
    np.testing.assert_allclose(other_deviation, 100 * deviation, rtol=1e-2)


def test_the_order_of_observations_does_not_matter():
    selections = sampled(40)
    known, new = selections[:25], selections[25:]
    fitted = [
        ScoreSurrogate(part, ratios(part), accuracies(part), ALONE, refit=False)
        for part in (known, known[::-1])
    ]
    one, other = (np.array(f.predict(new, ratios(new))) for f in fitted)
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_two_observations_are_enough():
    known, new = sampled(10)[:2], sampled(10)[2:]
    mean, deviation = ScoreSurrogate(known, ratios(known), [0.3, 0.6]).predict(new, ratios(new))
    assert np.all(np.isfinite(mean))
    assert np.all(deviation > 0)


def test_the_same_architecture_may_be_observed_twice():
    selection, *new = sampled(5)
    twice = [selection, selection]
    fitted = ScoreSurrogate(twice, ratios(twice), [0.4, 0.6])
    mean, deviation = fitted.predict([selection], ratios([selection]))
    assert mean[0] == pytest.approx(0.5, abs=1e-6)
    assert np.all(deviation > 0)
    assert np.all(np.isfinite(fitted.predict(new, ratios(new))))


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7])
def test_equal_accuracies_are_predicted_for_everything(value):
    selections = sampled(20)
    known, new = selections[:7], selections[7:]
    fitted = ScoreSurrogate(known, ratios(known), [value] * 7)
    mean, deviation = fitted.predict(new, ratios(new))
    np.testing.assert_allclose(mean, value, atol=1e-9)
    assert np.all(deviation > 0)


def test_hyperparameters_are_kept_unless_they_are_to_be_refitted():
    known = sampled(25)
    kept = ScoreSurrogate(known, ratios(known), accuracies(known), ALONE, refit=False)
    np.testing.assert_array_equal(kept.hyperparameters.theta, THETA)
    first = ScoreSurrogate(known, ratios(known), accuracies(known), refit=False)
    np.testing.assert_array_equal(first.hyperparameters.theta, PRIOR_LOG)
    others = ScoreSurrogate(
        known, ratios(known), accuracies(known), ALONE, refit=False, groups=[7] * 20 + [0] * 5
    )
    assert others.hyperparameters.groups == (7, 0)  # chosen, as what was given is of other groups
    before = THETA.copy()
    refitted = ScoreSurrogate(known, ratios(known), accuracies(known), ALONE)
    assert not np.allclose(refitted.hyperparameters.theta, THETA)
    np.testing.assert_array_equal(THETA, before)
    within = np.abs(refitted.hyperparameters.theta - PRIOR_LOG) <= 4 * PRIOR_SPREAD + 1e-12
    assert np.all(within)


def test_more_expected_noise_smooths_more():
    known = sampled(20)
    observed = accuracies(known)

    def off(noise):
        fitted = ScoreSurrogate(known, ratios(known), observed, refit=False, noise=noise)
        return np.abs(fitted.predict(known, ratios(known))[0] - observed).mean()

    assert off(1e-4) < off(0.01) < off(0.3)
    chosen = ScoreSurrogate(known, ratios(known), observed, noise=0.3).hyperparameters.noise
    assert chosen[0] > ScoreSurrogate(known, ratios(known), observed).hyperparameters.noise[0]


def test_many_observations_choose_hyperparameters_from_some_of_them(monkeypatch):
    monkeypatch.setattr(surrogate_module, "MOST_FOR_HYPERPARAMETERS", 20)
    sizes = []

    def recorded(theta, distances, target, prior):
        sizes.append((distances.trend.shape, len(target)))
        return _log_loss(theta, distances, target, prior)

    monkeypatch.setattr(surrogate_module, "_log_loss", recorded)
    known = sampled(60)
    fitted = ScoreSurrogate(known, ratios(known), accuracies(known))
    assert set(sizes) == {((20, 20), 20)}
    mean, _ = fitted.predict(known, ratios(known))
    assert kendalltau(mean, accuracies(known)).statistic > 0.9


def test_nothing_to_predict_gives_nothing():
    known = sampled(5)
    mean, deviation = ScoreSurrogate(known, ratios(known), accuracies(known)).predict(
        [], np.empty((0, 1))
    )
    assert mean.shape == deviation.shape == (0,)


@pytest.mark.parametrize(
    ("factor", "level", "noise"),
    [(1.0, -0.3, 0.0), (1.0, 30.0, 0.0), (0.3, 5.0, 0.01), (3.0, 0.0, 0.05)],
)
def test_a_group_counts_by_its_differences(factor, level, noise):
    """Another training has another mean, smaller or larger differences, and its own noise."""
    selections = list(every_selection(Toy()))[::7]
    ratio = np.array([[toy_latency(selection.architecture)] for selection in selections])
    truth = np.array([toy_accuracy(selection.architecture) for selection in selections])
    rng = random.Random(0)
    order = rng.sample(range(len(selections)), len(selections))
    other, here, unseen = order[:40], order[40:52], order[52:]
    known = other + here
    other_run = [level + factor * truth[i] + rng.gauss(0.0, noise) for i in other]
    accuracy = np.append(other_run, truth[here])

    def tau(used: slice) -> float:
        groups = ([1] * len(other) + [0] * len(here))[used]
        chosen = known[used]
        surrogate = ScoreSurrogate(
            [selections[i] for i in chosen], ratio[chosen], accuracy[used], groups=groups
        )
        mean, _ = surrogate.predict([selections[i] for i in unseen], ratio[unseen])
        return float(kendalltau(mean, truth[unseen]).statistic)

    both, alone = tau(slice(None)), tau(slice(40, None))
    assert both > alone + 0.05
    assert both > tau(slice(40)) - 0.03


def test_predictions_are_for_the_largest_group():
    known = sampled(30)
    values = accuracies(known) + np.where(np.arange(30) < 20, 10.0, 0.0)
    groups = [2] * 20 + [0] * 10
    surrogate = ScoreSurrogate(known, ratios(known), values, groups=groups)
    mean, _ = surrogate.predict(known, ratios(known))
    assert surrogate.group == 2
    np.testing.assert_allclose(mean[:20], values[:20], atol=0.05)
    np.testing.assert_allclose(mean[20:], values[20:] + 10.0, atol=0.1)
