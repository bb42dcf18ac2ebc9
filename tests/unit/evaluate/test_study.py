"""Intervals and scores of studies that fit no decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from braindec.evaluate import study
from braindec.evaluate.encode_scaling import Scaling


@pytest.mark.parametrize("n", [2, 4, 9, 10])
def test_the_jackknife_of_a_mean_of_few_stimuli_is_students_interval(rng, n):
    values = rng.standard_normal(n)
    expected = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    found = study.jackknife(lambda x: x.mean(), torch.from_numpy(values))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_jackknife_of_a_mean_covers_it(rng):
    hits = [low < 0 < high for low, high in (_of_mean(rng.standard_normal(6)) for _ in range(400))]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.04)


def _of_mean(values):
    return study.jackknife(lambda x: x.mean(), torch.from_numpy(values))


def test_a_group_that_is_left_out_holds_one_row_of_a_small_stratum_at_most():
    strata = torch.arange(300) // 3
    fewest = []

    def statistic(kept):
        fewest.append(int(torch.bincount(kept, minlength=100).min()))
        return 0.0

    study.jackknife(statistic, strata, strata=strata)
    assert min(fewest) >= 2
    fewest.clear()
    study.jackknife(statistic, strata)
    assert min(fewest) < 2  # dealt without their strata, two rows of one fall into a group


def test_one_stimulus_has_no_interval():
    with pytest.raises(ValueError, match="number of stimuli"):
        study.jackknife(lambda x: x.mean(), torch.zeros(1))


def test_a_slope_that_ties_with_its_null_but_for_rounding_is_a_tie():
    none = np.zeros(2)
    found = Scaling(none, none, none, 0.1 + 0.2, (0.0, 0.0), 0.0, np.full(9, 0.3), None)
    assert found.null_slope[0] < found.slope and found.p == 1.0
