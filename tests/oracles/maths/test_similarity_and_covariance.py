"""Correlation, ranks, nearest entries and covariance against scipy, scikit-learn and loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf
from sklearn.metrics.pairwise import cosine_similarity

from braindec.maths import correlation, covariance, nearest, ranks


def test_pearson_and_spearman_equal_scipys_with_ties(rng):
    x, y = rng.integers(0, 5, (2, 30, 4)).astype(float)
    pearson = correlation.pearson(torch.from_numpy(x), torch.from_numpy(y), dim=0)
    spearman = ranks.spearman(torch.from_numpy(x), torch.from_numpy(y), dim=0)
    for column in range(4):
        assert pearson[column] == pytest.approx(scipy_stats.pearsonr(x[:, column], y[:, column])[0])
        assert spearman[column] == pytest.approx(scipy_stats.spearmanr(x[:, column], y[:, column])[0])


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_average_ranks_equal_scipys(rng, dim):
    x = rng.integers(0, 6, (7, 9)).astype(float)
    found = ranks.average_ranks(torch.from_numpy(x), dim)
    np.testing.assert_array_equal(found, scipy_stats.rankdata(x, axis=dim))


def test_ledoit_wolf_equals_sklearns(rng):
    for shape in ((40, 8), (15, 30)):
        x = rng.standard_normal(shape) @ rng.standard_normal((shape[1], shape[1])) + 2
        found = covariance.ledoit_wolf(torch.from_numpy(x))
        matrix, share = sklearn_ledoit_wolf(x)
        assert found.shrinkage == pytest.approx(share)
        np.testing.assert_allclose(found.matrix, matrix, rtol=1e-9, atol=1e-12)


def test_similarity_equals_sklearn_and_numpy(rng):
    a, b = rng.standard_normal((6, 9)), rng.standard_normal((4, 9))
    at, bt = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_allclose(nearest.similarity(at, bt), cosine_similarity(a, b))
    np.testing.assert_allclose(nearest.similarity(at, bt, "dot"), a @ b.T)
    np.testing.assert_allclose(nearest.similarity(at, bt, "correlation"), np.corrcoef(a, b)[:6, 6:])


def test_top_k_equals_a_stable_sort_with_ties_and_does_not_depend_on_the_chunk(rng):
    a = torch.from_numpy(rng.integers(-1, 2, (17, 3)).astype(float))
    b = torch.from_numpy(rng.integers(-1, 2, (23, 3)).astype(float))
    scores = (a @ b.T).numpy()
    expected = np.argsort(-scores, axis=1, kind="stable")
    for chunk in (1, 5, None):
        for k in (1, 4, 23):
            values, indices = nearest.top_k(a, b, k, measure="dot", chunk=chunk)
            np.testing.assert_array_equal(indices, expected[:, :k])
            np.testing.assert_array_equal(values, np.take_along_axis(scores, expected[:, :k], 1))


def test_ranks_of_the_truth_equal_a_count_in_a_loop(rng):
    a = torch.from_numpy(rng.integers(-1, 2, (17, 3)).astype(float))
    b = torch.from_numpy(rng.integers(-1, 2, (23, 3)).astype(float))
    truth = torch.from_numpy(rng.integers(0, 23, 17))
    better, tied = nearest.truth_ranks(a, b, truth, measure="dot", chunk=4)
    for i in range(17):
        scores = [float(a[i] @ b[j]) for j in range(23)]
        own = scores[int(truth[i])]
        assert better[i] == sum(s > own for s in scores)
        assert tied[i] == sum(s == own for s in scores) - 1
