"""Comparators against rsatoolbox, scipy and the explicit covariance of distances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from braindec.rdm import comparators, discordance, whitening

PEERS = {
    "rho_a": "rho-a", "spearman": "spearman", "pearson": "corr", "cosine": "cosine", "tau_a": "tau-a",
    "whitened_cosine": "cosine_cov", "whitened_correlation": "corr_cov",
}  # fmt: skip


@pytest.mark.parametrize("name", PEERS)
def test_comparators_equal_those_of_rsatoolbox_with_ties_and_without(rng, name):
    pytest.importorskip("rsatoolbox")
    from rsatoolbox.rdm import RDMs, compare

    data, models = rng.random((4, 66)), np.round(3 * rng.random((3, 66)))
    found = comparators.compare(torch.from_numpy(data), torch.from_numpy(models), name)
    np.testing.assert_allclose(found, compare(RDMs(data), RDMs(models), PEERS[name]), atol=5e-15)


def test_whitening_by_any_covariance_of_conditions_equals_the_explicit_covariance_of_distances(rng):
    n = 7
    distances = torch.from_numpy(rng.random((3, 21)))
    covariance = np.cov(rng.standard_normal((30, n)).T)
    contrasts = np.array([np.eye(n)[i] - np.eye(n)[j] for i in range(n) for j in range(i + 1, n)])
    explicit = np.linalg.inv((contrasts @ covariance @ contrasts.T) ** 2)
    whitened = whitening.whitened(distances, torch.from_numpy(covariance)).numpy()
    products, expected = whitened @ whitened.T, distances.numpy() @ explicit @ distances.numpy().T
    np.testing.assert_allclose(products, expected, rtol=1e-10)


def test_whitening_by_independent_conditions_is_the_plain_centred_product_up_to_a_factor(rng):
    distances = torch.from_numpy(rng.random((4, 28)))
    plain, general = (
        whitening.whitened(distances),
        whitening.whitened(distances, torch.eye(8, dtype=torch.float64)),
    )
    torch.testing.assert_close(plain @ plain.T, general @ general.T)


def test_inversions_are_the_pairs_out_of_order(rng):
    x = torch.from_numpy(rng.integers(0, 9, (5, 40)))
    expected = [sum(int(row[i] > row[j]) for i in range(40) for j in range(i, 40)) for row in x]
    assert discordance.inversions(x, 9).tolist() == expected


def test_tau_a_is_scipys_tau_b_without_ties(rng):
    x, y = rng.standard_normal((2, 50))
    found = discordance.tau_a(torch.from_numpy(x), torch.from_numpy(y))
    assert float(found) == pytest.approx(kendalltau(x, y).statistic, abs=1e-14)


@pytest.mark.parametrize("ranks", [False, True])
def test_partial_correlation_is_that_of_residuals(rng, ranks):
    from scipy.stats import rankdata

    data, models, nuisance = rng.random((2, 45)), rng.random((3, 45)), rng.random((2, 45))
    data += nuisance[0]
    models += 2 * nuisance[0]
    as_used = (lambda x: rankdata(x, axis=-1)) if ranks else (lambda x: x)
    design = np.column_stack([np.ones(45), as_used(nuisance).T])
    rest = [x - x @ design @ np.linalg.pinv(design) for x in (as_used(data), as_used(models))]
    expected = np.corrcoef(*rest)[:2, 2:]
    found = comparators.partial(*(torch.from_numpy(x) for x in (data, models, nuisance)), ranks=ranks)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_model_that_is_a_nuisance_has_nothing_left(rng):
    data, nuisance = torch.from_numpy(rng.random((2, 45))), torch.from_numpy(rng.random((2, 45)))
    assert comparators.partial(data, nuisance, nuisance).abs().max() == 0


def test_a_category_model_is_favoured_by_spearman_and_not_by_rho_a(rng):
    """Tied predictions beat the truth itself under Spearman when the data are noisy; rho-a ranks the truth first."""
    truth = np.sort(rng.random(66))
    tied = (truth > 0.5).astype(float)
    data = torch.from_numpy(tied + 0.3 * truth + 0.05 * rng.standard_normal((200, 66)))
    models = torch.from_numpy(np.stack([truth, tied]))
    rho_a = comparators.compare(data, models, "rho_a").mean(0)
    assert rho_a[0] > rho_a[1]
    assert (
        float(comparators.compare(models[1:], models[1:], "rho_a"))
        < 0.8
        < 0.99
        < float(comparators.compare(models[1:], models[1:], "spearman"))
    )
