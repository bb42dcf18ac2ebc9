"""Edges, ties and refusals of the statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.stats import intervals
from braindec.stats.auc import roc_auc
from braindec.stats.ceilings import estimate_ncsnr, noise_ceiling, spearman_brown
from braindec.stats.identification import identify, same_label
from braindec.stats.paired import paired_difference, sign_flip_p
from braindec.stats.permutation import max_statistic_p, n_pairings, p_value, permute_within_blocks
from braindec.stats.pool_free import surprisal
from braindec.stats.pool_free_intervals import pool_free
from braindec.stats.scoring import summarise


def test_the_observed_pairing_counts_and_ties_count_against_it():
    assert p_value(5.0, [1.0, 2.0, 3.0]) == 1 / 4
    assert p_value(3.0, [1.0, 3.0, 5.0]) == 3 / 4
    assert p_value(0.0, [1.0, 3.0, 5.0], "less") == 1 / 4
    assert p_value(9.0, [1.0, 3.0, 5.0], "two-sided") == 2 / 4


def test_permutations_stay_in_their_blocks_and_reach_every_pairing(rng):
    blocks = np.array([0, 0, 0, 1, 1])
    seen = {tuple(permute_within_blocks(blocks, rng)) for _ in range(400)}
    assert len(seen) == n_pairings(blocks) == 12
    assert all((blocks[list(order)] == blocks).all() for order in seen)


def test_repeated_stimuli_move_together_and_only_among_those_shown_in_the_same_blocks(rng):
    units = np.array(list("aabbccaabbcd"))
    blocks = np.array([0] * 6 + [1] * 6)
    partners = {}
    for _ in range(100):
        order = permute_within_blocks(blocks, rng, units=units)
        assert sorted(order) == list(range(12))
        assert (blocks[order] == blocks).all()
        for unit in "abcd":
            got = set(units[order][units == unit])
            assert len(got) == 1
            partners.setdefault(unit, set()).update(got)
    assert partners == {"a": {"a", "b"}, "b": {"a", "b"}, "c": {"c"}, "d": {"d"}}
    assert n_pairings(blocks, units) == 2


def test_a_null_that_could_not_differ_is_refused(rng):
    with pytest.raises(ValueError, match="no two units to exchange"):
        permute_within_blocks([0, 1, 2], rng)


def test_a_generator_in_the_same_state_gives_the_same_order():
    first, second = (permute_within_blocks([0] * 9, np.random.default_rng(3)) for _ in range(2))
    assert (first == second).all()


def test_the_maximum_statistic_corrects_for_the_family_and_members_with_more_noise():
    null = np.column_stack([np.linspace(-1, 1, 99), 10 * np.linspace(-1, 1, 99)])
    assert max_statistic_p([2.0, 0.0], null)[0] > 0.3
    assert max_statistic_p([2.0, 0.0], null, standardised=True)[0] == pytest.approx(0.01)


def test_all_or_no_hits_leave_room_for_doubt():
    assert intervals.proportion_interval(np.ones(20)).low < 0.9
    assert intervals.proportion_interval(np.zeros(20)).high > 0.1
    assert intervals.proportion_interval(np.ones(20), units=np.arange(20) // 2).low < 0.8


def test_intervals_hold_the_value_and_stay_in_range(rng):
    for _ in range(50):
        n = int(rng.integers(2, 30))
        values = rng.random(n) ** 8
        found = intervals.proportion_interval(values)
        assert 0 <= found.low <= values.mean() <= found.high <= 1
        wide = intervals.proportion_interval(values, level=0.99)
        assert wide.low <= found.low and found.high <= wide.high


def test_few_units_get_a_t_interval_and_no_bootstrap(rng):
    assert intervals.mean_interval([1.0, 2.0, 4.0], rng).method == "t"
    assert intervals.mean_interval(rng.standard_normal(7), rng).method == "t"
    assert intervals.mean_interval(rng.standard_normal(8), rng).method == "bootstrap_t"


def test_every_subject_is_returned_and_one_subject_has_no_interval():
    summary = intervals.subject_interval([0.1, 0.3, 0.2])
    assert summary.values == (0.1, 0.3, 0.2)
    assert summary.interval.low < 0.1
    with pytest.raises(ValueError, match="independent units"):
        intervals.subject_interval([0.5])


def test_perfect_constant_and_inverted_identification(rng):
    table = np.eye(10)
    perfect = identify(table)
    assert perfect.value == 1 and perfect.interval.high == 1 and 0.6 < perfect.interval.low < 0.8
    assert identify(-table).value == 0
    assert identify(np.ones((10, 10))).value == 0.5
    assert identify(np.ones((10, 10)), rule="matched_sum").value == 0.5


def test_identification_within_a_class_ignores_the_other_classes(rng):
    labels = np.repeat([0, 1], 10)
    table = np.where(same_label(labels), 1.0, 0.0)  # knows the class and nothing else
    assert identify(table).value > 0.7
    assert identify(table, pairs=same_label(labels)).value == 0.5


def test_an_item_without_distractors_counts_nowhere(rng):
    table, labels = np.eye(7), [0, 0, 0, 1, 1, 1, 2]
    found = identify(table, pairs=same_label(labels))
    assert found.n == 6 and np.isnan(found.per_item[6]) and found.value == 1


def test_auc_of_separated_inverted_and_constant_scores():
    positive = np.arange(20) < 10
    assert roc_auc(positive * 1.0, positive).value == 1
    assert roc_auc(positive * 1.0, positive).interval.low < 0.9
    assert roc_auc(-1.0 * positive, positive).value == 0
    assert roc_auc(np.zeros(20), positive).value == 0.5


def test_classes_told_apart_without_a_mistake_leave_as_much_doubt_as_the_smaller_one_allows():
    """Newcombe 2006: the limit solves (1 - area)^2 = z^2 V(area); found here on a fine grid instead."""
    area = np.linspace(0.001, 0.999999, 1_000_000)

    def limit(m, n):
        more = (m + n) / 2 - 1
        v = area * (1 - area) / (m * n) * (1 + more * ((1 - area) / (2 - area) + area / (1 + area)))
        return area[np.argmax((1 - area) ** 2 <= 1.959964**2 * v)]

    for m, n in ((10, 10), (3, 200)):
        found = roc_auc(np.arange(m + n), np.arange(m + n) >= n)
        assert found.interval == (pytest.approx(limit(m, n), abs=1e-5), 1.0, 0.95, "newcombe")
        upside_down = roc_auc(np.arange(m + n), np.arange(m + n) < m)
        assert upside_down.interval.high == pytest.approx(1 - limit(m, n), abs=1e-5)
    assert limit(3, 200) < limit(10, 10)  # three positive trials say little, whatever they are compared with


def test_a_perfect_share_that_rounding_moved_off_one_is_still_perfect():
    exact, rounded = (intervals.log_odds_interval(share, 0.0, 20) for share in (1.0, 1.0 - 2e-16))
    assert rounded == exact and exact.low < 0.9


def test_equal_units_have_no_spread_to_learn_from_and_leave_the_most_doubt():
    found = intervals.proportion_interval(np.full(12, 0.25))
    assert found == intervals.wilson(3.0, 12)


def test_equal_systems_differ_by_zero_with_an_honest_interval(rng):
    hits = (rng.random(50) < 0.7).astype(float)
    same = paired_difference(hits, hits, rng)
    assert same.value == 0 and same.p == 1 and same.interval.low < 0 < same.interval.high
    assert same.interval.method == "agresti_min"
    better = paired_difference(np.ones(50), np.zeros(50), rng)
    assert better.value == 1 and better.p == pytest.approx(1 / 2001) and better.interval.low > 0.8


def test_swapping_the_systems_flips_the_difference(rng):
    a, b = rng.random((2, 12))
    forth, back = (paired_difference(*pair, np.random.default_rng(0)) for pair in ((a, b), (b, a)))
    assert forth.value == -back.value and forth.p == back.p
    assert sign_flip_p(np.zeros(5), rng) == 1


def test_noise_ceiling_grows_with_repeats_and_signal():
    ceiling = [float(noise_ceiling(torch.tensor([1.0]), n)) for n in (1, 2, 3)]
    assert ceiling == pytest.approx([1 / 2, 2 / 3, 3 / 4])
    assert float(spearman_brown(torch.tensor(0.5))) == pytest.approx(2 / 3)
    assert noise_ceiling(torch.tensor([0.0, 0.5]), 3)[0] == 0


def test_a_dead_voxel_has_no_signal():
    assert estimate_ncsnr(torch.zeros(6, 2), [0, 0, 1, 1, 2, 2]).tolist() == [0.0, 0.0]


def test_summary_holds_value_interval_chance_null_and_p(rng):
    hits = (np.arange(40) < 30).astype(float)
    plain = summarise(hits, 0.1, generator=rng)
    assert (plain.value, plain.n, plain.n_samples, plain.p, plain.null_mean) == (0.75, 40, 40, None, None)
    assert plain.interval.method == "wilson"
    full = summarise(hits, 0.1, generator=rng, null_values=[0.1, 0.2, 0.0, 0.1], units=np.arange(40) // 2)
    assert (full.n, full.p, full.n_null) == (20, 1 / 5, 4)
    assert full.null_mean == pytest.approx(0.1)
    lower = summarise(
        [1.0, 1.1, 0.9], 2.0, generator=rng, null_values=[2.0, 2.1, 1.9], kind="mean", direction="lower"
    )
    assert lower.p == 1 / 4 and lower.interval.method == "t"


def test_tensors_and_arrays_give_the_same(rng):
    values = rng.random(9)
    assert intervals.proportion_interval(torch.from_numpy(values)) == intervals.proportion_interval(values)


def test_refusals_name_the_argument(rng):
    with pytest.raises(ValueError, match="largest of values"):
        intervals.proportion_interval([0.5, 1.5])
    with pytest.raises(ValueError, match="NaN"):
        intervals.mean_interval([0.5, float("nan")], rng)
    with pytest.raises(ValueError, match="number of values in null"):
        p_value(1.0, [])
    with pytest.raises(ValueError, match="Did you mean 'greater'"):
        p_value(1.0, [1.0], "greter")
    with pytest.raises(ValueError, match="axis 'item'"):
        identify(np.ones((3, 4)))
    with pytest.raises(ValueError, match="number of pairs"):
        identify(np.eye(3), pairs=np.eye(3))
    with pytest.raises(ValueError, match="pairs has shape"):
        identify(np.eye(3), pairs=np.eye(4))
    with pytest.raises(ValueError, match="positive trials"):
        roc_auc([1.0, 2.0, 3.0], [False, False, True])
    with pytest.raises(ValueError, match="axis 'query'"):
        paired_difference([1.0, 2.0], [1.0], rng)
    with pytest.raises(ValueError, match="n_repeats"):
        noise_ceiling(torch.tensor([1.0]), 0)
    with pytest.raises(ValueError, match="smallest ncsnr"):
        noise_ceiling(torch.tensor([-1.0]), 1)
    with pytest.raises(ValueError, match="shown more than once"):
        estimate_ncsnr(torch.zeros(3, 2), [0, 1, 2])
    with pytest.raises(ValueError, match="kind must be one of"):
        summarise([1.0], 0.5, generator=rng, kind="share")


def test_values_that_differ_by_rounding_are_ties():
    null = np.array([0.3, 0.3 * (1 - 1e-15), 0.1])
    assert p_value(0.1 + 0.2, null) == p_value(0.3, null) == 3 / 4
    assert p_value(-0.1 - 0.2, -null, "less") == 3 / 4
    assert max_statistic_p([0.1 + 0.2, 0.0], np.column_stack([null, 0 * null])).tolist() == [3 / 4, 1.0]


def test_an_observed_value_that_is_no_number_has_no_p():
    with pytest.raises(ValueError, match="observed"):
        p_value(float("nan"), [1.0, 2.0])


def test_a_label_of_two_parts_is_one_label(rng):
    blocks = [("sub-01", "run-1"), ("sub-01", "run-2"), ("sub-02", "run-1"), ("sub-01", "run-1")]
    assert n_pairings(blocks) == 2
    orders = {tuple(permute_within_blocks(blocks, rng).tolist()) for _ in range(30)}
    assert orders == {(0, 1, 2, 3), (3, 1, 2, 0)}
    assert same_label(blocks).sum() == 6


def test_an_items_share_leaves_out_the_distractors_that_the_value_leaves_out(rng):
    table, units = rng.standard_normal((9, 9)), np.repeat([0, 1, 2], 3)
    found = identify(table, units=units)
    alone = identify(table, pairs=~same_label(units))
    np.testing.assert_allclose(found.per_item, alone.per_item)
    assert found.per_item.mean() == pytest.approx(found.value)  # all have as many distractors


def test_a_voxel_without_noise_has_a_ceiling_of_one():
    assert noise_ceiling(torch.tensor([float("inf"), 1.0, 0.0]), 3).tolist() == [1.0, 0.75, 0.0]


def test_a_cosine_above_one_by_rounding_is_a_cosine(rng):
    table = np.clip(0.5 * np.eye(40) + 0.2 * rng.standard_normal((40, 40)), -1, 1)
    table[0, 0] = 1.0
    rounded = table.copy()
    rounded[0, 0] = np.float32(1) + np.finfo(np.float32).eps
    np.testing.assert_allclose(surprisal(rounded, np.arange(40)), surprisal(table, np.arange(40)))


def test_parts_of_a_table_are_compared_as_the_whole_is(rng):
    """Products of which one exceeds 1: without it they would look like cosines."""
    table = 0.5 * np.eye(60) + 0.2 * rng.standard_normal((60, 60))
    table *= 1.001 / np.abs(table).max()
    near, far = (pool_free(k * table, np.arange(60), np.random.default_rng(0)) for k in (1, 10))
    np.testing.assert_allclose(near.top1_interval[:2], far.top1_interval[:2], rtol=1e-6)


def test_an_interval_moves_with_the_values_and_not_with_the_memory_there_is(rng, monkeypatch):
    values, units = rng.standard_normal(60), np.arange(60) // 2

    def found(shift):
        return intervals.mean_interval(values + shift, np.random.default_rng(0), units=units)

    near, far = found(0.0), found(1e9)
    np.testing.assert_allclose(np.subtract(far[:2], 1e9), near[:2], atol=1e-3)
    monkeypatch.setattr(intervals, "WEIGHTS_AT_ONCE", 700)
    assert found(0.0)[:2] == pytest.approx(near[:2], rel=1e-12)
