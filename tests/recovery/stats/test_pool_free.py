"""Pool-free scores find the accuracy of larger galleries and the information of worlds where both are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from braindec.stats.pool_free import information, pool_free, predicted_top1, surprisal


def gaussian_world(rng, n, n_dims, noise):
    """Dot products of noisy Gaussian predictions with the true vectors: (n, n)."""
    truth = rng.standard_normal((n, n_dims))
    return (truth + noise * rng.standard_normal(truth.shape)) @ truth.T


def own_scores(n_dims, noise):
    """Equally likely scores of the truth, in SDs of its row's distractors, which are exactly Gaussian."""
    gain = 1 / (1 + noise**2)
    length = np.sqrt(1 + noise**2) * stats.chi(n_dims).ppf((np.arange(400) + 0.5) / 400)
    return gain * length, np.sqrt(noise**2 * gain)


def analytic_bits(n_dims, noise):
    centres, spread = own_scores(n_dims, noise)
    z = np.linspace(-8, centres.max() + 8, 4000)
    density = stats.norm.pdf(z[:, None], centres, spread).mean(1)
    ratio = np.log2(np.maximum(density, 1e-300)) - stats.norm.logpdf(z) / np.log(2)
    return np.trapezoid(density * ratio, z)


def true_accuracy(n_dims, noise, ways):
    centres, spread = own_scores(n_dims, noise)
    z = centres[:, None] + spread * stats.norm.ppf((np.arange(1000) + 0.5) / 1000)
    return np.exp((ways - 1) * stats.norm.logcdf(z)).mean()


@pytest.mark.parametrize(("n_dims", "noise"), [(20, 1.0), (60, 1.6), (60, 3.0)])
def test_thousand_queries_give_accuracy_and_bits_of_any_gallery(rng, n_dims, noise):
    similarity = gaussian_world(rng, 1000, n_dims, noise)
    found = surprisal(similarity, np.arange(1000))
    for ways, error in ((10, 0.03), (200, 0.03), (10_000, 0.03), (1_000_000, 0.06)):
        assert predicted_top1(found, ways).mean() == pytest.approx(
            true_accuracy(n_dims, noise, ways), abs=error
        )
    assert information(found).mean() == pytest.approx(analytic_bits(n_dims, noise), rel=0.05)


def test_200_queries_predict_ten_thousand_ways_without_bias(rng):
    worlds = [gaussian_world(rng, 200, 60, 1.6) for _ in range(20)]
    found = [predicted_top1(surprisal(s, np.arange(200)), 10_000).mean() for s in worlds]
    assert np.mean(found) == pytest.approx(true_accuracy(60, 1.6, 10_000), abs=0.03)
    bits = [information(surprisal(s, np.arange(200))).mean() for s in worlds]
    assert np.mean(bits) == pytest.approx(analytic_bits(60, 1.6), rel=0.05)


def test_a_gaussian_tail_would_be_wrong_where_the_fitted_one_is_not(rng):
    """Cosines in few dimensions have a tail that ends: a Gaussian of the same mean and SD promises too little."""
    truth = rng.standard_normal((10_000, 12))
    queries = truth[:1000] + 0.6 * rng.standard_normal((1000, 12))
    cosine = queries @ truth.T / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(truth, axis=1)
    true = (cosine.argmax(1) == np.arange(1000)).mean()
    small = cosine[:, :1000]
    predicted = predicted_top1(surprisal(small, np.arange(1000)), 10_000).mean()
    off = small[~np.eye(1000, dtype=bool)].reshape(1000, 999)
    z = (np.diag(small) - off.mean(1)) / off.std(1)
    gaussian = np.exp(9999 * stats.norm.logcdf(z)).mean()
    assert predicted == pytest.approx(true, abs=0.05)
    assert abs(gaussian - true) > 0.15


@pytest.mark.parametrize("n", [50, 200])
def test_predictions_that_know_nothing_have_zero_bits_and_chance(rng, n):
    worlds = [surprisal(rng.standard_normal((n, n)), np.arange(n)) for _ in range(60)]
    bits = np.array([information(world).mean() for world in worlds])
    assert bits.mean() == pytest.approx(0.0, abs=0.04 if n == 200 else 0.1)
    assert (bits < 0).any()  # not clipped
    assert np.mean([predicted_top1(world, 10) for world in worlds]) == pytest.approx(0.1, abs=0.01)
    assert np.mean([predicted_top1(world, 10_000) for world in worlds]) < 2e-3


def test_one_answer_for_every_trial_is_worth_nothing():
    found = surprisal(np.zeros((200, 200)), np.arange(200))
    assert -0.2 < information(found).mean() < 0.05
    assert predicted_top1(found, 10).mean() == pytest.approx(0.1, abs=0.01)


def test_neither_score_knows_the_scale_of_a_row_or_the_order_of_the_gallery(rng):
    similarity = gaussian_world(rng, 100, 20, 2.0)
    base = surprisal(similarity, np.arange(100))
    moved = surprisal(
        similarity * rng.uniform(2, 5, (100, 1)) + rng.standard_normal((100, 1)), np.arange(100)
    )
    np.testing.assert_allclose(moved, base, rtol=1e-6)
    order = rng.permutation(100)
    np.testing.assert_allclose(surprisal(similarity[:, order], np.argsort(order)), base, rtol=1e-9)


def test_intervals_cover_the_scores_of_a_fixed_gallery(rng):
    n, noise = 100, 2.5
    gallery = rng.standard_normal((200, 30))

    def draw(k):
        shown = rng.integers(0, 200, k)
        return (gallery[shown] + noise * rng.standard_normal((k, 30))) @ gallery.T, shown

    everything = surprisal(*draw(6000))
    bits, top1 = information(everything).mean(), predicted_top1(everything, 1000).mean()
    found = [pool_free(*draw(n), rng, ways=1000) for _ in range(100)]
    covered = np.array(
        [
            (f.bits_interval.low <= bits <= f.bits_interval.high, f.top1_interval.low <= top1 <= f.top1_interval.high)
            for f in found
        ]
    ).mean(0)  # fmt: skip
    assert (covered >= 0.86).all()  # 100 worlds
    assert (covered < 1).all()
