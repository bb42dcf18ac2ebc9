"""The losses against open_clip's and against loops over pairs; test_parity_losses.py holds the published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from braindec._compat import ensure_torchvision
from braindec.losses import Mix, clip, cosine, cross_entropy, l1, mse, siglip, soft_clip, soft_siglip


@pytest.fixture
def batch(generator):
    """Predictions and targets (12, 2, 5), four stimuli shown twice."""
    ids = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7])
    target = torch.randn(8, 2, 5, generator=generator)[ids]
    return target + torch.randn(target.shape, generator=generator), target, ids


def vectors(embeddings) -> np.ndarray:
    flat = embeddings.flatten(1).double().numpy()
    return flat / np.sqrt((flat**2).sum(1, keepdims=True))


def info_nce_by_loops(predicted, true, own, temperature) -> float:
    """`own[i][j]`: the weight with which prediction i belongs to target j."""
    n, total = len(predicted), 0.0
    score = [[float(predicted[i] @ true[j]) / temperature for j in range(n)] for i in range(n)]
    for i in range(n):
        to_targets = math.log(sum(math.exp(score[i][k]) for k in range(n)))
        to_predictions = math.log(sum(math.exp(score[k][i]) for k in range(n)))
        for j in range(n):
            total -= own[i][j] * (score[i][j] - to_targets) / n
            total -= own[j][i] * (score[j][i] - to_predictions) / n
    return total / 2


def test_clip_is_open_clips_loss_when_no_stimulus_repeats(batch):
    ensure_torchvision()
    from open_clip.loss import ClipLoss

    prediction, target, _ = batch
    features = [functional.normalize(x.flatten(1), dim=1) for x in (prediction, target)]
    expected = ClipLoss()(*features, logit_scale=torch.tensor(1 / 0.07))
    found = clip.build(clip.Config(temperature=0.07))(prediction, target, torch.arange(12), 0.0, None)
    torch.testing.assert_close(found, expected)


def test_clip_with_repeats_is_a_loop_over_pairs(batch):
    prediction, target, ids = batch
    own = [[float(a == b) / sum(float(a == c) for c in ids) for b in ids] for a in ids]
    expected = info_nce_by_loops(vectors(prediction), vectors(target), own, 0.1)
    found = clip.build(clip.Config(temperature=0.1))(prediction, target, ids, 0.0, None)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_mixed_clip_is_a_loop_over_pairs_where_a_row_drew_itself(batch):
    prediction, target, _ = batch
    partner = torch.tensor([0, 2, 1, 3, 5, 4, 7, 6, 8, 10, 9, 11])  # 0, 3, 8 and 11 drew themselves
    weight = torch.linspace(0, 1, 12)
    own = np.zeros((12, 12))
    for i in range(12):
        own[i, i] += float(weight[i])
        own[i, int(partner[i])] += 1 - float(weight[i])
    expected = info_nce_by_loops(vectors(prediction), vectors(target), own, 0.006)
    loss = soft_clip.build(soft_clip.Config(mixco_temperature=0.006))
    found = loss(prediction, target, torch.arange(12), 0.0, Mix(partner, weight))
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_soft_siglip_is_a_loop_over_pairs_and_a_repeat_is_a_match(batch):
    prediction, target, ids = batch
    p, t = vectors(prediction), vectors(target)
    total = 0.0
    for i in range(12):
        for j in range(12):
            label = 1.0 if ids[i] == ids[j] else float(t[i] @ t[j]) - 1
            total += math.log1p(math.exp(-label * (float(p[i] @ t[j]) / 0.2 - 3)))
    found = soft_siglip.build(soft_siglip.Config(0.2, 3.0))(prediction, target, ids, 0.0, None)
    assert float(found) == pytest.approx(total / 12, rel=1e-5)


def test_siglip_is_open_clips_loss_when_no_stimulus_repeats(batch):
    ensure_torchvision()
    from open_clip.loss import SigLipLoss

    prediction, target, _ = batch
    features = [functional.normalize(x.flatten(1), dim=1) for x in (prediction, target)]
    expected = SigLipLoss()(*features, logit_scale=torch.tensor(5.0), logit_bias=torch.tensor(-3.0))
    found = siglip.build(siglip.Config(0.2, 3.0))(prediction, target, torch.arange(12), 0.0, None)
    torch.testing.assert_close(found, expected)


def test_siglip_of_mixed_trials_and_repeats_is_a_loop_over_pairs(batch):
    prediction, target, ids = batch
    p, t = vectors(prediction), vectors(target)
    mix = Mix(torch.arange(12).roll(1), torch.linspace(0, 1, 12))
    total = 0.0
    for i in range(12):
        for j in range(12):
            logit = float(p[i] @ t[j]) / 0.2 - 3
            share = float(mix.weight[i])
            match = share * float(ids[i] == ids[j]) + (1 - share) * float(ids[int(mix.partner[i])] == ids[j])
            total += match * math.log1p(math.exp(-logit)) + (1 - match) * math.log1p(math.exp(logit))
    found = siglip.build(siglip.Config(0.2, 3.0))(prediction, target, ids, 0.0, mix)
    assert float(found) == pytest.approx(total / 12, rel=1e-5)


def test_pointwise_losses_are_loops_over_trials(batch):
    prediction, target, ids = batch
    mix = Mix(torch.arange(12).roll(1), torch.linspace(0, 1, 12))
    weight, p, t = mix.weight.numpy()[:, None, None], prediction.numpy(), target.numpy()
    mixed = weight * t + (1 - weight) * t[mix.partner.numpy()]
    found = mse.build(mse.Config())(prediction, target, ids, 0.0, mix)
    assert float(found) == pytest.approx(((p - mixed) ** 2).mean(), rel=1e-5)
    found = l1.build(l1.Config())(prediction, target, ids, 0.0, mix)
    assert float(found) == pytest.approx(np.abs(p - mixed).mean(), rel=1e-5)
    angles = (p * mixed).sum(2) / np.sqrt((p**2).sum(2) * (mixed**2).sum(2))
    found = cosine.build(cosine.Config())(prediction, target, ids, 0.0, mix)
    assert float(found) == pytest.approx((1 - angles).mean(), rel=1e-5)


def test_cross_entropy_is_scikit_learns_log_loss(rng):
    from sklearn.metrics import log_loss

    logits, label = rng.normal(size=(20, 5)), np.arange(20) % 5
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    target = torch.from_numpy(np.eye(5)[label]).unsqueeze(1)
    loss = cross_entropy.build(cross_entropy.Config())
    found = loss(torch.from_numpy(logits).unsqueeze(1), target, torch.arange(20), 0.0, None)
    assert float(found) == pytest.approx(log_loss(label, share))
