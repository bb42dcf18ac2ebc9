"""Principal components of a matrix that is too large to decompose are those of one that is not."""

from __future__ import annotations

import pytest
import torch

from braindec.maths import principal


def test_the_iterated_subspace_is_the_exact_one(generator, monkeypatch):
    size = torch.cat([torch.linspace(20, 6, 8), torch.ones(242)])  # eight directions stand out of noise
    x = torch.randn(300, 250, generator=generator) * size + 3.0
    exact = principal.principal_components(x, 8, generator)
    monkeypatch.setattr(principal, "EXACT_SIDE", 100)
    found = principal.principal_components(x, 8, generator)
    assert found.variance == pytest.approx(exact.variance, rel=1e-6)
    assert (found.directions * exact.directions).sum(1) == pytest.approx(torch.ones(8), abs=1e-6)
    with pytest.raises(ValueError, match="give a number"):
        principal.principal_components(x, 0.5, generator)


def test_noise_has_no_component_that_stands_out(generator):
    found = principal.principal_components(torch.randn(4000, 20, generator=generator), 20, generator)
    assert float(found.variance[0] / found.variance[-1]) < 1.4
    assert float(found.variance.sum()) == pytest.approx(found.total)


def test_equal_rows_have_no_components(generator):
    with pytest.raises(ValueError, match="all equal"):
        principal.principal_components(torch.ones(5, 3), 0.9, generator)


def test_every_time_sample_of_an_epoch_is_a_row_whatever_is_read_at_once(generator, monkeypatch):
    x = torch.randn(30, 6, 20, generator=generator) * torch.arange(1, 7)[:, None] + 3
    for epochs in (x, x[:1, :, :4]):  # the second has fewer rows than features
        flat = principal.principal_components(epochs.movedim(1, -1).reshape(-1, 6), 2, generator)
        for values in (principal.BLOCK_VALUES, 250):
            monkeypatch.setattr(principal, "BLOCK_VALUES", values)
            found = principal.principal_components(epochs, 2, generator)
            assert torch.allclose(found.directions, flat.directions, atol=1e-9)
            assert torch.allclose(found.variance, flat.variance) and torch.allclose(found.mean, flat.mean)
