"""Pool-free scores find the accuracy of larger galleries and the information of worlds where both are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from braindec.stats import pool_free_intervals
from braindec.stats.pool_free import information, predicted_top1, surprisal
from braindec.stats.pool_free_intervals import pool_free


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


def test_intervals_cover_the_scores_of_other_trials_and_another_gallery(rng):
    """Four worlds of 2 to 12 bits, 15 test sets of 200 each; one that resampled queries alone covers 52 of 60."""
    covered = []
    for n_dims, noise in ((60, 4.0), (20, 1.4), (60, 1.6), (90, 2.2)):
        bits, top1 = analytic_bits(n_dims, noise), true_accuracy(n_dims, noise, 10_000)
        for _ in range(15):
            f = pool_free(gaussian_world(rng, 200, n_dims, noise), np.arange(200), rng)
            covered.append((f.bits_interval.low <= bits <= f.bits_interval.high,
                            f.top1_interval.low <= top1 <= f.top1_interval.high))  # fmt: skip
            assert f.bits_interval.high - f.bits_interval.low < 0.8 * bits
    assert (np.mean(covered, 0) >= 0.9).all()


def test_predictions_that_know_nothing_have_intervals_around_no_bits(rng):
    found = [pool_free(rng.standard_normal((100, 100)), np.arange(100), rng, ways=100) for _ in range(40)]
    assert np.mean([f.bits_interval.low <= 0 <= f.bits_interval.high for f in found]) >= 0.9
    assert np.mean([f.top1_interval.low <= 0.01 <= f.top1_interval.high for f in found]) >= 0.9


def test_repeated_queries_are_left_out_with_their_item(rng):
    """Eight trials of an item tell little more than one where the item, not the trial, is what varies."""
    gallery = rng.standard_normal((60, 12))
    once = gallery @ gallery.T + 3 * rng.standard_normal((60, 60))
    again, shown = np.repeat(once, 8, axis=0), np.repeat(np.arange(60), 8)
    again += 0.01 * rng.standard_normal(again.shape)
    few, many = (
        pool_free(s, t, rng, ways=60).top1_interval for s, t in ((once, np.arange(60)), (again, shown))
    )
    assert 0.7 < (many.high - many.low) / (few.high - few.low) < 1.4


def test_the_error_of_many_items_is_found_on_some(rng, monkeypatch):
    world = gaussian_world(rng, 300, 30, 2.0)
    whole = pool_free(world, np.arange(300), rng).bits_interval
    monkeypatch.setattr(pool_free_intervals, "MAX_ITEMS", 150)
    monkeypatch.setattr(pool_free_intervals, "MAX_GALLERY", 200)
    part = pool_free(world, np.arange(300), rng).bits_interval
    assert 0.5 < (part.high - part.low) / (whole.high - whole.low) < 2.0


def test_intervals_of_too_few_items_are_refused(rng):
    with pytest.raises(ValueError, match="number of items with queries"):
        pool_free(rng.standard_normal((20, 12)), np.arange(20) % 6, rng)
