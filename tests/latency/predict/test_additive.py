"""The additive model against closed forms and on networks whose coefficients are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from nas.latency.predict.additive import AdditiveModel, fit_additive, leave_one_out


def noisy(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.uniform(0.5, 3.0, (40, 4))
    return features, (features @ [1.0, 2.0, 0.5, 3.0] + 4) * rng.uniform(0.8, 1.2, 40)


def test_predicts_constant_and_products() -> None:
    model = AdditiveModel(1.5, np.array([2.0, 3.0]))
    assert model.predict([[1, 0], [2, 4]]).tolist() == [3.5, 17.5]


@pytest.mark.parametrize("robust", [False, True])
def test_recovers_known_coefficients(robust: bool) -> None:
    features = np.random.default_rng(1).uniform(0, 2, (30, 3))
    latency_ms = features @ [1.0, 5.0, 0.2] + 7
    model = fit_additive(features, latency_ms, ridge=0.0, robust=robust)
    assert model.coefficients == pytest.approx([1.0, 5.0, 0.2], rel=1e-8)
    assert model.constant_ms == pytest.approx(7, rel=1e-8)


def test_is_weighted_least_squares_without_a_ridge() -> None:
    features, latency_ms = noisy()
    design = np.column_stack([features, np.ones(40)]) / latency_ms[:, None]
    expected = np.linalg.lstsq(design, np.ones(40))[0]
    model = fit_additive(features, latency_ms, ridge=0.0)
    assert [*model.coefficients, model.constant_ms] == pytest.approx(expected)


def test_minimises_the_documented_objective() -> None:
    features, latency_ms = noisy()
    prior, ridge = np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.1, 0.0, 2.0, 0.5])
    effect = np.append(np.abs(features / latency_ms[:, None]).mean(0), (1 / latency_ms).mean())

    def objective(c: np.ndarray) -> float:
        error = (features @ c[:-1] + c[-1]) / latency_ms - 1
        pull = np.append(ridge * (c[:-1] - prior), 0.3 * c[-1]) * effect
        return float((error**2).mean() + (pull**2).sum())

    best = minimize(objective, np.ones(5), method="BFGS", options={"gtol": 1e-10}).x
    model = fit_additive(features, latency_ms, prior=prior, ridge=ridge, constant_ridge=0.3)
    assert [*model.coefficients, model.constant_ms] == pytest.approx(best, abs=1e-5)


def test_a_strong_ridge_keeps_the_prior() -> None:
    features, latency_ms = noisy()
    prior = [1.0, 0.0, 4.0, 2.0]
    model = fit_additive(features, latency_ms, prior=prior, ridge=1e5, constant_ridge=1e5)
    assert model.coefficients == pytest.approx(prior, abs=1e-4)
    assert model.constant_ms == pytest.approx(0, abs=1e-4)


def test_a_feature_that_never_occurs_stays_at_its_prior() -> None:
    features, latency_ms = noisy()
    features[:, 2] = 0
    model = fit_additive(features, latency_ms, prior=[0, 0, 9.0, 0], ridge=0.0)
    assert model.coefficients[2] == 9.0


def test_one_hot_operators_add_up_though_their_columns_are_dependent() -> None:
    rng = np.random.default_rng(2)
    operators = rng.integers(0, 3, (200, 4))
    features = np.eye(3)[operators].reshape(200, 12)
    latency_ms = features @ rng.uniform(0.5, 4, 12) + 2
    model = fit_additive(features, latency_ms, ridge=1e-5)
    assert model.predict(features) == pytest.approx(latency_ms, rel=1e-5)


def test_units_scale_with_the_latencies_and_the_features() -> None:
    features, latency_ms = noisy()
    model = fit_additive(features, latency_ms, ridge=0.1, robust=True)
    micro = fit_additive(features * 7, latency_ms * 1000, ridge=0.1, robust=True)
    assert micro.coefficients == pytest.approx(model.coefficients * 1000 / 7)
    assert micro.constant_ms == pytest.approx(model.constant_ms * 1000)


def test_a_robust_fit_withstands_wild_measurements() -> None:
    rng = np.random.default_rng(3)
    features = rng.uniform(0.5, 3, (300, 3))
    true_ms = features @ [1.0, 2.0, 3.0] + 4
    measured_ms = true_ms * rng.normal(1, 0.01, 300)
    measured_ms[:10] = 0.001
    measured_ms[10:20] *= 5
    robust = fit_additive(features, measured_ms, robust=True)
    assert robust.predict(features) == pytest.approx(true_ms, rel=0.02)
    plain = fit_additive(features, measured_ms)
    assert np.abs(plain.predict(features) / true_ms - 1).mean() > 0.2


@pytest.mark.parametrize(
    ("features", "latency_ms", "message"),
    [
        (np.ones(3), np.ones(3), "shape"),
        (np.ones((3, 2)), np.ones(4), "shape"),
        (np.ones((0, 2)), np.ones(0), "shape"),
        (np.ones((3, 2)), np.array([1.0, 0.0, 2.0]), "above zero"),
        (np.ones((3, 2)), np.array([1.0, np.nan, 2.0]), "finite"),
        (np.full((3, 2), np.inf), np.ones(3), "finite"),
    ],
)
def test_refuses_what_cannot_be_fitted(
    features: np.ndarray, latency_ms: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_additive(features, latency_ms)


@pytest.mark.parametrize("ridge", [0.0, 0.02])
def test_leaving_one_out_is_a_fit_to_all_others(ridge):
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.uniform(1, 9, 12), rng.integers(0, 5, 12), np.zeros(12)])
    features[4, 2] = 3.0  # a feature that one network alone has
    measured = features @ [1.1, 0.2, 0.1] + rng.uniform(0.2, 0.4, 12)
    settings = {"prior": (1.0, 0.0, 0.0), "ridge": ridge, "constant_ridge": ridge}
    predicted = leave_one_out(features, measured, **settings)
    for index in range(len(measured)):
        others = np.arange(len(measured)) != index
        model = fit_additive(features[others], measured[others], **settings)
        assert predicted[index] == pytest.approx(model.predict(features[index]), rel=1e-9)


def test_leaving_out_the_only_one_is_refused():
    with pytest.raises(ValueError, match="at least two"):
        leave_one_out([[1.0]], [1.0])
