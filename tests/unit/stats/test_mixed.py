"""Subjects by seeds: the interval covers, components are found, a null gives uniform p."""

import numpy as np
import pytest

from braindec.stats.mixed import subjects_by_seeds


def _worlds(n, n_subjects, n_seeds, sd, generator):
    subject, seed, rest = sd
    for _ in range(n):
        yield (
            subject * generator.standard_normal((n_subjects, 1))
            + seed * generator.standard_normal((1, n_seeds))
            + rest * generator.standard_normal((n_subjects, n_seeds))
        )


@pytest.mark.parametrize("sd", [(1, 1, 1), (1, 0, 1), (0, 1, 1), (0.2, 1.5, 0.3)])
def test_interval_covers_the_true_mean_in_93_to_98_of_100_worlds(sd):
    found = [subjects_by_seeds(x) for x in _worlds(1000, 4, 5, sd, np.random.default_rng(1))]
    covered = np.mean([f.interval.low <= 0 <= f.interval.high for f in found])
    assert 0.925 <= covered <= 0.985
    assert abs(np.mean([f.p < 0.05 for f in found]) - (1 - covered)) < 1e-9  # the same statement


def test_components_are_found_where_there_are_many_levels():
    table = next(_worlds(1, 400, 300, (2.0, 1.0, 0.5), np.random.default_rng(2)))
    found = subjects_by_seeds(table).variance
    assert found["subject"] == pytest.approx(4.0, rel=0.15)
    assert found["seed"] == pytest.approx(1.0, rel=0.2)
    assert found["residual"] == pytest.approx(0.25, rel=0.05)


def test_counting_every_cell_as_independent_would_have_covered_far_too_little():
    covered = 0
    for x in _worlds(500, 4, 5, (1, 1, 0.1), np.random.default_rng(3)):
        half = 2.09 * x.std(ddof=1) / np.sqrt(x.size)
        covered += abs(x.mean()) <= half
    assert covered / 500 < 0.7


def test_a_single_seed_is_refused():
    with pytest.raises(ValueError, match="seeds"):
        subjects_by_seeds(np.zeros((3, 1)))
