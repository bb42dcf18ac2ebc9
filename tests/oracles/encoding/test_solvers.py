"""Encoding solvers against himalaya, scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from himalaya.backend import set_backend
from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
from himalaya.ridge import RidgeCV
from himalaya.scoring import correlation_score, r2_score, r2_score_split
from scipy.optimize import minimize
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, PredefinedSplit

from braindec import encoding
from braindec.maths import folds as fold_rules
from braindec.maths import ridge
from braindec.maths.kernel_ridge import dual_predict, factorise_kernel

ALPHAS = np.logspace(-1, 4, 8)


def planted(rng, n, p, q, noise=3.0):
    x = rng.standard_normal((n, p)) @ np.diag(np.linspace(2, 0.2, p)) + 1.5
    y = x @ rng.standard_normal((p, q)) * np.linspace(0, 1, q) + noise * rng.standard_normal((n, q)) + 4.0
    return torch.from_numpy(x), torch.from_numpy(y)


def himalaya_ridge(x, y, cv, score):
    set_backend("torch")
    options = {"score_func": score, "warn": False}
    return RidgeCV(alphas=ALPHAS, fit_intercept=True, cv=cv, solver_params=options).fit(x, y)


@pytest.mark.parametrize("score", ["r2", "correlation"])
@pytest.mark.parametrize("shape", [(300, 20), (50, 90)])  # more held-out rows than features, and fewer rows
def test_an_encoding_model_equals_himalayas_with_a_run_held_out_each_time(rng, shape, score):
    x, y = planted(rng, *shape, 7)
    runs = np.arange(len(x)) // (len(x) // 4)
    runs[runs == 4] = 3
    model = encoding.fit(x, y, alphas=ALPHAS, folds=fold_rules.folds_by_group(runs), score=score)
    named = {"r2": r2_score, "correlation": correlation_score}[score]
    expected = himalaya_ridge(x, y, PredefinedSplit(runs), named)
    np.testing.assert_allclose(model.cv_score, expected.cv_scores_.flatten(), rtol=1e-6)
    np.testing.assert_allclose(model.alpha, expected.best_alphas_, rtol=1e-5)
    np.testing.assert_allclose(model.weights, expected.coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.predict(x), expected.predict(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(120, 30), (60, 90)])
@pytest.mark.parametrize("score", ["r2", "correlation", "neg_mse"])
def test_many_targets_take_the_same_path_as_few(rng, shape, score):
    x, y = planted(rng, *shape, 700)  # enough targets for rows of the hat matrix to be made once
    rules = fold_rules.folds_by_count(len(x), 5)
    together = encoding.fit(x, y, alphas=ALPHAS, folds=rules, score=score)
    alone = encoding.fit(x, y[:, 5:8], alphas=ALPHAS, folds=rules, score=score)
    torch.testing.assert_close(together.cv_score[5:8], alone.cv_score)
    torch.testing.assert_close(together.weights[:, 5:8], alone.weights)


def test_folds_with_a_gap_equal_refits_in_a_loop(rng):
    x, y = planted(rng, 90, 12, 3)
    rules = fold_rules.folds_by_block(90, 3, 4, np.repeat(["b", "a", "c"], 30))
    scores = ridge.cross_validate(encoding.voxelwise.factorise(x, rules), y, ALPHAS, score="neg_mse")
    for row, alpha in enumerate(ALPHAS):
        expected = []
        for fold in rules:
            assert int((fold.test[:, None] - fold.train).abs().min()) > 0
            made = Ridge(alpha=alpha).fit(x[fold.train], y[fold.train]).predict(x[fold.test])
            expected.append(-np.square(made - y[fold.test].numpy()).mean(0))
        np.testing.assert_allclose(scores[row], np.mean(expected, 0), rtol=1e-7)


def test_kernel_ridge_equals_ridge_of_the_features_behind_it(rng):
    x, y = planted(rng, 40, 70, 5)
    rules = fold_rules.folds_by_count(40, 4)
    plain = ridge.fit_ridge(x, y, ALPHAS, rules, per_target=True)
    kernel = x @ x.T
    dual = ridge.solve(factorise_kernel(kernel, rules), y, ALPHAS, per_target=True)
    torch.testing.assert_close(dual.cv_scores, plain.cv_scores)
    torch.testing.assert_close((x - x.mean(0)).T @ dual.weights, plain.weights)
    new = torch.from_numpy(rng.standard_normal((6, 70)))
    made = dual_predict(new @ x.T, kernel, dual.weights, dual.intercept)
    torch.testing.assert_close(made, ridge.ridge_predict(new, plain))


@pytest.mark.parametrize("sizes", [(15, 10), (60, 50)])  # (features, features) matrices, and sums of kernels
def test_banded_ridge_equals_himalayas_random_search_over_the_same_gammas(rng, generator, sizes):
    x, y = planted(rng, 80, sum(sizes), 9)
    x, y = (
        x - x.mean(0),
        y - y.mean(0),
    )  # himalaya's intercept is fitted on kernels it does not centre in folds
    parts = dict(zip("ab", x.split(sizes, 1)))
    gammas = encoding.random_gammas(2, 6, generator)
    found = encoding.fit_banded(parts, y, gammas=gammas, alphas=ALPHAS, folds=4, score="r2")
    set_backend("torch")
    kernels = torch.stack([p @ p.T for p in parts.values()])
    deltas, dual, scores, _ = solve_multiple_kernel_ridge_random_search(
        kernels, y, n_iter=gammas, alphas=torch.from_numpy(ALPHAS), score_func=r2_score, cv=KFold(4),
        fit_intercept=True, return_weights="dual", progress_bar=False, local_alpha=True,
    )  # fmt: skip
    assert scores.shape[0] == 6
    chosen = (found.gamma.log() - found.model.alpha.log()).clamp_min(-40)
    close = np.isclose(chosen, deltas.clamp_min(-40), atol=1e-4).all(0)
    assert close.mean() >= 0.7  # centring within folds moves a near-tie now and then
    weights = torch.cat([d.exp() * (p.T @ dual) for d, p in zip(deltas, parts.values())])
    np.testing.assert_allclose(found.model.weights[:, close], weights[:, close], rtol=1e-3, atol=1e-5)


def test_the_product_measure_equals_himalayas_split_score(rng):
    truth = rng.standard_normal((50, 6))
    parts = rng.standard_normal((3, 50, 6)) * 0.4 + 0.2 * truth
    truth, parts = truth - truth.mean(0), parts - parts.mean(1, keepdims=True)
    set_backend("numpy")
    expected = r2_score_split(truth, parts)
    found = encoding.product_measure(torch.from_numpy(parts), torch.from_numpy(truth))
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    joint = encoding.r2(torch.from_numpy(parts.sum(0)), torch.from_numpy(truth))
    np.testing.assert_allclose(found.sum(0), joint, rtol=1e-8)


@pytest.mark.parametrize("shape", [(60, 12), (20, 40)])
def test_fractional_ridge_has_the_length_it_names_and_is_ridge_at_that_penalty(rng, shape):
    x, y = planted(rng, *shape, 4)
    fractions = (0.05, 0.3, 0.9, 1.0)
    fit = encoding.fit_fractional(x, y, fractions)
    free = torch.linalg.pinv(x - x.mean(0)) @ (y - y.mean(0))
    for weights, intercept, alpha, fraction in zip(fit.weights, fit.intercept, fit.alpha, fractions):
        np.testing.assert_allclose(weights.norm(dim=0) / free.norm(dim=0), fraction, rtol=1e-9)
        for column in range(4):
            expected = Ridge(alpha=max(float(alpha[column]), 1e-12), solver="svd").fit(x, y[:, column])
            np.testing.assert_allclose(weights[:, column], expected.coef_, rtol=1e-5, atol=1e-8)
            np.testing.assert_allclose(intercept[column], expected.intercept_, rtol=1e-5, atol=1e-7)


def test_stacking_weights_are_the_minimum_that_a_general_solver_finds(rng):
    errors = rng.standard_normal((4, 60, 12)) + 0.5 * rng.standard_normal((1, 60, 12))
    found = encoding.stacking_weights(torch.from_numpy(errors)).numpy()
    np.testing.assert_allclose(found.sum(0), 1)
    assert (found >= 0).all()
    for voxel in range(12):
        products = errors[:, :, voxel] @ errors[:, :, voxel].T / 60
        sum_to_one = {"type": "eq", "fun": lambda w: w.sum() - 1}
        best = minimize(
            lambda w, products=products: w @ products @ w,
            np.full(4, 0.25),
            bounds=[(0, 1)] * 4,
            constraints=sum_to_one,
            tol=1e-12,
        )
        np.testing.assert_allclose(found[:, voxel], best.x, atol=1e-5)


def test_refining_gammas_never_lowers_the_score_they_are_chosen_by(rng, generator):
    x, y = planted(rng, 60, 30, 6)
    parts = dict(zip("ab", x.split((10, 20), 1)))
    gammas = encoding.random_gammas(2, 3, generator)
    plain = encoding.fit_banded(parts, y, gammas=gammas, alphas=ALPHAS, folds=3)
    refined = encoding.fit_banded(parts, y, gammas=gammas, alphas=ALPHAS, folds=3, refine_steps=5)
    assert (refined.model.cv_score >= plain.model.cv_score).all()
    assert (refined.model.cv_score > plain.model.cv_score + 1e-5).any()


@pytest.mark.parametrize("unit", [1e-6, 1e-13], ids=["V", "T"])
def test_gammas_are_refined_alike_in_any_unit_and_beside_a_voxel_that_is_silent_in_a_fold(
    rng, generator, unit
):
    x, y = planted(rng, 60, 30, 6)
    parts = dict(zip("ab", x.split((10, 20), 1)))
    gammas = torch.full((1, 2), 0.5, dtype=x.dtype)
    y[:20, 0] = 0.0  # of three folds, one is constant here
    found = [
        encoding.fit_banded(parts, k * y, gammas=gammas, alphas=ALPHAS, folds=3, refine_steps=5)
        for k in (1.0, unit)
    ]
    assert (found[0].gamma[0] != 0.5).any()
    torch.testing.assert_close(found[1].gamma, found[0].gamma, atol=1e-3, rtol=1e-2)
