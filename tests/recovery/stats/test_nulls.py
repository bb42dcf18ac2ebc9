"""p-values are uniform when there is nothing to find, and small when there is."""

from __future__ import annotations

import numpy as np

from braindec.stats.corrections import fdr, holm
from braindec.stats.paired import sign_flip_p
from braindec.stats.permutation import max_statistic_p, null_distribution, p_value


def correlation_p(rng, brain, stimulus, blocks, units=None):
    def statistic(order):
        return np.corrcoef(brain, stimulus[order])[0, 1]

    null = null_distribution(statistic, blocks, 19, rng, units=units)
    return p_value(statistic(np.arange(len(brain))), null)


def test_five_percent_of_unrelated_pairings_are_significant_in_spite_of_drifts_between_blocks(rng):
    blocks = np.repeat(np.arange(4), 6)
    found = []
    for _ in range(400):
        drift = (
            np.repeat(rng.standard_normal(4), 6) * 3
        )  # both sides drift: trials are exchangeable within blocks only
        found.append(
            correlation_p(rng, drift + rng.standard_normal(24), drift + rng.standard_normal(24), blocks)
        )
    assert abs(np.mean(np.array(found) <= 0.05) - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 400)


def test_repeats_must_move_as_units_for_the_null_to_hold(rng):
    units, blocks = np.repeat(np.arange(12), 8), np.zeros(96)
    together, apart = [], []
    for _ in range(200):
        brain = np.repeat(rng.standard_normal(12), 8) + 0.3 * rng.standard_normal(96)
        stimulus = np.repeat(rng.standard_normal(12), 8)
        together.append(correlation_p(rng, brain, stimulus, blocks, units))
        apart.append(correlation_p(rng, brain, stimulus, blocks))
    assert np.mean(np.array(together) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert np.mean(np.array(apart) <= 0.05) > 0.15


def test_a_true_pairing_is_found(rng):
    stimulus = rng.standard_normal(24)
    assert correlation_p(rng, stimulus + 0.2 * rng.standard_normal(24), stimulus, np.zeros(24)) == 1 / 20


def test_a_family_has_five_percent_of_false_alarms_and_no_member_without_correction_does(rng):
    table = rng.standard_normal((600, 100, 30)) * np.linspace(
        0.5, 3, 30
    )  # (world, observed + 99 permutations, time)
    for standardised in (False, True):
        p = np.stack([max_statistic_p(world[0], world[1:], standardised=standardised) for world in table])
        assert abs((p.min(1) <= 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 600)
    alone = ((table[:, :1] <= table[:, 1:]).sum(1) + 1) / 100
    assert (alone.min(1) <= 0.05).mean() > 0.5


def test_sign_flips_are_uniform_for_symmetric_differences(rng):
    exact = [sign_flip_p(world, rng) for world in rng.standard_normal((400, 10))]
    drawn = [sign_flip_p(world, rng, 199) for world in rng.standard_normal((400, 30))]
    for found in (exact, drawn):
        assert abs(np.mean(np.array(found) <= 0.05) - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 400)


def test_corrections_bound_what_they_promise(rng):
    p = rng.random((400, 20))
    p[:, :5] *= 1e-4  # five true effects
    false_share, any_false = [], []
    for row in p:
        found = fdr(row) <= 0.05
        false_share.append(found[5:].sum() / max(1, found.sum()))
        any_false.append((holm(row)[5:] <= 0.05).any())
    assert np.mean(false_share) < 0.05 + 0.01
    assert np.mean(any_false) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
