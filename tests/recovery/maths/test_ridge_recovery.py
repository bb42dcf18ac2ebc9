"""Ridge finds planted weights, and nothing when the pairing is shuffled."""

from __future__ import annotations

import pytest
import torch

from braindec.maths.factors import factorise
from braindec.maths.folds import folds_by_count
from braindec.maths.nearest import hits_at, truth_ranks
from braindec.maths.reduced_rank import fit_reduced_rank
from braindec.maths.ridge import cross_validate, fit_ridge, ridge_predict, solve

ALPHAS = [0.1, 1.0, 10.0, 100.0, 1000.0]


def test_planted_weights_are_found_and_noise_targets_get_the_largest_penalty(generator):
    x = torch.randn(2000, 20, generator=generator)
    true = torch.randn(20, 4, generator=generator)
    y = x @ true + 0.5 * torch.randn(2000, 4, generator=generator)
    y[:, 3] = torch.randn(2000, generator=generator)
    fit = fit_ridge(x, y, [*ALPHAS, 1e5], folds_by_count(2000, 5), per_target=True)
    assert (fit.weights[:, :3] - true[:, :3]).abs().max() < 0.06
    assert fit.alpha[:3].max() <= 10
    assert fit.alpha[3] >= 1000


@pytest.mark.parametrize("n_features", [30, 400])
def test_shuffled_pairs_are_predicted_at_chance(generator, n_features):
    x = torch.randn(200, n_features, generator=generator)
    y = x[:, :10] + 0.5 * torch.randn(200, 10, generator=generator)
    factors = factorise(x, folds_by_count(200, 5, generator))

    def score(targets):  # within folds: over all rows together the folds' own means bias it below zero
        return cross_validate(factors, targets, [50.0], score="correlation").mean()

    shuffled = [y[torch.randperm(200, generator=generator)] for _ in range(20)]
    assert score(y) > 0.3
    assert abs(score(torch.cat(shuffled, dim=1))) < 4 / (200 * 20) ** 0.5


def test_selection_by_retrieval_uses_the_callers_scorer(generator):
    x = torch.randn(300, 80, generator=generator)
    y = x @ torch.randn(80, 12, generator=generator) + 12 * torch.randn(300, 12, generator=generator)

    def retrieval(prediction, truth):
        return hits_at(1, *truth_ranks(prediction, truth, torch.arange(len(truth)))).mean()

    fit = solve(factorise(x, folds_by_count(300, 5)), y, ALPHAS, score=retrieval)
    assert fit.cv_scores.shape == (5,)
    assert fit.alpha[0] == ALPHAS[int(fit.cv_scores.argmax())]


def test_a_planted_low_rank_map_is_predicted_better_at_its_rank(generator):
    true = torch.randn(30, 2, generator=generator) @ torch.randn(2, 40, generator=generator)
    x, x_test = torch.randn(2, 120, 30, generator=generator).unbind()
    y = x @ true + 8 * torch.randn(120, 40, generator=generator)
    errors = {
        rank: (ridge_predict(x_test, fit_reduced_rank(x, y, 10.0, rank)) - x_test @ true).square().mean()
        for rank in (1, 2, 30)
    }
    assert errors[2] < 0.5 * errors[30] and errors[2] < errors[1]
