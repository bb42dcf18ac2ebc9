"""Ridge against scikit-learn, himalaya and a double loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from himalaya.backend import set_backend
from himalaya.ridge import RidgeCV as HimalayaRidgeCV
from himalaya.scoring import correlation_score, r2_score
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneGroupOut

from braindec.maths import folds as fold_rules
from braindec.maths.factors import factorise
from braindec.maths.reduced_rank import fit_reduced_rank
from braindec.maths.ridge import (
    cross_validate,
    fit_ridge,
    held_out_predictions,
    ridge_path,
    ridge_predict,
    solve,
)

ALPHAS = np.logspace(-2, 4, 7)


def planted(rng, n, p, q, noise=3.0):
    x = rng.standard_normal((n, p)) @ np.diag(np.linspace(2, 0.2, p)) + 1.5
    y = x @ rng.standard_normal((p, q)) + noise * rng.standard_normal((n, q)) + 4.0
    return x, y


def as_tensors(*arrays):
    return tuple(torch.from_numpy(a) for a in arrays)


@pytest.mark.parametrize("shape", [(60, 12), (30, 50), (40, 40)])
def test_weights_equal_sklearns_ridge(rng, shape):
    x, y = planted(rng, *shape, 5)
    fit = fit_ridge(*as_tensors(x, y), [3.0])
    expected = Ridge(alpha=3.0).fit(x, y)
    np.testing.assert_allclose(fit.weights.T, expected.coef_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(fit.intercept, expected.intercept_, rtol=1e-8)
    np.testing.assert_allclose(ridge_predict(torch.from_numpy(x), fit), expected.predict(x), rtol=1e-8)


@pytest.mark.parametrize("shape", [(60, 12), (30, 50)])
def test_the_penalty_chosen_for_all_targets_equals_sklearns_grid_search(rng, shape):
    x, y = planted(rng, *shape, 4)
    fit = fit_ridge(*as_tensors(x, y), ALPHAS, fold_rules.folds_by_count(len(x), 5), score="neg_mse")
    search = GridSearchCV(Ridge(), {"alpha": ALPHAS}, cv=KFold(5), scoring="neg_mean_squared_error").fit(x, y)
    np.testing.assert_allclose(fit.cv_scores.mean(1), search.cv_results_["mean_test_score"], rtol=1e-8)
    np.testing.assert_allclose(fit.alpha, search.best_params_["alpha"])
    np.testing.assert_allclose(fit.weights.T, search.best_estimator_.coef_, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("shape", [(45, 10), (25, 60)])
def test_leave_one_out_equals_sklearns_closed_form_per_target(rng, shape):
    x, y = planted(rng, *shape, 6)
    fit = fit_ridge(*as_tensors(x, y), ALPHAS, "loo", per_target=True, score="neg_mse")
    expected = RidgeCV(alphas=ALPHAS, alpha_per_target=True).fit(x, y)
    np.testing.assert_allclose(fit.alpha, expected.alpha_)
    np.testing.assert_allclose(fit.weights.T, expected.coef_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("score", ["r2", "correlation"])
@pytest.mark.parametrize("shape", [(80, 15), (40, 70)])
def test_scores_per_target_equal_himalayas(rng, score, shape):
    x, y = planted(rng, *shape, 6)
    backend = set_backend("torch")
    options = {"score_func": {"r2": r2_score, "correlation": correlation_score}[score], "warn": False}
    model = HimalayaRidgeCV(alphas=ALPHAS, fit_intercept=True, cv=KFold(4), solver_params=options)
    model.fit(*as_tensors(x, y))
    fit = fit_ridge(
        *as_tensors(x, y), ALPHAS, fold_rules.folds_by_count(len(x), 4), per_target=True, score=score
    )
    best = fit.cv_scores.amax(0)
    np.testing.assert_allclose(best, backend.to_numpy(model.cv_scores_).reshape(-1), rtol=1e-6)
    np.testing.assert_allclose(fit.alpha, backend.to_numpy(model.best_alphas_), rtol=1e-5)
    np.testing.assert_allclose(fit.weights, backend.to_numpy(model.coef_), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(50, 8), (24, 40)])
def test_held_out_predictions_equal_refits_in_a_loop(rng, shape):
    x, y = planted(rng, *shape, 3)
    groups = rng.integers(0, 4, len(x))
    factors = factorise(torch.from_numpy(x), fold_rules.folds_by_group(groups))
    found = held_out_predictions(factors, torch.from_numpy(y), 2.5)
    for train, test in LeaveOneGroupOut().split(x, y, groups):
        expected = Ridge(alpha=2.5).fit(x[train], y[train]).predict(x[test])
        np.testing.assert_allclose(found[test], expected, rtol=1e-7)


@pytest.mark.parametrize("shape", [(50, 8), (24, 40)])
def test_leave_one_out_predictions_equal_refits_in_a_loop(rng, shape):
    x, y = planted(rng, *shape, 3)
    found = held_out_predictions(factorise(torch.from_numpy(x), "loo"), torch.from_numpy(y), 2.5)
    for row in range(0, len(x), 5):
        kept = np.arange(len(x)) != row
        expected = Ridge(alpha=2.5).fit(x[kept], y[kept]).predict(x[[row]])[0]
        np.testing.assert_allclose(found[row], expected, rtol=1e-7)


def test_a_path_is_a_ridge_at_every_penalty(rng):
    x, y = planted(rng, 40, 9, 3)
    weights, intercepts = ridge_path(*as_tensors(x, y), ALPHAS)
    for i, alpha in enumerate(ALPHAS):
        expected = Ridge(alpha=alpha).fit(x, y)
        np.testing.assert_allclose(weights[i].T, expected.coef_, rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(intercepts[i], expected.intercept_, rtol=1e-7)


def test_a_scorer_of_the_callers_sees_predictions_and_truth_of_each_fold(rng):
    x, y = planted(rng, 60, 10, 5)
    factors = factorise(torch.from_numpy(x), fold_rules.folds_by_count(60, 3))
    by_name = cross_validate(factors, torch.from_numpy(y), ALPHAS, score="neg_mse")
    by_function = cross_validate(
        factors, torch.from_numpy(y), ALPHAS, score=lambda p, t: -(p - t).square().mean(0)
    )
    torch.testing.assert_close(by_name, by_function)
    one_number = cross_validate(
        factors, torch.from_numpy(y), ALPHAS, score=lambda p, t: -(p - t).square().mean()
    )
    torch.testing.assert_close(by_name.mean(1), one_number)


def test_float32_agrees_with_float64(rng):
    x, y = planted(rng, 300, 40, 8)
    rules = fold_rules.folds_by_count(300, 3)
    single = fit_ridge(*(t.float() for t in as_tensors(x, y)), ALPHAS, rules, per_target=True)
    double = fit_ridge(*as_tensors(x, y), ALPHAS, rules, per_target=True)
    torch.testing.assert_close(single.cv_scores.double(), double.cv_scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(single.weights.double(), double.weights, rtol=1e-3, atol=1e-4)


def test_many_pairings_solved_at_once_equal_fits_one_by_one(rng):
    x, y = as_tensors(*planted(rng, 40, 60, 3))
    rules = fold_rules.folds_by_count(40, 4)
    factors = factorise(x, rules)
    orders = [torch.from_numpy(rng.permutation(40)) for _ in range(3)]
    together = solve(factors, torch.cat([y[order] for order in orders], 1), ALPHAS, per_target=True)
    for i, order in enumerate(orders):
        alone = fit_ridge(x, y[order], ALPHAS, rules, per_target=True)
        torch.testing.assert_close(together.weights[:, 3 * i : 3 * i + 3], alone.weights)


def test_full_rank_is_plain_ridge_and_lower_ranks_beat_any_other_projection(rng):
    x, y = as_tensors(*planted(rng, 50, 12, 6))
    ridge = fit_ridge(x, y, [5.0])
    torch.testing.assert_close(fit_reduced_rank(x, y, 5.0, 6).weights, ridge.weights)

    def objective(weights):
        residual = (y - y.mean(0)) - (x - x.mean(0)) @ weights
        return float(residual.square().sum() + 5.0 * weights.square().sum())

    best = fit_reduced_rank(x, y, 5.0, 2).weights
    assert torch.linalg.matrix_rank(best) == 2
    for _ in range(50):
        random_basis = torch.linalg.qr(torch.from_numpy(rng.standard_normal((6, 2)))).Q
        assert objective(best) <= objective(ridge.weights @ random_basis @ random_basis.T)
    # The best rank-2 weights are a stationary point along both of their factors.
    u, s, v = torch.linalg.svd(best, full_matrices=False)
    left, right = (u[:, :2] * s[:2]).requires_grad_(True), v[:2].clone().requires_grad_(True)
    residual = (y - y.mean(0)) - (x - x.mean(0)) @ (left @ right)
    loss = residual.square().sum() + 5.0 * (left @ right).square().sum()
    grads = torch.autograd.grad(loss, (left, right))
    assert max(float(g.abs().max()) for g in grads) < 1e-8 * loss.item()


@pytest.mark.parametrize("shape", [(50, 8), (20, 35)])
def test_reduced_rank_is_the_same_in_either_form(rng, shape):
    x, y = as_tensors(*planted(rng, *shape, 6))
    gram = (x - x.mean(0)).T @ (x - x.mean(0))
    ridge = torch.linalg.solve(gram + 2.0 * torch.eye(shape[1]).double(), (x - x.mean(0)).T @ y)
    inner = ridge.T @ (gram + 2.0 * torch.eye(shape[1]).double()) @ ridge
    leading = torch.linalg.eigh(inner).eigenvectors[:, -3:]
    torch.testing.assert_close(fit_reduced_rank(x, y, 2.0, 3).weights, ridge @ leading @ leading.T)
