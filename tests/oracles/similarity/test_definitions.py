"""Measures of similarity against their definitions written out, scipy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes, subspace_angles
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import LinearRegression, OrthogonalMatchingPursuit
from sklearn.neighbors import NearestNeighbors

from braindec.maths import cca, cka, neighbours, shape
from braindec.similarity import neighbours as near
from braindec.similarity import relative, subspace, units
from braindec.similarity.cca import projection_weighted


def sides(generator, n=30, p=5, q=7, dtype=torch.float64):
    """Related rows with means that are not zero."""
    x = torch.randn(n, p, generator=generator, dtype=dtype) + 2
    y = x @ torch.randn(p, q, generator=generator, dtype=dtype)
    return x, y + 2 * torch.randn(n, q, generator=generator, dtype=dtype)


def song(k: np.ndarray, l: np.ndarray) -> float:
    """The unbiased HSIC as a sum over distinct index tuples: no matrix algebra that could share a mistake."""
    n = len(k)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    two = sum(k[i, j] * l[i, j] for i, j in pairs) / (n * (n - 1))
    three = sum(k[i, j] * l[i, m] for i, j in pairs for m in range(n) if m not in (i, j))
    three /= n * (n - 1) * (n - 2)
    distinct = ((i, j, a, b) for i, j in pairs for a, b in pairs if len({i, j, a, b}) == 4)
    four = sum(k[i, j] * l[a, b] for i, j, a, b in distinct) / (n * (n - 1) * (n - 2) * (n - 3))
    return two + four - 2 * three


def gretton(k: np.ndarray, l: np.ndarray) -> float:
    """tr(K H L H) / (n - 1)^2."""
    n = len(k)
    h = np.eye(n) - 1 / n
    return float(np.trace(k @ h @ l @ h)) / (n - 1) ** 2


@pytest.mark.parametrize("n", [6, 12])  # fewer rows than features, and more
@pytest.mark.parametrize(("debiased", "definition"), [(True, song), (False, gretton)])
def test_linear_hsic_is_its_definition_over_all_rows(generator, n, debiased, definition):
    x, y = sides(generator, n)
    expected = definition((x @ x.T).numpy(), (y @ y.T).numpy())
    assert float(cka.linear_hsic(x, y, debiased=debiased)) == pytest.approx(expected, rel=1e-9)
    kernel = cka.unbiased_hsic if debiased else cka.biased_hsic
    assert float(kernel(x @ x.T, y @ y.T)) == pytest.approx(expected, rel=1e-9)


def test_the_unbiased_estimator_is_right_on_average_and_the_biased_one_is_not(generator):
    draws = [torch.randn(2, 10, 6, generator=generator, dtype=torch.float64) for _ in range(400)]
    fair = torch.stack([cka.linear_hsic(x, y) for x, y in draws])
    assert float(fair.mean()) == pytest.approx(0.0, abs=4 * float(fair.std()) / 20)
    assert float(torch.stack([cka.linear_hsic(x, y, debiased=False) for x, y in draws]).mean()) > 2


def test_single_precision_agrees_with_double_over_many_rows(generator):
    x, y = sides(generator, 5000, 200, 220, torch.float32)
    exact = float(cka.linear_cka(x.double(), y.double()))
    assert float(cka.linear_cka(x, y)) == pytest.approx(exact, abs=1e-6)


def test_minibatches_of_all_rows_at_once_are_the_whole_and_many_of_them_come_close(generator):
    x, y = sides(generator, 2000)
    whole = float(cka.linear_cka(x, y))
    assert float(cka.minibatch_cka([(x, y)])) == pytest.approx(whole, abs=1e-12)
    parts = zip(x.split(20), y.split(20), strict=True)
    assert float(cka.minibatch_cka(parts)) == pytest.approx(whole, abs=0.02)


def test_the_gaussian_kernel_is_its_definition_with_the_median_distance(generator):
    x, _ = sides(generator)
    distance = torch.cdist(x, x)
    middle = float(np.median(distance[~torch.eye(30, dtype=torch.bool)].numpy()))
    expected = torch.exp(-distance.square() / (2 * (0.5 * middle) ** 2))
    torch.testing.assert_close(cka.rbf_kernel(x, 0.5), expected, atol=0.01, rtol=0)
    assert bool((cka.rbf_kernel(torch.ones(5, 2)) == 1).all())


def test_cka_of_a_scaled_axis_has_its_closed_form():
    # Uncorrelated axes a, b of equal power; the other side doubles one: (4 + 1) / sqrt(2 (16 + 1))
    x = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    y = x * torch.tensor([2.0, 1.0], dtype=torch.float64)
    assert float(cka.linear_cka(x, y, debiased=False)) == pytest.approx(5 / math.sqrt(34))
    assert float(shape.procrustes_cosine(x, y)) == pytest.approx(3 / math.sqrt(10))


def test_canonical_correlations_are_those_of_scikit_learn(generator):
    x, y = sides(generator, 200)
    a, b = CCA(n_components=5, scale=False, max_iter=5000, tol=1e-12).fit_transform(x.numpy(), y.numpy())
    expected = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(5)]
    found = cca.canonical_correlations(cca.whitened(x), cca.whitened(y))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    pair = cca.canonical_variates(cca.whitened(x), cca.whitened(y))
    made = [np.corrcoef(pair.x[:, i], pair.y[:, i])[0, 1] for i in range(5)]
    np.testing.assert_allclose(made, expected, atol=1e-6)


def test_the_penalty_of_cca_is_added_to_both_covariances(generator):
    x, y = (z - z.mean(0) for z in sides(generator, 100))

    def root(z):
        covariance = z.T @ z
        penalised = (
            covariance + 0.3 * covariance.trace() / len(covariance) * torch.eye(len(covariance)).double()
        )
        values, vectors = torch.linalg.eigh(penalised)
        return z @ (vectors / values.sqrt()) @ vectors.T

    expected = torch.linalg.svdvals(root(x).T @ root(y))
    found = cca.canonical_correlations(cca.whitened(x, ridge=0.3), cca.whitened(y, ridge=0.3))
    torch.testing.assert_close(found, expected)


def test_svcca_keeps_the_directions_that_reach_the_share_of_variance(generator):
    x = torch.randn(300, 4, generator=generator, dtype=torch.float64) * torch.tensor([10.0, 5.0, 1.0, 0.1])
    assert cca.whitened(x, variance=0.99).basis.shape[1] == 2
    assert cca.whitened(x, variance=1.0).basis.shape[1] == 4


def test_projection_weights_are_inner_products_of_variates_and_features(generator):
    x, y = (z - z.mean(0) for z in sides(generator, 80))
    found = cca.canonical_variates(cca.whitened(x), cca.whitened(y))
    weights = np.array([sum(abs(float(h @ f)) for f in x.T) for h in found.x.T])
    expected = (weights * found.correlations.numpy()).sum() / weights.sum()
    assert float(projection_weighted(cca.whitened(x), cca.whitened(y))) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "p", "q"), [(40, 6, 6), (40, 4, 9), (8, 20, 30), (50, 12, 5)])
def test_procrustes_distance_is_that_after_scipys_rotation(generator, n, p, q):
    x, y = (z - z.mean(0) for z in sides(generator, n, p, q))
    width = max(p, q)
    a, b = (torch.nn.functional.pad(z, (0, width - z.shape[1])).numpy() for z in (x, y))
    rotation, _ = orthogonal_procrustes(a, b)
    assert float(shape.procrustes_distance(x, y, scaled=False)) == pytest.approx(
        np.linalg.norm(a @ rotation - b)
    )
    cosine = (a @ rotation * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
    assert float(shape.procrustes_cosine(x, y)) == pytest.approx(cosine, abs=1e-10)
    assert float(shape.angular_distance(x, y)) == pytest.approx(np.arccos(cosine), abs=1e-8)


def test_the_nuclear_norm_is_exact_where_its_fast_form_would_round(generator):
    x = torch.randn(60, 20, generator=generator, dtype=torch.float64)
    x = x - x.mean(0)
    scales = torch.logspace(0, -12, 20, dtype=torch.float64)  # eigenvalues of the square lie below rounding
    for other in (x * scales, x[:, :3], torch.zeros(60, 2, dtype=torch.float64)):
        expected = float(torch.linalg.svdvals(x.T @ other).sum())
        assert float(shape.nuclear_norm(x, other)) == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_partial_whitening_is_the_published_matrix_up_to_a_rotation(generator):
    x, _ = sides(generator)
    centred = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    z = centred @ (vectors * (0.4 + 0.6 / values.sqrt())) @ vectors.T
    z = z * (centred.norm() / z.norm())
    found = shape.partially_whitened(x, 0.4)
    torch.testing.assert_close(found @ found.T, z @ z.T)


def test_the_angle_after_whitening_is_that_of_mean_canonical_correlation(generator):
    x, y = sides(generator, 100)
    rho = cca.canonical_correlations(cca.whitened(x), cca.whitened(y)).sum() / math.sqrt(5 * 7)
    assert float(shape.angular_distance(x, y, alpha=0.0)) == pytest.approx(float(rho.arccos()), abs=1e-8)


@pytest.mark.parametrize("n", [50, 3000])  # searched whole, and by groups
def test_neighbours_are_those_of_scikit_learn(generator, n):
    x = torch.randn(n, 8, generator=generator, dtype=torch.float64)
    found = neighbours.nearest_others(x, 5)
    expected = NearestNeighbors(n_neighbors=6, metric="cosine").fit(x.numpy()).kneighbors(x.numpy())[1]
    assert not bool((found == torch.arange(n)[:, None]).any())
    # scikit-learn counts the row itself, first
    np.testing.assert_array_equal(np.sort(found.numpy()), np.sort(expected[:, 1:]))


def test_mutual_neighbours_are_counted_as_sets(generator):
    x, y = sides(generator, 40)
    a, b = near.neighbours(x), near.neighbours(y)
    shared = [len(set(i) & set(j)) / 10 for i, j in zip(a.tolist(), b.tolist(), strict=True)]
    assert float(near.mutual(a, b)) == pytest.approx(np.mean(shared))


def test_local_alignment_is_the_unbiased_hsic_of_masked_kernels(generator):
    x, y = sides(generator, 16)
    a, b = near.near(x), near.near(y)
    kernels = []
    for side in (x, y):
        scaled = torch.nn.functional.normalize(side - side.mean(0), dim=1)
        kernels.append((scaled @ scaled.T).numpy())
    masks = [torch.zeros(16, 16).scatter_(1, side.rows, 1.0).numpy() > 0 for side in (a, b)]

    def hsic(i, j):
        k, l = (np.where(masks[i] & masks[j], kernels[m], 0.0) for m in (i, j))
        n, cross = len(k), ((k @ l).sum() + (l @ k).sum()) / 2
        return ((k * l).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * cross / (n - 2)) / (n * (n - 3))

    expected = hsic(0, 1) / math.sqrt(hsic(0, 0) * hsic(1, 1))
    assert float(near.local_alignment(a, b)) == pytest.approx(expected)


def test_subspaces_are_compared_by_scipys_principal_angles(generator):
    x, y = (z - z.mean(0) for z in sides(generator, 60, 15, 20))
    first, second = (np.linalg.svd(z.numpy(), full_matrices=False)[0][:, :10] for z in (x, y))
    expected = (np.cos(subspace_angles(first, second)) ** 2).mean()
    assert float(subspace.MEASURES["subspace"](x, y)) == pytest.approx(expected)
    held = np.linalg.norm(first.T @ y.numpy()) ** 2
    most = np.sort(np.linalg.eigvalsh((y.T @ y).numpy()))[-10:].sum()
    assert float(subspace.MEASURES["alignment_index"](x, y)) == pytest.approx(held / most)


def test_feature_subspaces_need_no_common_rows(generator):
    x = torch.randn(50, 6, generator=generator, dtype=torch.float64) * torch.tensor([9.0, 8, 7, 1, 1, 1])
    y = torch.randn(80, 6, generator=generator, dtype=torch.float64) * torch.tensor([9.0, 8, 7, 1, 1, 1])
    assert float(subspace.feature_alignment(x, y, 3)) > 0.98
    assert float(subspace.feature_alignment(x, y.flip(1), 3)) < 0.1


def test_matching_pursuit_is_that_of_scikit_learn(generator):
    x, y = (z - z.mean(0) for z in sides(generator, 60, 12, 4))
    found, weights = units.match_sparse(x, y, 3)
    scaled = (x / x.norm(dim=0)).numpy()
    for k in range(4):
        model = OrthogonalMatchingPursuit(n_nonzero_coefs=3, fit_intercept=False).fit(scaled, y[:, k].numpy())
        assert set(found[k].tolist()) == set(np.flatnonzero(model.coef_))
        exact = LinearRegression(fit_intercept=False).fit(x[:, found[k]].numpy(), y[:, k].numpy())
        np.testing.assert_allclose(weights[k].numpy(), exact.coef_, rtol=1e-3, atol=1e-4)


def test_stitching_undoes_a_rotation_scale_and_shift(generator):
    x = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    y = 3 * x @ torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q + 1
    torch.testing.assert_close(relative.stitch(x[20:], x[:20], y[:20]), y[20:])
    torch.testing.assert_close(relative.relative(x[20:], x[:20]), relative.relative(y[20:], y[:20]))
