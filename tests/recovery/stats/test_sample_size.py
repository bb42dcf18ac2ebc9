"""Studies of the size that a few subjects promise reach what was promised."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from braindec.stats import sample_size
from braindec.stats.intervals import subject_interval


def reached(rng, mean, n, chance=0.0, n_studies=200):
    """Share of studies of n subjects of SD 1 whose interval lies above chance."""
    found = [subject_interval(mean + rng.standard_normal(n)).interval.low > chance for _ in range(n_studies)]
    return np.mean(found)


@pytest.mark.parametrize("mean", [0.5, 1.0, 2.0])
def test_where_mean_and_spread_are_known_the_number_is_the_classical_one(rng, mean):
    n = sample_size.assumed_above(mean, 1.0)

    def exact(k):
        return 1 - stats.nct.cdf(stats.t.ppf(0.975, k - 1), k - 1, mean * np.sqrt(k))

    assert exact(n) >= 0.79
    assert exact(n - 1) <= 0.81
    assert reached(rng, mean, n) >= 0.8 - 2.6 * np.sqrt(0.16 / 200)


def test_studies_planned_from_few_subjects_have_the_power_on_average(rng):
    """Of 60 pilots of 8 subjects, 200 studies each; taking the pilot for the truth would give less."""
    power, naive = [], []
    for _ in range(60):
        pilot = 1.2 + rng.standard_normal(8)
        n = sample_size.subjects_above(pilot, 0.0)
        if n is None:
            continue
        power.append(reached(rng, 1.2, n))
        naive.append(reached(rng, 1.2, sample_size.assumed_above(pilot.mean(), pilot.std(ddof=1))))
    assert len(power) > 50
    assert np.mean(power) >= 0.8 - 0.06  # 60 pilots
    assert np.mean(naive) < np.mean(power)


def test_intervals_of_planned_studies_are_as_narrow_as_wanted(rng):
    narrow = []
    for _ in range(60):
        n = sample_size.subjects_within(rng.standard_normal(5), 0.5)
        studies = rng.standard_normal((200, n)).std(1, ddof=1) * stats.t.ppf(0.975, n - 1) / np.sqrt(n)
        narrow.append(np.mean(studies <= 0.5))
    assert np.mean(narrow) == pytest.approx(0.82, abs=0.07)
    n = sample_size.assumed_within(1.0, 0.5)
    studies = rng.standard_normal((2000, n)).std(1, ddof=1) * stats.t.ppf(0.975, n - 1) / np.sqrt(n)
    assert 0.78 <= np.mean(studies <= 0.5) <= 0.9


def test_subjects_at_chance_promise_nothing_and_their_studies_reach_nothing(rng):
    sizes = [sample_size.subjects_above(rng.standard_normal(5), 0.0) for _ in range(200)]
    none = np.mean([n is None for n in sizes])
    assert none == pytest.approx(0.8, abs=0.09)  # as often as five subjects are not 80 % sure
    named = [n for n in sizes if n is not None]
    assert np.mean([reached(rng, 0.0, min(n, 500), n_studies=20) for n in named]) < 0.06


def test_power_rises_to_what_the_pilot_is_sure_of(rng):
    pilot = np.array([0.2, -0.1, 0.4, 0.3])
    numbers = [2, 5, 20, 100, 5000]
    power = [sample_size.power_above(pilot, 0.0, n) for n in numbers]
    assert (np.diff(power) > 0).all()
    assert power[-1] == pytest.approx(sample_size.mean_above(pilot, 0.0), abs=0.02)
    width = [sample_size.power_within(pilot, 0.1, n) for n in numbers]
    assert (np.diff(width) >= 0).all() and width[0] < 0.1 and width[-1] > 0.99


def test_subjects_who_are_all_alike_need_two():
    assert sample_size.subjects_above([0.5, 0.5, 0.5], 0.1) == 2
    assert sample_size.subjects_within([0.5, 0.5], 0.01) == 2
    assert sample_size.subjects_above([0.1, 0.1], 0.1) is None


def test_one_subject_is_refused():
    with pytest.raises(ValueError, match="number of subjects"):
        sample_size.subjects_above([0.5], 0.1)
    assert sample_size.assumed_above(-0.1, 1.0) is None
