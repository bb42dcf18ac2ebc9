"""One-to-one pairings: the sum is scipy's for every shape, ties and certain pairs included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from braindec.maths import assignment

SHAPES = ((1, 1), (1, 5), (5, 1), (2, 2), (7, 7), (6, 9), (9, 6), (30, 30))


def total(values, rows, columns):
    return float(values[rows, columns].sum())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["random", "tied", "planted", "half planted", "negative"])
def test_the_sum_is_that_of_scipy(rng, shape, kind):
    for _ in range(20):
        values = rng.standard_normal(shape)
        if kind == "tied":
            values = np.round(values)
        if "planted" in kind:
            n = min(shape) if kind == "planted" else min(shape) // 2
            partners = rng.permutation(shape[1])[:n]
            values[rng.permutation(shape[0])[:n], partners] += 8
        if kind == "negative":
            values = -values.__abs__() - 3
        rows, columns = assignment.assign(torch.from_numpy(values))
        expected = linear_sum_assignment(values, maximize=True)
        assert total(values, rows, columns) == pytest.approx(total(values, *expected), abs=1e-12)
        assert len(set(rows.tolist())) == len(set(columns.tolist())) == min(shape)
        assert rows.tolist() == sorted(rows.tolist())


def test_the_best_of_row_and_column_is_not_taken_when_another_pairing_is_better():
    values = torch.tensor([[1.0, 0.99], [0.99, -10.0]])
    assert assignment.assign(values)[1].tolist() == [1, 0]


def test_nan_is_refused():
    with pytest.raises(ValueError, match="similarity holds 1 NaN"):
        assignment.assign(torch.tensor([[float("nan"), 1.0]]))
