"""Intervals cover the truth in 93 to 97 % of 1,000 simulated worlds, and the tempting shortcut does not."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.stats.auc import roc_auc
from braindec.stats.identification import comparisons, identify
from braindec.stats.intervals import mean_interval, proportion_interval, subject_interval
from braindec.stats.paired import paired_difference

N_WORLDS = 1000


def share_covered(limits, truth):
    limits, truth = np.asarray(limits), np.broadcast_to(truth, len(limits))
    return float(((limits[:, 0] <= truth) & (truth <= limits[:, 1])).mean())


def similarities(rng, n_worlds, n_items, n_dims, strength):
    truths = rng.standard_normal((n_worlds, n_items, n_dims), dtype=np.float32)
    predictions = strength * truths + rng.standard_normal(truths.shape, dtype=np.float32)
    predictions /= np.linalg.norm(predictions, axis=-1, keepdims=True)
    return truths / np.linalg.norm(truths, axis=-1, keepdims=True) @ predictions.swapaxes(1, 2)


def shares_correct(tables):
    own = np.einsum("wii->wi", tables)[:, None, :]
    return (tables < own).sum((1, 2)) / (tables.shape[1] * (tables.shape[1] - 1))


@pytest.mark.parametrize(("n_items", "strength"), [(50, 0.2), (40, 0.5)])
def test_two_way_identification_covers_the_value_of_all_items(rng, n_items, strength):
    truth = shares_correct(similarities(rng, 20, 1000, 20, strength)).mean()
    tables = similarities(rng, N_WORLDS, n_items, 20, strength)
    found = [identify(table) for table in tables]
    covered = share_covered([f.interval[:2] for f in found], truth)
    assert 0.93 <= covered <= 0.97
    # What the library does not offer: comparisons taken as independent draws.
    values = np.array([f.value for f in found])
    half = 1.96 * np.sqrt(values * (1 - values) / (n_items * (n_items - 1)))
    assert share_covered(np.stack([values - half, values + half], 1), truth) < 0.6


def test_within_class_identification_covers_too(rng):
    labels = np.arange(60) % 3
    pairs = labels[:, None] == labels[None, :]
    truth = shares_correct(similarities(rng, 20, 1000, 20, 0.3)).mean()
    tables = similarities(rng, N_WORLDS, 60, 20, 0.3)
    limits = [identify(table, pairs=pairs).interval[:2] for table in tables]
    assert 0.93 <= share_covered(limits, truth) <= 0.97


def test_identification_of_repeated_stimuli_covers_when_stimuli_are_the_units(rng):
    n_stimuli, n_repeats, strength = 30, 3, 0.4
    units = np.repeat(np.arange(n_stimuli), n_repeats)

    def world(n_worlds, n):
        stimuli = rng.standard_normal((n_worlds, n, 20), dtype=np.float32)
        # What a stimulus lacks is the same in all its repeats, so repeats are not independent.
        kept = stimuli * (rng.random((n_worlds, n, 1)) < 0.7)
        repeated = np.repeat(strength * kept, n_repeats, axis=1)
        predictions = repeated + 0.7 * rng.standard_normal(repeated.shape, dtype=np.float32)
        predictions /= np.linalg.norm(predictions, axis=-1, keepdims=True)
        return np.repeat(stimuli, n_repeats, axis=1) @ predictions.swapaxes(1, 2)

    def between(table, member):
        won, compared = comparisons(table, member[:, None] != member[None, :])
        return won.sum() / compared.sum()

    truth = np.mean([between(table, np.repeat(np.arange(300), n_repeats)) for table in world(20, 300)])
    different = units[:, None] != units[None, :]
    found = [
        identify(table, units=units, pairs=different).interval[:2] for table in world(N_WORLDS, n_stimuli)
    ]
    assert 0.93 <= share_covered(found, truth) <= 0.97


def retrieval_worlds(rng, n_queries, n_galleries=20, n_entries=100, n_dims=16):
    """Top-1 hits (world, query) and each world's true rate: queries of random entries of a fixed gallery."""
    hits, rates = [], []
    for _ in range(n_galleries):
        gallery = rng.standard_normal((n_entries, n_dims), dtype=np.float32)
        gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
        n_worlds = N_WORLDS // n_galleries
        shown = rng.integers(0, n_entries, n_worlds * n_queries + 10_000)
        noise = rng.standard_normal((len(shown), n_dims), dtype=np.float32)
        hit = ((gallery[shown] + 0.25 * noise) @ gallery.T).argmax(1) == shown
        rates += [hit[n_worlds * n_queries :].mean()] * n_worlds
        hits.append(hit[: n_worlds * n_queries].reshape(n_worlds, n_queries))
    return np.concatenate(hits).astype(float), np.array(rates)


@pytest.mark.parametrize("n_queries", [60, 200])
def test_retrieval_covers_the_rate_of_a_fixed_gallery(rng, n_queries):
    hits, rates = retrieval_worlds(rng, n_queries)
    limits = [proportion_interval(world)[:2] for world in hits]
    assert 0.3 < rates.mean() < 0.9
    assert 0.93 <= share_covered(limits, rates) <= 0.97


def test_clustered_hits_cover_when_stimuli_are_the_units_and_not_otherwise(rng):
    units = np.repeat(np.arange(50), 3)
    chance_of_hit = rng.beta(1.2, 0.8, (N_WORLDS, 50))
    hits = (rng.random((N_WORLDS, 150)) < np.repeat(chance_of_hit, 3, axis=1)).astype(float)
    by_stimulus = [proportion_interval(world, units=units)[:2] for world in hits]
    by_trial = [proportion_interval(world)[:2] for world in hits]
    assert 0.93 <= share_covered(by_stimulus, 0.6) <= 0.97
    assert share_covered(by_trial, 0.6) < 0.92


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda rng, n: rng.standard_normal((N_WORLDS, n)), 0.0),
        (lambda rng, n: rng.lognormal(0.0, 0.5, (N_WORLDS, n)), np.exp(0.125)),
    ],
    ids=["normal", "skewed"],
)
def test_means_of_unbounded_values_cover(rng, draw, truth):
    limits = [mean_interval(world, rng, n_resamples=1000)[:2] for world in draw(rng, 60)]
    assert 0.93 <= share_covered(limits, truth) <= 0.97


def test_four_subjects_cover_with_the_t_interval(rng):
    limits = [
        subject_interval(world).interval[:2] for world in 0.5 + 0.1 * rng.standard_normal((N_WORLDS, 4))
    ]
    assert 0.93 <= share_covered(limits, 0.5) <= 0.97


def test_auc_covers_with_independent_and_with_clustered_trials(rng):
    from scipy.stats import norm

    positive = np.arange(80) % 2 == 0
    scores = rng.standard_normal((N_WORLDS, 80)) + 1.0 * positive
    limits = [roc_auc(world, positive).interval[:2] for world in scores]
    assert 0.93 <= share_covered(limits, norm.cdf(1 / np.sqrt(2))) <= 0.97
    units = np.repeat(np.arange(40), 2)
    class_of_unit = np.repeat(np.arange(40) % 2 == 0, 2)
    shared = np.repeat(rng.standard_normal((N_WORLDS, 40)), 2, axis=1)
    clustered = shared + rng.standard_normal((N_WORLDS, 80)) + 1.5 * class_of_unit
    limits = [roc_auc(world, class_of_unit, units=units).interval[:2] for world in clustered]
    assert 0.93 <= share_covered(limits, norm.cdf(1.5 / 2)) <= 0.97


@pytest.mark.parametrize(("area", "n_positive", "n"), [(0.95, 10, 20), (0.98, 8, 48), (0.99, 40, 80)])
def test_an_auc_near_one_covers_too(rng, area, n_positive, n):
    """Where many worlds make no mistake at all, coverage comes in steps and may only exceed what is promised."""
    from scipy.stats import norm

    positive = np.arange(n) < n_positive
    scores = rng.standard_normal((N_WORLDS, n)) + norm.ppf(area) * np.sqrt(2) * positive
    limits = np.array([roc_auc(world, positive).interval[:2] for world in scores])
    assert 0.93 <= share_covered(limits, area) <= 0.99
    assert (limits[:, 0] < limits[:, 1]).all()


def test_paired_differences_of_hits_cover(rng):
    shared = rng.random((N_WORLDS, 100))
    better = (np.clip(shared + 0.2 * rng.standard_normal(shared.shape), 0, 1) < 0.7).astype(float)
    worse = (np.clip(shared + 0.2 * rng.standard_normal(shared.shape), 0, 1) < 0.6).astype(float)
    truth = (
        better.mean() - worse.mean()
    )  # 100,000 queries each: 0.2 of one world's standard error away at most
    limits = [
        paired_difference(a, b, rng, n_resamples=100).interval[:2] for a, b in zip(better, worse, strict=True)
    ]
    assert 0.93 <= share_covered(limits, truth) <= 0.97
