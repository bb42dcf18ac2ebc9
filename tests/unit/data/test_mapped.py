"""What is kept beside prepared data is found again by all that decides it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from braindec.data import mapped
from braindec.data.preprocessing import MVNN, Preprocessing, SelectRegion, Standardise


def kept(tmp_path, step, trials):
    """Rows that `cached` gives, and those of a chain that is fitted anew."""
    chain = Preprocessing((step,))
    _, rows = mapped.cached({trials.key: chain}, {trials.key: trials}, tmp_path)[trials.key]
    return rows[np.arange(trials.n_trials)], chain.fit_apply(trials)[1]


def test_a_region_that_was_drawn_anew_is_cut_anew(tmp_path, voxels):
    other = replace(voxels.space, regions={"early": ~voxels.space.regions["early"]})
    for trials in (voxels, replace(voxels, space=other)):
        found, expected = kept(tmp_path, SelectRegion("early"), trials)
        assert np.array_equal(found, expected)


def test_conditions_that_were_named_anew_whiten_anew(tmp_path, epochs, rng):
    for _ in range(2):
        table = epochs.table.replace(kind=rng.permutation(np.repeat(["a", "b"], epochs.n_trials // 2)))
        found, expected = kept(tmp_path, MVNN(over="time", column="kind"), replace(epochs, table=table))
        assert np.array_equal(found, expected)


def test_the_same_trials_are_found_again(tmp_path, voxels):
    for _ in range(2):
        found, expected = kept(tmp_path, Standardise(), voxels)
        assert np.array_equal(found, expected)
    assert len(list(tmp_path.glob("*.h5"))) == 1
