"""Distances and noise against rsatoolbox and explicit loops."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from braindec.rdm import across_time, noise, pairs
from braindec.rdm.calculate import dissimilarity
from braindec.rdm.patterns import average

pytest.importorskip("rsatoolbox")
KINDS = {"shrinkage": "shrinkage_diag", "ledoit_wolf": "shrinkage_eye", "diagonal": "diag"}


def trials(rng, n_runs=3, n=8, p=20, noise_mixing=0.4):
    """Trials (run x condition), with correlated noise, and the labels of each."""
    condition, run = np.tile(np.arange(n), n_runs), np.repeat(np.arange(n_runs), n)
    mixing = np.eye(p) + noise_mixing * rng.standard_normal((p, 2)) @ rng.standard_normal((2, p))
    x = rng.standard_normal((len(condition), p)) @ mixing + 2 * rng.standard_normal((n, p))[condition]
    return x, condition, run


def theirs(x, condition, run, method, noise=None):
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    data = Dataset(x, obs_descriptors={"c": condition, "run": run})
    settings = {"cv_descriptor": "run"} if method == "crossnobis" else {}
    if noise is not None:
        settings["noise"] = noise
    return calc_rdm(data, method=method, descriptor="c", **settings).dissimilarities[0]


@pytest.mark.parametrize("p", [12, 60])  # fewer and more channels than residual degrees of freedom
@pytest.mark.parametrize("kind", KINDS)
def test_noise_and_the_distances_under_it_equal_those_of_rsatoolbox(rng, kind, p):
    from rsatoolbox.data import Dataset
    from rsatoolbox.data.noise import prec_from_unbalanced

    x, condition, run = trials(rng, p=p)
    precision = prec_from_unbalanced(Dataset(x, obs_descriptors={"c": condition}), "c", method=KINDS[kind])
    found = noise.estimate(noise.residuals(torch.from_numpy(x), condition), kind)
    np.testing.assert_allclose(found.precision(), precision, atol=1e-11 * np.abs(precision).max())
    assert 0 < float(found.shrinkage) <= 1
    for method in ("crossnobis", "mahalanobis"):
        ours = dissimilarity(x, condition, run=run, measure=method, noise=found).distances
        np.testing.assert_allclose(ours, theirs(x, condition, run, method, precision), atol=1e-11)


def test_partial_shrinkage_is_what_is_tested(rng):
    x, condition, _ = trials(rng, n_runs=6)
    share = float(noise.estimate(noise.residuals(torch.from_numpy(x), condition)).shrinkage)
    assert 0.01 < share < 0.99


@pytest.mark.parametrize("method", ["euclidean", "correlation", "poisson"])
def test_distances_without_noise_equal_those_of_rsatoolbox(rng, method):
    x, condition, run = trials(rng)
    x = np.abs(x) if method == "poisson" else x
    ours = dissimilarity(x, condition, measure=method).distances
    np.testing.assert_allclose(ours, theirs(x, condition, run, method), atol=1e-12)


def test_cosine_distances_equal_those_of_scipy(rng):
    x = rng.standard_normal((9, 14))
    np.testing.assert_allclose(
        dissimilarity(x, np.arange(9), measure="cosine").distances, pdist(x, "cosine"), atol=1e-14
    )


def test_a_list_of_precisions_is_used_pair_of_runs_by_pair_of_runs_as_in_rsatoolbox(rng):
    x, condition, run = trials(rng)
    precisions = [np.linalg.inv(np.cov(rng.standard_normal((90, x.shape[1])).T)) for _ in range(3)]
    ours = dissimilarity(x, condition, run=run, noise=[torch.from_numpy(m) for m in precisions]).distances
    np.testing.assert_allclose(ours, theirs(x, condition, run, "crossnobis", precisions), atol=1e-11)


def test_noises_of_runs_are_averaged_as_covariances(rng):
    x, condition, run = trials(rng, p=40)
    parts = [
        noise.estimate(noise.residuals(torch.randn(30, 40, dtype=torch.float64), np.arange(30) % 5))
        for _ in range(3)
    ]
    dense = dissimilarity(x, condition, run=run, noise=[n.precision() for n in parts]).distances
    torch.testing.assert_close(dissimilarity(x, condition, run=run, noise=parts).distances, dense)


def test_time_resolved_distances_and_noise_are_those_of_each_time_alone(rng):
    x, condition, run = trials(rng, n_runs=4)
    x = np.stack([x, x[::-1] + 1, rng.standard_normal(x.shape)], axis=2)
    whole = dissimilarity(x, condition, run=run, times=[0.0, 0.1, 0.2])
    assert whole.axes == ("time",) and whole.coordinates["time"] == (0.0, 0.1, 0.2)
    for t in range(3):
        alone = dissimilarity(np.ascontiguousarray(x[:, :, t]), condition, run=run)
        torch.testing.assert_close(whole.distances[t], alone.distances)


def test_poisson_across_runs_is_the_mean_over_pairs_of_runs(rng):
    x = rng.random((3, 5, 7)) * 9
    rate = (x + 0.1) / 1.1
    expected = [
        np.mean([((rate[r, i] - rate[r, j]) * (np.log(rate[s, i]) - np.log(rate[s, j]))).mean()
                 for r in range(3) for s in range(3) if r != s])
        for i in range(5) for j in range(i + 1, 5)
    ]  # fmt: skip
    found = dissimilarity(
        x.reshape(15, 7), np.tile(np.arange(5), 3), run=np.repeat(np.arange(3), 5), measure="poisson_cross"
    )
    np.testing.assert_allclose(found.distances, expected, atol=1e-13)


def test_runs_that_lack_conditions_count_only_where_both_runs_have_both(rng):
    x, condition, run = trials(rng, n_runs=4)
    kept = ~((run == 1) & (condition == 2)) & ~((run == 3) & np.isin(condition, (0, 5)))
    found = dissimilarity(x[kept], condition[kept], run=run[kept], noise=None)
    cube = x.reshape(4, 8, -1)
    have = np.array(
        [[bool((kept & (run == r) & (condition == c)).any()) for c in range(8)] for r in range(4)]
    )
    expected = []
    for i in range(8):
        for j in range(i + 1, 8):
            both = [r for r in range(4) if have[r, i] and have[r, j]]
            expected.append(np.mean([(cube[r, i] - cube[r, j]) @ (cube[s, i] - cube[s, j]) / x.shape[1]
                                     for r in both for s in both if r != s]))  # fmt: skip
    np.testing.assert_allclose(found.distances, expected, atol=1e-12)


def test_unequal_numbers_of_trials_are_averaged_within_runs(rng):
    x, condition, run = trials(rng)
    doubled = np.concatenate([x, x[:5] + 1.0])
    found = dissimilarity(doubled, np.r_[condition, condition[:5]], run=np.r_[run, run[:5]], noise=None)
    mean = x.copy()
    mean[:5] += 0.5
    torch.testing.assert_close(found.distances, dissimilarity(mean, condition, run=run, noise=None).distances)


@pytest.mark.parametrize("n_times", [1, 2])
def test_own_noise_is_that_of_other_conditions_than_the_two_compared(rng, n_times):
    """Four groups of conditions, every fourth: the diagonal is that of all residuals, the rest of the other groups."""
    x, condition, run = trials(rng, n_runs=5, p=30)
    whole = noise.estimate(noise.residuals(torch.from_numpy(x), condition))
    free = 8 * 4
    cube = torch.from_numpy(np.repeat(x[:, :, None], n_times, 2))
    found = dissimilarity(cube, condition, run=run).distances[-1]
    for (i, j), ours in zip(combinations(range(8), 2), found, strict=True):
        others = [c for c in range(8) if c % 4 not in (i % 4, j % 4)]
        rows = whole.rows[np.isin(condition, others)] * (free / (4 * len(others))) ** 0.5
        precision = noise.Noise(whole.diagonal, rows, whole.shrinkage).precision()
        pair = np.isin(condition, (i, j))
        expected = dissimilarity(x[pair], condition[pair], run=run[pair], noise=precision).distances
        assert float(ours) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("repeats", [1, 2])
def test_products_of_trials_give_the_same_numbers_as_the_covariance_of_voxels(rng, repeats):
    x, condition, run = trials(rng, n_runs=5 * repeats, p=90)
    run = run % 5  # with two repeats each run has every condition twice, and the noise is that within runs
    wide = dissimilarity(
        x, condition, run=run
    )  # more channels than trials: from the Gram matrix of the trials
    narrow = dissimilarity(np.repeat(x[:, :, None], 2, 2), condition, run=run)  # the way of a time axis
    torch.testing.assert_close(wide.distances, narrow.distances[1])
    if repeats == 2:
        explicit = noise.estimate(noise.residuals(torch.from_numpy(x), condition, run))
        torch.testing.assert_close(
            wide.distances, dissimilarity(x, condition, run=run, noise=explicit).distances
        )


def test_cross_temporal_distances_are_products_of_differences_at_two_times(rng):
    x, condition, run = trials(rng)
    cube = torch.from_numpy(np.stack([x, x * 2, rng.standard_normal(x.shape)], 2))
    patterns = average(cube, condition, run=run)
    found = across_time.cross_temporal(patterns.values, patterns.conditions)
    u = patterns.values.numpy()
    expected = np.mean([(u[0, r, 1] - u[0, r, 4]) @ (u[2, s, 1] - u[2, s, 4]) / u.shape[-1]
                        for r in range(3) for s in range(3) if r != s])  # fmt: skip
    assert float(pairs.square(found.distances)[0, 2, 1, 4]) == pytest.approx(expected, abs=1e-12)
    diagonal = dissimilarity(cube, condition, run=run, noise=None).distances
    torch.testing.assert_close(found.distances.diagonal(dim1=0, dim2=1).T, diagonal)
    torch.testing.assert_close(across_time.mean_cross_temporal(patterns.values), found.distances.mean(-1))


def test_single_precision_is_close_to_double(rng):
    x, condition, run = trials(rng, p=64)
    for measure in ("crossnobis", "correlation", "euclidean"):
        single = dissimilarity(x.astype(np.float32) + 100, condition, run=run, measure=measure).distances
        double = dissimilarity(x + 100, condition, run=run, measure=measure).distances
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), double, atol=2e-4, rtol=1e-3)
