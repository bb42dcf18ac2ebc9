"""Measures of disentanglement are what their definitions give for cases that can be reckoned by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from braindec.metrics import disentanglement
from braindec.metrics.disentanglement import dci, importances, mig, mutual_information, udr


@pytest.fixture
def factors(rng) -> torch.Tensor:
    """Two and four levels, all pairs equally often: (800, 2)."""
    pairs = torch.cartesian_prod(torch.arange(2), torch.arange(4)).repeat(100, 1)
    return pairs[torch.from_numpy(rng.permutation(800))]


def test_mutual_information_is_that_of_another_library(factors, rng):
    from sklearn.metrics import mutual_info_score

    latents = torch.from_numpy(rng.standard_normal((800, 3))) + factors[:, [0]]
    found = mutual_information(latents, factors, bins=8)
    for i, latent in enumerate(latents.T.numpy()):
        cut = np.searchsorted(np.quantile(latent, np.linspace(0, 1, 9)[1:-1]), latent)
        for j in range(2):
            assert float(found[i, j]) == pytest.approx(mutual_info_score(cut, factors[:, j]), abs=1e-9)


def test_a_latent_a_factor_has_a_gap_of_one_and_a_factor_in_two_latents_none(factors):
    one, other = factors.double().T
    torch.testing.assert_close(mig(torch.stack([one, -other], 1), factors).float(), torch.ones(2))
    twice = mig(torch.stack([one, one, other], 1), factors)
    torch.testing.assert_close(twice.float(), torch.tensor([0.0, 1.0]))


def test_a_mixed_latent_loses_the_part_that_the_next_best_says(factors):
    """One latent is the sum of both factors, the other is the second factor: of the first only half an answer."""
    total = factors.sum(1)
    gap = mig(torch.stack([total, factors[:, 1]], 1).double(), factors, bins=5)
    # Of a sum 0..4 with odds 1:2:2:2:1 only the ends tell the first factor: 2 of 8 draws, one bit each.
    assert float(gap[0]) == pytest.approx(0.25, abs=1e-6)
    # H(sum) = 2.25 bits less 1 of the first factor: 1.25 of 2 bits of the second, which the other says whole.
    assert float(gap[1]) == pytest.approx((2 - 1.25) / 2, abs=1e-6)


def test_noise_has_no_gap(rng, factors):
    noise = torch.from_numpy(rng.standard_normal((800, 4)))
    assert float(mig(noise, factors).mean()) < 0.02


def test_dci_of_matrices_reckoned_by_hand():
    found = dci(torch.eye(3))
    assert (found.disentanglement, found.completeness) == pytest.approx((1.0, 1.0))
    assert dci(torch.ones(3, 3)).disentanglement == pytest.approx(0.0, abs=1e-9)
    # Two latents share a factor between them: each is pure, and the factor is in two of four latents.
    split = torch.tensor([[0.5, 0.0], [0.5, 0.0], [0.0, 1.0], [0.0, 0.0]])
    found = dci(split)
    assert found.disentanglement == pytest.approx(1.0)
    torch.testing.assert_close(found.by_factor, torch.tensor([1 - math.log(2) / math.log(4), 1.0]).double())
    assert found.completeness == pytest.approx(0.75)
    assert float(found.by_latent[3]) == pytest.approx(
        0.0, abs=1e-12
    )  # matters for nothing, and counts nothing


def test_forests_find_the_latent_that_holds_a_factor(rng, factors):
    latents = torch.from_numpy(rng.standard_normal((800, 3)))
    latents[:, 1] = 3 * (factors[:, 0] == 1).double() + 0.3 * latents[:, 1]
    latents[:, 2] = 3 * (factors[:, 1] % 2).double() + 0.3 * latents[:, 2]  # not monotone in the level
    found = importances(latents, factors)
    assert found.argmax(0).tolist() == [1, 2]
    torch.testing.assert_close(found.sum(0), torch.ones(2).double())
    mixed = importances(latents @ torch.linalg.qr(torch.from_numpy(rng.standard_normal((3, 3))))[0], factors)
    assert dci(mixed).disentanglement < dci(found).disentanglement


def test_fits_that_differ_by_order_and_sign_agree_wholly(rng):
    z = torch.from_numpy(rng.permuted(np.tile(np.linspace(-1, 1, 2001), (3, 1)), axis=1).T)
    kl = torch.ones(3)
    turned = -(z[:, [2, 0, 1]] ** 3)  # ranks do not mind
    assert udr([z, turned], [kl, kl]).tolist() == pytest.approx([1.0, 1.0], abs=0.08)


def test_latents_that_are_all_alike_have_one_over_their_number(rng):
    z = torch.from_numpy(rng.standard_normal((100, 1))).repeat(1, 4)
    kl = torch.ones(4)
    assert udr([z, z, z], [kl] * 3).tolist() == pytest.approx([0.25] * 3)


def test_fits_of_one_latent_agree_as_much_as_their_ranks_correlate(rng):
    from scipy.stats import spearmanr

    one = rng.standard_normal(300)
    other = -one + rng.standard_normal(300)
    found = udr([torch.from_numpy(x)[:, None] for x in (one, other)], [torch.ones(1)] * 2)
    assert found.tolist() == pytest.approx([abs(spearmanr(one, other).statistic)] * 2)


def test_silent_latents_do_not_count_and_a_silent_fit_has_nothing(rng):
    z = torch.from_numpy(rng.permuted(np.tile(np.linspace(-1, 1, 2001), (3, 1)), axis=1).T)
    silent = torch.tensor([1.0, 1.0, 0.001])
    other = torch.cat([z[:, :2], z[:, :1]], 1)  # its third latent is a copy, and silent
    assert udr([z, other], [silent, silent]).tolist() == pytest.approx([1.0, 1.0], abs=0.06)
    assert udr([z, other], [silent, torch.zeros(3)]).tolist() == [0.0, 0.0]


def test_of_three_fits_the_odd_one_ranks_last(rng):
    z = torch.from_numpy(rng.standard_normal((500, 3)))
    turned = z @ torch.linalg.qr(torch.from_numpy(rng.standard_normal((3, 3))))[0]
    found = udr(
        [z, -z, turned, z + 0.1 * torch.from_numpy(rng.standard_normal((500, 3)))], [torch.ones(3)] * 4
    )
    assert int(found.argmin()) == 2


def test_a_factor_of_one_level_and_a_lone_fit_are_refused(rng):
    z = torch.from_numpy(rng.standard_normal((50, 2)))
    with pytest.raises(ValueError, match="one value only"):
        mig(z, torch.zeros(50, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="number of fits"):
        udr([z], [torch.ones(2)])
    assert disentanglement.METRICS == {}
