"""Measures of a prior's samples against posteriors that are known, and their scores against shuffled pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.evaluate import prior_clusters, prior_measures, prior_quality
from braindec.evaluate.prior_measures import Drawn, inside, measures, ranks, spread_over_error

N, DIM, NOISE = 240, 6, 0.8


def drawn(rng, n_samples=39, width=1.0, shuffled=False):
    """Draws of the true posterior of a Gaussian world, its spread multiplied."""
    image = rng.standard_normal((N, DIM))
    brain = image + NOISE * rng.standard_normal((N, DIM))
    gain = 1 / (1 + NOISE**2)
    sd = np.sqrt(1 - gain)
    samples = gain * brain + width * sd * rng.standard_normal((n_samples, N, DIM))
    if shuffled:
        samples = samples[:, rng.permutation(N)]
    known = rng.standard_normal((2000, 1, DIM))
    return Drawn(tuple(map(str, range(N))), samples[:, :, None], image[:, None], known)


@pytest.mark.parametrize("n_samples", [19, 24, 39])
def test_draws_of_the_true_posterior_cover_what_they_promise(rng, n_samples):
    found = measures(drawn(rng, n_samples))
    assert spread_over_error(found) == pytest.approx(1, abs=0.06)
    for name in ("coverage_random", "coverage_principal"):
        assert found[name].mean() == pytest.approx(0.9, abs=0.02)
    assert found["embedding_error"].mean() == pytest.approx(NOISE**2 / (1 + NOISE**2), rel=0.1)


@pytest.mark.parametrize(("width", "coverage"), [(0.5, 0.59), (2.0, 0.998)])
def test_samples_too_narrow_or_too_wide_are_told(rng, width, coverage):
    """0.59 of a Gaussian lies within 1.645 / 2 SDs."""
    found = measures(drawn(rng, width=width))
    assert spread_over_error(found) == pytest.approx(width, rel=0.08)
    assert found["coverage_random"].mean() == pytest.approx(coverage, abs=0.04)


def test_the_energy_score_is_least_for_the_true_posterior(rng):
    scores = [
        measures(drawn(np.random.default_rng(1), width=w))["energy_score"].mean() for w in (0.4, 1, 2.5)
    ]
    assert scores[1] == min(scores)


def test_the_energy_score_is_its_definition(rng):
    one = drawn(rng, 4)
    samples, truth, _ = (v.numpy() for v in one.flat())
    apart = [np.linalg.norm(samples[i] - samples[j], axis=1) for i in range(4) for j in range(4) if i != j]
    expected = np.linalg.norm(samples - truth, axis=2).mean(0) - 0.5 * np.mean(apart, 0)
    np.testing.assert_allclose(measures(one)["energy_score"], expected)


def test_ranks_of_calibrated_samples_are_uniform(rng):
    """Chi-square over ten bins of ranks along one direction a row."""
    rank = torch.cat([ranks(drawn(rng))[0][:, 0] for _ in range(4)])
    counts = np.bincount(rank.numpy() // 4, minlength=10)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 27.9  # 99.9 % of chi-square with 9


@pytest.mark.parametrize(("n_samples", "level"), [(19, 0.9), (32, 0.9), (5, 0.5)])
def test_a_uniform_rank_lies_inside_exactly_as_often_as_the_level_says(n_samples, level):
    assert float(inside(torch.arange(n_samples + 1), n_samples, level).mean()) == pytest.approx(level)


def test_scores_carry_null_interval_and_n_and_shuffled_pairs_lose(rng):
    nulls = [drawn(rng, shuffled=True) for _ in range(3)]
    rows = {s.name: s for s in prior_quality.quality(drawn(rng), nulls, "sub-01_fmri")}
    assert rows["prior_two_way"].value > 0.8 and rows["prior_two_way"].null == pytest.approx(0.5, abs=0.05)
    assert rows["prior_two_way"].p == 0.25  # (0 + 1) / (3 + 1)
    assert rows["prior_embedding_error"].value < rows["prior_embedding_error"].null
    assert rows["prior_energy_score"].value < rows["prior_energy_score"].chance
    assert rows["prior_miscalibration"].value < 0.15 < rows["prior_miscalibration"].null
    assert rows["prior_miscalibration"].details["spread over error"] == pytest.approx(1, abs=0.1)
    assert rows["prior_rank_ratio"].value == pytest.approx(1, abs=0.1)
    for row in rows.values():
        assert row.n == N and row.null_n == 3 and row.interval[0] <= row.value <= row.interval[1]
    null = {s.name: s for s in prior_quality.quality(nulls[0], nulls[1:], "sub-01_fmri")}
    assert null["prior_two_way"].value == pytest.approx(0.5, abs=0.05)
    found = prior_quality.Quality(tuple(rows.values()), {"sub-01_fmri": nulls[0]})
    kinds = [kind for _, kind, _ in prior_quality.panels(found)]
    assert kinds == ["table", "curve"]


def test_a_prior_that_draws_few_things_has_a_low_rank(rng):
    one = drawn(rng)
    flat = one.samples.copy()
    flat[..., 2:] = 0
    few = Drawn(one.ids, flat, one.truth, one.known)
    assert prior_measures.rank_of_means(few)[0] < 2.1 < 5 < prior_measures.rank_of_means(few)[1]


def clusters(rng):
    """Six clusters of thirty images each, and brains = images + noise."""
    centre = 4 * rng.standard_normal((6, 1, DIM))
    image = np.repeat(centre, 30, axis=0) + rng.standard_normal((180, 1, DIM))
    brain = image + 0.5 * rng.standard_normal(image.shape)
    return torch.from_numpy(brain), torch.from_numpy(image)


def test_a_linear_prior_works_for_unseen_clusters_and_one_that_repeats_its_training_does_not(rng):
    brain, image = clusters(rng)

    def linear(rows):
        return lambda asked: 0.8 * asked

    def memory(rows):
        return lambda asked: image[rows][torch.cdist(asked.flatten(1), brain[rows].flatten(1)).argmin(1)]

    good = prior_clusters.held_out_clusters(linear, brain, image, n_clusters=6)
    assert good.difference.value == pytest.approx(0, abs=1e-9) and good.unseen.mean() > 0.85
    bad = prior_clusters.held_out_clusters(memory, brain, image, n_clusters=6)
    assert bad.difference.interval.high < 0 and bad.unseen.mean() < 0.75 < bad.seen.mean()


def some(one, rows):
    rows = np.asarray(rows)
    return Drawn(tuple(one.ids[i] for i in rows), one.samples[:, rows], one.truth[rows], one.known)


def test_few_trials_have_intervals_too_and_shares_stay_in_their_range(rng):
    one, null = some(drawn(rng), range(30)), some(drawn(rng, shuffled=True), range(30))
    rows = {s.name: s for s in prior_quality.quality(one, [null], "sub-01_fmri")}
    ratio = rows["prior_rank_ratio"]
    assert ratio.interval[0] < ratio.value < ratio.interval[1]
    lost = {s.name: s for s in prior_quality.quality(null, [null], "sub-01_fmri")}["prior_top1"]
    assert lost.value < 0.2 and 0 <= lost.interval[0] < lost.value + 1e-9 < lost.interval[1]
    assert lost.interval[1] > lost.value + 0.05


def test_rows_that_repeat_a_stimulus_narrow_no_interval(rng):
    one, null = drawn(rng), drawn(rng, shuffled=True)
    once, often = (
        {s.name: s for s in prior_quality.quality(some(one, rows), [some(null, rows)], "sub-01_fmri")}
        for rows in (np.arange(60), np.repeat(np.arange(60), 4))
    )
    for name in ("prior_miscalibration", "prior_rank_ratio", "prior_top1"):
        width = np.diff(once[name].interval)
        assert np.diff(often[name].interval) == pytest.approx(width, rel=0.3), name
