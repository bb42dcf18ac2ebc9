"""Functional networks: filters are functions of time, so that sampling and latency do not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from braindec import seeding
from braindec.backbones import functional, mlp

OUTPUT = {"main": (1, 6)}
KINDS = [
    {},
    {"basis": "fourier"},
    {"separable": False},
    {"n_layers": 2, "width": 0.15},
    {"readout": "mean"},
    {"n_basis": 5, "readout": "mean", "n_layers": 2, "width": 0.15},
]


def fitted(shape, **settings):
    """A network with statistics of some batches, in double precision."""
    with seeding.seeded(0, "weights"):
        backbone = functional.build(shape, OUTPUT, functional.Config(**settings)).double()
    for i in range(5):
        backbone.train()(signals(shape[1], n=16, seed=i))
    return backbone.eval()


def signals(n_times, n=6, seed=0, shift=0.0):
    """Bumps in three channels, sampled `n_times` times in an epoch of 1: (n, 3, n_times) float64."""
    rng = np.random.default_rng(seed)
    middle, width = rng.uniform(0.44, 0.56, (n, 3, 4, 1)), rng.uniform(0.02, 0.03, (n, 3, 4, 1))
    size = rng.normal(size=(n, 3, 4, 1))
    times = (np.arange(n_times) + 0.5) / n_times
    bumps = size * np.exp(-(((times - middle - shift) / width) ** 2) / 2)
    return torch.from_numpy(bumps.sum(2))


def test_the_bspline_is_scipys():
    u = np.linspace(-2.5, 2.5, 101)
    known = np.nan_to_num(BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)(u))
    np.testing.assert_allclose(functional.bspline(torch.from_numpy(u)).numpy(), known, atol=1e-12)


@pytest.mark.parametrize("basis", ["bspline", "fourier"])
def test_basis_functions_vanish_at_the_ends_of_a_filter_and_are_independent(basis):
    place = torch.linspace(-1, 1, 401, dtype=torch.float64)
    made = functional.basis_functions(place, 8, basis)
    assert float(made[:, [0, -1]].abs().max()) < 1e-12
    assert np.linalg.matrix_rank(made.numpy(), tol=1e-3) == 8


def test_functions_of_the_epoch_sum_to_one():
    torch.testing.assert_close(functional.epoch_functions(77, 9).sum(0), torch.ones(77, dtype=torch.float64))


@pytest.mark.parametrize("separable", [True, False])
def test_the_convolution_is_the_integral_of_filter_and_signal(separable, generator):
    """Against a double loop over times and lags, of weights that are made here."""
    config = functional.Config(width=0.3, n_basis=5, separable=separable)
    layer = functional.FunctionalConvolution(3, 2, config).double()
    x, n = torch.randn(1, 3, 40, generator=generator, dtype=torch.float64), 40
    time, pattern = layer.coefficients.detach(), layer.pattern
    weights = time.expand(2, 3, 5) * (1.0 if pattern is None else pattern.detach()[:, :, None])
    expected = torch.zeros(2, n, dtype=torch.float64)
    for t in range(n):
        for other in range(n):
            place = torch.tensor([(other - t) / n / 0.15], dtype=torch.float64)
            at = functional.basis_functions(place, 5, "bspline")[:, 0]
            expected[:, t] += functional.SCALE / 0.3 * (weights @ at) @ x[0, :, other] / n
    torch.testing.assert_close(layer(x)[0].detach(), expected, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("settings", KINDS)
def test_a_signal_sampled_at_another_rate_gives_the_same_output(settings):
    backbone = fitted((3, 128), **settings)
    at_128, at_500 = (backbone(signals(n))["main"].detach() for n in (128, 500))
    spread = float(at_128.std(0).mean())
    assert float((at_500 - at_128).abs().max()) < 0.03 * spread


def test_weights_of_one_sampling_rate_load_into_a_network_of_another(tmp_path):
    backbone = fitted((3, 128))
    other = functional.build((3, 300), OUTPUT, functional.Config()).double().eval()
    other.load_state_dict(backbone.state_dict(), strict=True)
    x = signals(300)
    assert torch.equal(other(x)["main"], backbone(x)["main"])


@pytest.mark.parametrize("settings", KINDS)
def test_a_shift_in_time_changes_nothing(settings):
    """By whole samples and with nothing near the ends the outputs are equal, but for rounding."""
    backbone = fitted((3, 128), **settings)
    x = signals(128)
    x[..., :32], x[..., 96:] = 0, 0  # exactly nothing, not the tails of bumps
    for samples in (-9, 6):
        moved = torch.roll(x, samples, 2)
        torch.testing.assert_close(backbone(moved)["main"], backbone(x)["main"], atol=1e-9, rtol=1e-9)


def test_a_shift_changes_what_a_dense_readout_and_an_mlp_make():
    x = signals(128)
    moved = torch.roll(x, 9, 2)
    with seeding.seeded(0, "weights"):
        others = [
            fitted((3, 128), readout="dense"),
            mlp.build((3, 128), OUTPUT, mlp.Config()).double().eval(),
        ]
    for backbone in others:
        here, there = (backbone(signal)["main"].detach() for signal in (x, moved))
        assert float((there - here).abs().mean()) > 0.1 * float(here.std())


def test_too_few_samples_for_a_filter_are_refused():
    with pytest.raises(ValueError, match="needs at least 32 time samples, got 20"):
        functional.build((3, 20), OUTPUT, functional.Config())
