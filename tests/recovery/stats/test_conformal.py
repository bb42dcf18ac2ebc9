"""Conformal sets and jackknife+ cover, claims are wrong as rarely as they say, and nothing is claimed of noise."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.stats import conformal

N_WORLDS = 300


def test_p_values_of_true_values_are_uniform_even_where_scores_tie():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(N_WORLDS):
        scores = rng.integers(0, 4, 41) / 4.0  # most of them tie
        found.append(conformal.p_values(scores[:40], scores[40:, None], rng)[0, 0])
    shares = np.mean(np.array(found)[:, None] <= [0.1, 0.3, 0.5, 0.9], axis=0)
    assert shares == pytest.approx([0.1, 0.3, 0.5, 0.9], abs=0.07)


@pytest.mark.parametrize("n", [19, 50, 200])
def test_a_limit_holds_for_a_new_case_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    scores = rng.standard_gamma(1.0, (4000, n + 1))
    inside = [row[-1] <= conformal.limit(row[:-1], 0.9) for row in scores]
    assert np.mean(inside) == pytest.approx(np.ceil((n + 1) * 0.9) / (n + 1), abs=0.015)


def test_a_limit_from_too_few_cases_excludes_nothing():
    assert conformal.limit(np.arange(8.0), 0.9) == np.inf
    assert conformal.limit(np.arange(9.0), 0.9) == 8.0


def test_jackknife_plus_is_its_definition_by_a_double_loop():
    rng = np.random.default_rng(1)
    centres, residuals = rng.standard_normal((30, 4)), rng.random(30)
    found = conformal.jackknife_plus(centres, residuals, 0.9)
    for j in range(4):
        low = sorted(centres[i, j] - residuals[i] for i in range(30))
        high = sorted(centres[i, j] + residuals[i] for i in range(30))
        place = int(np.ceil(31 * 0.9))
        assert found[j] == pytest.approx((low[31 - place - 1], high[place - 1]))
    assert np.isinf(conformal.jackknife_plus(centres[:8], residuals[:8], 0.9)).all()


def test_jackknife_plus_covers_a_least_squares_fit_that_interpolates():
    """With as many weights as cases, residuals of training are zero; those of left-out cases are not."""
    rng, inside, n = np.random.default_rng(2), [], 24
    for _ in range(200):
        x, weights = rng.standard_normal((n + 1, n)), rng.standard_normal(n)
        y = x @ weights + rng.standard_normal(n + 1)
        centres, residuals = np.empty((n, 1)), np.empty(n)
        for i in range(n):
            kept = np.arange(n) != i
            found = np.linalg.lstsq(x[:n][kept], y[:n][kept], rcond=None)[0]
            centres[i], residuals[i] = x[n] @ found, abs(y[i] - x[i] @ found)
        low, high = conformal.jackknife_plus(centres, residuals, 0.9)[0]
        inside.append(low <= y[n] <= high)
    assert 0.84 <= np.mean(inside) <= 0.99


def test_of_the_claims_that_are_made_at_most_the_promised_share_is_wrong():
    rng, shares, made = np.random.default_rng(3), [], []
    for _ in range(N_WORLDS):
        confidence = rng.random(260)
        wrong = rng.random(260) > confidence**0.3
        found = conformal.select(confidence[:200], wrong[:200], confidence[200:], 0.1)
        made.append(found.chosen.sum())
        shares.append(wrong[200:][found.chosen].mean() if found.chosen.any() else 0.0)
    assert np.mean(shares) <= 0.1
    assert np.mean(made) > 10


def test_claims_that_confidence_says_nothing_of_are_hardly_ever_made():
    rng, made = np.random.default_rng(4), []
    for _ in range(N_WORLDS):
        wrong = rng.random(200) < 0.5
        made.append(conformal.select(rng.random(200), wrong, rng.random(60), 0.1).chosen.mean())
    assert np.mean(made) < 0.02


def test_a_claim_that_is_not_made_in_calibration_is_not_made():
    confidence = np.full(50, -np.inf)
    found = conformal.select(confidence, np.zeros(50, bool), np.full(5, -np.inf), 0.1)
    assert not found.chosen.any()
    assert (found.p == 1).all()
