"""Calibration against the Gaussian world it assumes: its map, its error and its evidence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal

from braindec.decoder.calibration import WAYS, Calibration, evidence, held_out_rank, whitened_cosine


def world(n=4000, n_dims=6, noise=0.7, seed=0):
    """Truth with a decaying spectrum and outputs that are sheared, scaled and noisy in unequal directions."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((n, n_dims)) * np.linspace(1.5, 0.5, n_dims)
    shear = rng.standard_normal((n_dims, n_dims)) + 2 * np.eye(n_dims)
    raw = truth @ shear + noise * rng.standard_normal((n, n_dims)) * np.linspace(0.2, 3, n_dims)
    return torch.tensor(raw, dtype=torch.float32), torch.tensor(truth, dtype=torch.float32)


def test_evidence_is_the_log_density_ratio_of_scipy(rng):
    a = rng.standard_normal((4, 4))
    error, prior = a @ a.T + np.eye(4), 3 * np.eye(4) + np.diag([1.0, 2, 3, 4])
    x, z = rng.standard_normal((5, 4)), rng.standard_normal((7, 4))
    ours = evidence(*(torch.tensor(v) for v in (x, z, error, prior))).numpy()
    of_any = multivariate_normal(np.zeros(4), prior)
    expected = np.array([[multivariate_normal(m, error).logpdf(c) - of_any.logpdf(c) for c in z] for m in x])
    np.testing.assert_allclose(ours - ours[0, 0], expected - expected[0, 0], atol=1e-4)


def test_the_map_is_the_linear_regression_of_truth_on_outputs(generator):
    raw, truth = world()
    calibration = Calibration(6)
    calibration.fit_(raw, truth, generator)
    x = np.c_[raw.numpy(), np.ones(len(raw))]
    expected = x @ np.linalg.lstsq(x, truth.numpy(), rcond=None)[0]
    np.testing.assert_allclose(calibration(raw).numpy(), expected, atol=0.02)


def test_calibrated_evidence_identifies_better_than_the_cosine_of_raw_outputs(generator):
    raw, truth = world(noise=1.5)
    calibration = Calibration(6)
    calibration.fit_(raw[:3000], truth[:3000], generator)
    queries, gallery = raw[3000:3300], truth[3000:3300]
    own = torch.arange(300)
    cosine = torch.nn.functional.normalize(queries, dim=1) @ torch.nn.functional.normalize(gallery, dim=1).T
    ours = calibration.similarity(calibration(queries), gallery)
    hits = [float((s.argmax(1) == own).float().mean()) for s in (ours, cosine)]
    assert hits[0] > hits[1] + 0.05


def test_with_few_stimuli_nothing_is_lost_against_the_cosine(generator):
    rng = np.random.default_rng(1)
    truth = torch.tensor(rng.standard_normal((60, 40)), dtype=torch.float32)
    raw = truth + 1.5 * torch.tensor(rng.standard_normal((60, 40)), dtype=torch.float32)
    calibration = Calibration(40)
    calibration.fit_(raw[:30], truth[:30], generator)
    own = torch.arange(30)
    made = calibration.similarity(calibration(raw[30:]), truth[30:])
    cosine = (
        torch.nn.functional.normalize(raw[30:], dim=1) @ torch.nn.functional.normalize(truth[30:], dim=1).T
    )
    assert (made.argmax(1) == own).float().mean() >= (cosine.argmax(1) == own).float().mean() - 0.1


def test_outputs_that_know_nothing_rank_at_chance(generator):
    rng = np.random.default_rng(2)
    raw, truth = (torch.tensor(rng.standard_normal((300, 5)), dtype=torch.float32) for _ in range(2))
    chance = np.mean(1 / np.arange(1, 101))  # of the reciprocal rank among 100
    assert held_out_rank(raw, truth, generator) == pytest.approx(chance, abs=0.03)


def test_too_few_stimuli_are_refused(generator):
    with pytest.raises(ValueError, match="at least 20"):
        Calibration(3).fit_(torch.zeros(10, 3), torch.zeros(10, 3), generator)


def test_the_whitened_cosine_is_the_cosine_of_whitened_vectors(rng):
    a = rng.standard_normal((4, 4))
    error = a @ a.T + np.eye(4)
    x, z = rng.standard_normal((5, 4)), rng.standard_normal((7, 4))
    ours = whitened_cosine(*(torch.tensor(v) for v in (x, z, error))).numpy()
    root = np.linalg.inv(np.linalg.cholesky(error))
    np.testing.assert_allclose(ours, 1 - cdist(x @ root.T, z @ root.T, "cosine"), atol=1e-6)


def attended(n=1500, n_dims=12, gain=0.6, noise=0.5, seed=0):
    """Outputs whose length differs from trial to trial with attention, whatever was seen, and unequal noise."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((n, n_dims))
    length = np.exp(gain * rng.standard_normal((n, 1)))
    raw = length * (truth + noise * rng.standard_normal((n, n_dims)) * np.linspace(0.2, 2.5, n_dims))
    return torch.tensor(raw, dtype=torch.float32), torch.tensor(truth, dtype=torch.float32)


def brain_hits(calibration, raw, truth, direction):
    by_image = calibration.similarity(calibration(raw), truth, direction).T
    return float((by_image.argmax(1) == torch.arange(len(truth))).float().mean())


def test_responses_of_uneven_attention_are_found_better_by_their_own_comparison(generator):
    raw, truth = attended()
    calibration = Calibration(12)
    calibration.fit_(raw[:1200], truth[:1200], generator)
    assert WAYS[int(calibration.brain_way)] == "whitened"
    own, by_image = (brain_hits(calibration, raw[1200:], truth[1200:], d) for d in ("brain", "image"))
    assert own > by_image + 0.05


def test_where_length_tells_what_was_seen_responses_are_found_by_evidence(generator):
    """Stimuli along one line: the angle knows only the side."""
    rng = np.random.default_rng(0)
    along = 3 * rng.standard_normal((600, 1)) * np.array([[1.0, 0.5, 0.2]])
    truth = torch.tensor(along + 0.1 * rng.standard_normal((600, 3)), dtype=torch.float32)
    raw = truth + 0.1 * torch.tensor(rng.standard_normal((600, 3)), dtype=torch.float32)
    calibration = Calibration(3)
    calibration.fit_(raw, truth, generator)
    assert WAYS[int(calibration.brain_way)] == "evidence"


def test_a_pairs_similarity_depends_on_no_other_response_or_image(generator):
    raw, truth = attended(300)
    calibration = Calibration(12)
    calibration.fit_(raw, truth, generator)
    for direction in ("image", "brain"):
        whole = calibration.similarity(calibration(raw[:40]), truth[:40], direction)
        alone = calibration.similarity(calibration(raw[3:4]), truth[7:8], direction)
        assert float(alone) == pytest.approx(float(whole[3, 7]), rel=1e-5, abs=1e-5)


def test_responses_that_know_nothing_are_found_at_chance(generator):
    rng = np.random.default_rng(3)
    raw, truth = (torch.tensor(rng.standard_normal((400, 5)), dtype=torch.float32) for _ in range(2))
    calibration = Calibration(5)
    calibration.fit_(raw[:300], truth[:300], generator)
    assert brain_hits(calibration, raw[300:], truth[300:], "brain") < 0.06  # chance 0.01
