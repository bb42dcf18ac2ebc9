"""Metrics against scikit-image, scikit-learn, torchmetrics, sacrebleu, numpy and double loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from braindec.metrics import classification, identification, pixels


@pytest.mark.parametrize("n_channels", [1, 3])
def test_ssim_is_that_of_scikit_image(rng, n_channels):
    skimage = pytest.importorskip("skimage")
    from skimage import metrics as oracle

    first = rng.random((3, n_channels, 40, 50)).astype(np.float32)
    second = np.clip(first + 0.2 * rng.standard_normal(first.shape), 0, 1).astype(np.float32)
    gray = [
        x[:, 0] if n_channels == 1 else skimage.color.rgb2gray(np.moveaxis(x, 1, -1)) for x in (first, second)
    ]
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    expected = [oracle.structural_similarity(a, b, **settings) for a, b in zip(*gray)]
    pair = torch.as_tensor(first), torch.as_tensor(second)
    found = pixels.ssim(*pair)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    expected = [oracle.structural_similarity(a, b, channel_axis=-1, **settings) for a, b in zip(*gray)]
    np.testing.assert_allclose(pixels.ssim_columns(*pair), expected, atol=1e-6)


def test_pixel_correlation_is_numpys(rng):
    first, second = rng.random((2, 6, 3, 9, 9))
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, second)]
    found = pixels.pixel_correlation(torch.as_tensor(first), torch.as_tensor(second))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("n_levels", [4, 10_000])
def test_mean_placement_is_scikit_learns_roc_auc(rng, n_levels):
    labels = rng.random(81) < 0.3
    scores = rng.integers(0, n_levels, 81) + n_levels // 3 * labels
    placements = classification.roc_auc(torch.as_tensor(scores), torch.as_tensor(labels))
    expected = roc_auc_score(labels, scores)
    assert placements.mean() == pytest.approx(expected, abs=1e-12)
    assert placements[torch.as_tensor(labels)].mean() == pytest.approx(expected, abs=1e-12)


def test_identification_is_a_double_loop_over_corrcoef(rng):
    true = rng.standard_normal((12, 7))
    made = true + rng.standard_normal((12, 7))
    groups, labels = np.arange(12) % 2, np.arange(12) // 3 % 2

    def expected(allowed):
        rows = []
        for i in range(12):
            own = np.corrcoef(made[i], true[i])[0, 1]
            others = [j for j in range(12) if j != i and allowed(i, j)]
            rows.append(np.mean([own > np.corrcoef(made[i], true[j])[0, 1] for j in others]))
        return rows

    tensors = torch.as_tensor(true), torch.as_tensor(made)
    every = identification.METRICS["pairwise_identification"].per_sample(*tensors)
    np.testing.assert_allclose(every, expected(lambda i, j: True))
    by_fold = identification.METRICS["pairwise_identification"].per_sample(
        *tensors, groups=torch.as_tensor(groups)
    )
    np.testing.assert_allclose(by_fold, expected(lambda i, j: groups[i] == groups[j]))
    within = identification.METRICS["pairwise_identification_within_class"].per_sample(
        *tensors, torch.as_tensor(labels), groups=torch.as_tensor(groups)
    )
    np.testing.assert_allclose(
        within, expected(lambda i, j: groups[i] == groups[j] and labels[i] == labels[j])
    )
