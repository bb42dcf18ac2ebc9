"""Resampled correlations and R²: those of scipy and scikit-learn on the drawn rows, in volts and teslas as in units."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import r2_score

from braindec.evaluate import encode_maps, encode_partition, encode_report, encode_scan

N, VOXELS, DRAWS = 40, 3, 5


@pytest.fixture
def pair(rng):
    truth = 3.0 + rng.standard_normal((N, VOXELS))
    return 0.5 * truth + 0.5 * rng.standard_normal((N, VOXELS)), truth


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e-13, 1e4], ids=["z", "V", "T", "BOLD"])
def test_resamples_are_judged_as_scipy_and_sklearn_judge_the_drawn_rows_in_any_unit(pair, rng, unit):
    made, truth = (np.float32(unit * x) for x in pair)
    counts = rng.multinomial(N, np.full(N, 1 / N), size=DRAWS)
    drawn = [np.repeat(np.arange(N), c) for c in counts]
    r = np.array([[pearsonr(pair[0][i, v], pair[1][i, v])[0] for v in range(VOXELS)] for i in drawn])
    r2 = np.array([r2_score(pair[1][i], pair[0][i], multioutput="raw_values") for i in drawn])
    weights = counts / N
    np.testing.assert_allclose(encode_scan.correlations(made, truth, weights), r, atol=1e-5)
    np.testing.assert_allclose(encode_report.correlations(weights, made, truth), r.mean(1), atol=1e-5)
    np.testing.assert_allclose(encode_maps.weighted_r2(weights, made, truth), r2, atol=1e-5)
    one = SimpleNamespace(responses=truth, predictions=made)
    found = encode_partition._resampled(one, np.ones(VOXELS, bool), counts)
    np.testing.assert_allclose(found, r2.mean(1), atol=1e-5)
    whole = [pearsonr(*(x[:, v] for x in pair))[0] for v in range(VOXELS)]
    np.testing.assert_allclose(encode_scan.correlations(made, truth), whole, atol=1e-5)


def test_what_is_constant_is_worth_nothing_and_no_division_by_rounding(pair):
    made, truth = (np.float32(x) for x in pair)
    truth[:, 0], made[:, 1] = 0.1, 1e5 + 0.1
    weights = np.full((1, N), 1 / N)
    r = encode_maps.weighted_correlations(weights, made, truth)[0]
    assert r[0] == r[1] == 0.0 and r[2] > 0.3
    assert encode_maps.weighted_r2(weights, made, truth)[0, 0] == 0.0
