"""Correlation where there is none: constant values, whatever they are."""

from __future__ import annotations

import pytest
import torch

from braindec.maths.correlation import pearson
from braindec.metrics.identification import correlations


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [10, 200, 3000])
def test_two_constants_are_not_correlated(generator, dtype, n):
    """The mean of equal values is rounded, so that about it they all lie on one side."""
    values = 1000 * torch.rand(2, 100, 1, generator=generator, dtype=torch.float64).to(dtype)
    first, second = values.expand(2, 100, n).contiguous()
    assert not pearson(first, second).any()
    assert not pearson(first.T.contiguous(), second.T.contiguous(), 0).any()
    assert not correlations(first, second).any()
