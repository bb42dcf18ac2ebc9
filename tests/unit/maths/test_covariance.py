"""Shrinkage of units that single precision holds and whose fourth powers it does not."""

from __future__ import annotations

import pytest
import torch

from braindec.maths.covariance import fit_whitening, ledoit_wolf, whiten


@pytest.mark.parametrize("unit", [1e-13, 1e-6, 1e11])
def test_shrinkage_is_that_of_any_other_unit(generator, unit):
    """Teslas of magnetometers; volts; large numbers."""
    mixing = torch.randn(20, 20, generator=generator, dtype=torch.float64)
    x = torch.randn(50, 20, generator=generator, dtype=torch.float64) @ mixing
    expected = ledoit_wolf(x).shrinkage
    assert 0.01 < expected < 0.9
    assert ledoit_wolf((unit * x).float()).shrinkage == pytest.approx(expected, rel=1e-3)
    made = whiten((unit * x).float(), fit_whitening((unit * x).float()))
    torch.testing.assert_close(made, whiten(x, fit_whitening(x)).float(), rtol=1e-2, atol=1e-2)
