"""Where repeats are averaged, and that a linear decoder does not care."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.decoder import average_groups, group_repeats, with_repeats
from braindec.types import UNKNOWN, Table


def table_of(ids):
    return Table({"stimulus_id": np.array(ids)})


def test_groups_come_in_order_of_first_appearance():
    group, first = group_repeats(np.array(["b", "a", "b", "c", "a"]))
    assert group.tolist() == [0, 1, 0, 2, 1]
    assert first.tolist() == [0, 1, 3]


def test_trials_of_unknown_stimuli_are_never_averaged():
    group, _ = group_repeats(np.array([UNKNOWN, "a", UNKNOWN, "a"]))
    assert len(set(group.tolist())) == 3


def test_repeats_in_different_units_are_no_group():
    group, first = group_repeats(np.array(["a", "b", "a", "a"]), np.array(["1", "1", "2", "2"]))
    assert group.tolist() == [0, 1, 2, 2]
    assert first.tolist() == [0, 1, 2]


def test_group_means_equal_a_loop(rng):
    values, group = rng.standard_normal((7, 2, 3)), np.array([0, 1, 0, 2, 2, 2, 1])
    expected = np.stack([values[group == g].mean(0) for g in range(3)])
    np.testing.assert_allclose(average_groups(values, group, 3), expected, rtol=1e-6)


def test_before_and_after_agree_for_a_linear_decoder_and_differ_for_another(rng):
    ids = ["a", "b", "a", "b", "a"]
    responses = rng.standard_normal((5, 4)).astype(np.float32)

    def linear(x):
        return (2 * x[:, None, :]).astype(np.float32)

    def curved(x):
        return (x[:, None, :] ** 2).astype(np.float32)

    table, ways = table_of(ids), ("before", "after")
    pairs = [[with_repeats(responses, table, way, f).values for way in ways] for f in (linear, curved)]
    np.testing.assert_allclose(*pairs[0], rtol=1e-5)
    assert np.abs(pairs[1][0] - pairs[1][1]).max() > 0.01


def test_every_prediction_says_how_many_trials_it_rests_on(rng):
    made = with_repeats(
        np.zeros((3, 2), np.float32), table_of(["a", "b", "a"]), "before", lambda x: x[:, None]
    )
    assert made.ids == ("a", "b")
    assert made.n_repeats.tolist() == [2, 1]


def test_an_unknown_way_to_average_is_refused():
    with pytest.raises(ValueError, match="repeats must be one of"):
        with_repeats(np.zeros((1, 2), np.float32), table_of(["a"]), "during", lambda x: x)
