"""Areas under the ROC curve of many latents at once, against scikit-learn's and against copies of samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu, norm
from sklearn.metrics import roc_auc_score

from braindec.sparse import separation


@pytest.fixture
def many():
    generator = torch.Generator().manual_seed(0)
    readings = torch.randn(90, 7, generator=generator)
    readings[:, 3:] = readings[:, 3:].round()  # ties
    active = torch.rand(90, 7, generator=generator) < 0.3
    return readings, active, torch.randint(3, (90,), generator=generator)


def test_areas_are_scikit_learns(many):
    readings, active, _ = many
    found = separation.separate(readings, active)
    expected = [roc_auc_score(active[:, i], readings[:, i]) for i in range(7)]
    np.testing.assert_allclose(found.auc, expected, atol=1e-12)


def test_areas_within_strata_are_the_mean_of_scikit_learns_by_their_pairs(many):
    readings, active, strata = many
    found = separation.separate(readings, active, strata * 10)
    for i in range(7):
        areas, pairs = [], []
        for name in range(3):
            on = active[strata == name, i]
            areas.append(roc_auc_score(on, readings[strata == name, i]))
            pairs.append(int(on.sum() * (~on).sum()))
        assert float(found.auc[i]) == pytest.approx(np.average(areas, weights=pairs), abs=1e-12)


def test_z_is_the_normal_form_of_mann_whitneys_u(many):
    readings, active, _ = many
    found = separation.separate(readings[:, :3], active[:, :3])
    for i in range(3):
        on = active[:, i].numpy()
        x, y = readings[on, i].numpy(), readings[~on, i].numpy()
        p = mannwhitneyu(x, y, alternative="greater", method="asymptotic", use_continuity=False).pvalue
        assert norm.sf(float(found.z[i])) == pytest.approx(p, rel=1e-6)


def test_a_resampled_area_is_the_area_of_copied_samples(many):
    readings, active, strata = many
    weights = separation.resampling_weights(90, 5, torch.Generator().manual_seed(1))
    found = separation.resampled(readings, active, weights, strata, largest=400)  # in small blocks
    for draw, counts in zip(found, weights, strict=True):
        rows = torch.repeat_interleave(torch.arange(90), counts.long())
        again = separation.separate(readings[rows], active[rows], strata[rows])
        np.testing.assert_allclose(draw, again.auc, atol=1e-12)


def test_a_latent_that_is_always_active_has_no_area():
    found = separation.separate(torch.randn(8, 1), torch.ones(8, 1, dtype=torch.bool))
    assert bool(found.auc.isnan().all() and found.z.isnan().all())


def test_the_interval_covers_the_true_area():
    generator = torch.Generator().manual_seed(2)
    active = torch.rand(150, 300, generator=generator) < 0.15  # 300 worlds of one latent each
    readings = torch.randn(150, 300, generator=generator) + active
    weights = separation.resampling_weights(150, 200, generator)
    found = separation.separate(readings, active)
    pairs = found.n_active * (150 - found.n_active)
    low, high = separation.interval(found.auc, separation.resampled(readings, active, weights), pairs)
    truth = norm.cdf(1 / 2**0.5)
    assert 0.91 <= float(((low <= truth) & (truth <= high)).double().mean()) <= 0.985
