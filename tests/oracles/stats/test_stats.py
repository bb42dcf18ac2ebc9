"""Statistics against scipy, scikit-learn and loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score

from braindec.stats import ceilings, intervals
from braindec.stats.auc import roc_auc
from braindec.stats.corrections import fdr, holm
from braindec.stats.identification import comparisons, identify, same_label
from braindec.stats.paired import sign_flip_p
from braindec.stats.permutation import max_statistic_p, p_value


@pytest.mark.parametrize(("hits", "n"), [(0, 9), (3, 20), (20, 20), (57, 113)])
def test_intervals_of_proportions_equal_scipys(hits, n):
    exact = scipy_stats.binomtest(hits, n).proportion_ci(0.9, method="exact")
    score = scipy_stats.binomtest(hits, n).proportion_ci(0.9, method="wilson")
    assert intervals.clopper_pearson(hits, n, 0.9)[:2] == pytest.approx(tuple(exact))
    assert intervals.wilson(hits, n, 0.9)[:2] == pytest.approx(tuple(score))


def test_the_subject_interval_equals_scipys_t_interval(rng):
    values = rng.standard_normal(5)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert intervals.subject_interval(values).interval[:2] == pytest.approx(tuple(expected))


def test_the_standard_error_of_a_mean_equals_scipys_and_units_equal_their_means(rng):
    values = rng.standard_normal(30)
    mean, error = intervals.ratio_and_error(*intervals.unit_totals(values, None))
    assert (mean, error) == pytest.approx((values.mean(), scipy_stats.sem(values)))
    units = np.repeat(np.arange(10), 3)
    by_unit = intervals.ratio_and_error(*intervals.unit_totals(values, units))
    averaged = values.reshape(10, 3).mean(1)
    assert by_unit == pytest.approx((averaged.mean(), scipy_stats.sem(averaged)))


def test_the_bootstrap_of_a_mean_draws_from_the_units_it_was_given(rng):
    values = rng.lognormal(size=40)
    found = intervals.mean_interval(values, rng, n_resamples=4000)
    pulls = []
    for _ in range(4000):
        sample = rng.choice(values, 40)
        pulls.append((sample.mean() - values.mean()) / scipy_stats.sem(sample))
    low, high = np.quantile(pulls, [0.025, 0.975])
    error = scipy_stats.sem(values)
    expected = (values.mean() - high * error, values.mean() - low * error)
    assert found[:2] == pytest.approx(expected, abs=0.25 * error)


@pytest.mark.parametrize("rule", ["two_way", "matched_sum"])
def test_identification_equals_a_double_loop_with_ties_and_classes(rng, rule):
    table = rng.integers(0, 4, (12, 12)).astype(float)
    labels = np.arange(12) % 3
    for pairs in (None, same_label(labels)):
        won, total, per_item = 0.0, 0, np.zeros(12)
        for j in range(12):
            mine = []
            for i in range(12):
                if i == j or (pairs is not None and not pairs[i, j]):
                    continue
                if rule == "two_way":
                    wrong, right = table[i, j], table[j, j]
                else:
                    wrong, right = table[i, j] + table[j, i], table[i, i] + table[j, j]
                mine.append(1.0 if wrong < right else 0.5 if wrong == right else 0.0)
            won, total, per_item[j] = won + sum(mine), total + len(mine), np.mean(mine)
        found = identify(table, pairs=pairs, rule=rule)
        assert found.value == pytest.approx(won / total)
        np.testing.assert_allclose(found.per_item, per_item)


def test_the_closed_form_error_equals_redrawing_the_items_of_the_matrix(rng):
    truths = rng.standard_normal((120, 6))
    table = truths @ (0.5 * truths + rng.standard_normal((120, 6))).T
    found = identify(table)
    shares = []
    for _ in range(1000):
        drawn = rng.integers(0, 120, 120)
        distinct = drawn[:, None] != drawn[None, :]  # an item drawn twice is no distractor of itself
        resampled = table[np.ix_(drawn, drawn)]
        shares.append((resampled < np.diag(resampled)[None, :])[distinct].mean())
    half = scipy_stats.t.ppf(0.975, 119) * np.std(shares) / (found.value * (1 - found.value))
    odds = np.log(found.value / (1 - found.value))
    expected = 1 / (1 + np.exp(-(odds + np.array([-half, half]))))
    assert found.interval[:2] == pytest.approx(tuple(expected), abs=0.005)


def test_units_sum_over_their_items_and_exclude_themselves(rng):
    table, units = rng.standard_normal((9, 9)), np.array(list("aabbccdde"))
    won, compared = comparisons(table, units[:, None] != units[None, :])
    found = identify(table, units=units)
    assert found.value == pytest.approx(won.sum() / compared.sum())
    assert found.n == 5 and len(found.per_item) == 9 and identify(table).n == 9


def test_auc_equals_sklearns_with_ties(rng):
    scores, positive = rng.integers(0, 6, 70).astype(float), rng.random(70) < 0.4
    assert roc_auc(scores, positive).value == pytest.approx(roc_auc_score(positive, scores))


def test_the_error_of_an_auc_equals_delongs_double_loop(rng):
    scores, positive = rng.integers(0, 6, 40).astype(float), np.arange(40) < 15
    wins = np.array([[1.0 if a > b else 0.5 * (a == b) for b in scores[15:]] for a in scores[:15]])
    expected = np.sqrt(wins.mean(1).var(ddof=1) / 15 + wins.mean(0).var(ddof=1) / 25)
    assert roc_auc(scores, positive).error == pytest.approx(expected)


def test_each_trial_its_own_unit_is_nearly_delong(rng):
    scores, positive = rng.standard_normal(400), np.arange(400) % 2 == 0
    alone = roc_auc(scores, positive, units=np.arange(400))
    assert alone.error == pytest.approx(roc_auc(scores, positive).error, rel=0.01)


def test_adjusted_p_values_equal_scipys_and_a_loop(rng):
    p = rng.random(15) ** 3
    np.testing.assert_allclose(fdr(p), scipy_stats.false_discovery_control(p))
    order = np.sort(p)
    for value, adjusted in zip(p, holm(p), strict=True):
        steps = [(15 - k) * order[k] for k in range(15) if order[k] <= value]
        assert adjusted == pytest.approx(min(1.0, max(steps)))


def test_the_maximum_statistic_equals_a_loop_with_ties(rng):
    observed, null = rng.integers(0, 8, 6).astype(float), rng.integers(0, 6, (50, 6)).astype(float)
    expected = [(1 + sum(max(row) >= value for row in null)) / 51 for value in observed]
    np.testing.assert_allclose(max_statistic_p(observed, null), expected)


def test_the_permutation_p_equals_scipys(rng):
    x, y = rng.standard_normal((2, 12))

    def statistic(a, b):
        return a.mean() - b.mean()

    result = scipy_stats.permutation_test((x, y), statistic, n_resamples=200, alternative="greater", rng=1)
    assert p_value(result.statistic, result.null_distribution) == pytest.approx(result.pvalue)


def test_sign_flips_of_few_units_equal_an_enumeration(rng):
    d = np.round(rng.standard_normal(8), 1)
    totals = [abs(np.dot(signs, d)) for signs in itertools.product((-1, 1), repeat=8)]
    expected = np.mean([t >= abs(d.sum()) - 1e-9 for t in totals])
    assert sign_flip_p(d, rng) == pytest.approx(expected)
    many = rng.standard_normal(25) + 0.4
    reference = scipy_stats.permutation_test(
        (many,), np.mean, permutation_type="samples", n_resamples=9999, rng=1
    ).pvalue
    assert sign_flip_p(many, rng, 9999) == pytest.approx(reference, abs=0.02)


def test_ncsnr_equals_a_loop_over_stimuli(rng):
    stimulus = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3])
    responses = rng.standard_normal((10, 4)) + 2 * rng.standard_normal((4, 4))[stimulus]
    noise = np.mean([responses[stimulus == s].var(0, ddof=1) for s in range(3)], axis=0)
    signal = np.clip(responses.var(0, ddof=1) - noise, 0, None)
    found = ceilings.estimate_ncsnr(torch.from_numpy(responses), stimulus)
    np.testing.assert_allclose(found, np.sqrt(signal / noise))
    scaled = ceilings.estimate_ncsnr(torch.from_numpy(responses), stimulus, total_variance=9.0)
    np.testing.assert_allclose(scaled, np.sqrt(np.clip(9.0 - noise, 0, None) / noise))
