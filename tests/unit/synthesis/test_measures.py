"""Each measure finds the fault that it is for, and is blind to none that another library's definition sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal, stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from braindec.synthesis import Epochs, cell_means, measures
from braindec.synthesis.measures import Component


def noise(n: int = 200, seed: int = 0, channels: int = 3, times: int = 64) -> torch.Tensor:
    return torch.randn(n, channels, times, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_two(values: torch.Tensor) -> Epochs:
    return Epochs(values, (torch.arange(len(values)) % 2)[:, None])


def test_erps_of_the_same_wave_correlate_and_those_of_another_cell_do_not():
    wave = torch.sin(torch.arange(64.0, dtype=torch.float64) / 5)
    code = (torch.arange(200) % 2).double()
    one, other = (noise(seed=s) + 3 * (2 * code - 1)[:, None, None] * wave for s in (1, 2))
    assert float(measures.erp_correlation(of_two(one), of_two(other)).min()) > 0.95
    assert float(measures.erp_correlation(of_two(one), of_two(-other)).max()) < -0.95
    assert float(measures.erp_correlation(of_two(noise(seed=3)), of_two(noise(seed=4))).abs().mean()) < 0.25


def test_an_erp_correlation_is_numpys():
    a, b = of_two(noise(seed=1)), of_two(noise(seed=2))
    found = measures.erp_correlation(a, b)
    wanted = np.corrcoef(a.values[1::2, 2].mean(0), b.values[1::2, 2].mean(0))[0, 1]
    assert float(found[1, 2]) == pytest.approx(wanted)


def test_cells_that_one_set_lacks_are_left_out_and_none_in_common_is_refused():
    a, b = noise(8), noise(6, seed=1)
    left = Epochs(a, torch.tensor([[0], [1]] * 4))
    assert measures.erp_error(left, Epochs(b, torch.ones(6, 1, dtype=torch.int64))).shape == (1, 3)
    with pytest.raises(ValueError, match="cells that both sets"):
        measures.erp_error(left, Epochs(b, torch.full((6, 1), 2)))


@pytest.mark.parametrize("latency", [0.300, 0.3037, 0.418])
def test_a_peak_between_samples_is_found(latency):
    times = torch.arange(-0.1, 0.7, 0.01, dtype=torch.float64)
    wave = -4.0 * torch.exp(-0.5 * ((times - latency) / 0.05) ** 2)
    wave = wave + 9.0 * torch.exp(-0.5 * ((times - 0.05) / 0.02) ** 2)  # larger, outside of the window
    height, found = measures.peak(wave[None], times, Component("N", (0.25, 0.6), -1))
    assert float(found) == pytest.approx(latency, abs=1e-3)
    assert float(height) == pytest.approx(-4.0, abs=0.02)


def test_a_wave_without_a_peak_gives_the_end_of_the_window_as_it_is():
    times = torch.arange(0, 1, 0.1, dtype=torch.float64)
    height, late = measures.peak(times[None], times, Component("rise", (0.2, 0.6), 1))
    assert (float(height), float(late)) == (pytest.approx(0.6), pytest.approx(0.6))
    with pytest.raises(ValueError, match="samples in the window of 'rise'"):
        measures.peak(times[None], times, Component("rise", (2.0, 3.0), 1))


def test_spectra_are_scipys():
    x = noise()
    power, hz = measures.spectra(x, 100.0)
    window = np.hanning(64)
    wanted_hz, wanted = signal.periodogram(
        x.numpy(), 100.0, window=window, detrend="constant", return_onesided=False
    )
    np.testing.assert_allclose(hz, np.abs(wanted_hz[:33]))
    np.testing.assert_allclose(power, wanted[..., :33].mean(0), rtol=1e-9, atol=1e-15)


def test_a_spectrum_ten_times_as_strong_is_ten_decibels_away():
    x = noise()
    assert measures.spectrum_distance(x, x, 100.0, (1.0, 30.0)) == 0.0
    assert measures.spectrum_distance(x, np.sqrt(10) * x, 100.0, (1.0, 30.0)) == pytest.approx(10.0)
    with pytest.raises(ValueError, match="frequencies in"):
        measures.spectrum_distance(x, x, 100.0, (80.0, 90.0))


def test_a_generator_of_erps_alone_has_no_covariance_and_another_mix_of_channels_a_wrong_one():
    mix = torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.4, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64).T
    real, again = (of_two(mix @ noise(400, seed=s)) for s in (1, 2))
    means, _, cell = cell_means(real)
    alone = Epochs(means[cell], real.codes)
    apart = of_two(noise(400, seed=3))
    assert measures.covariance_distance(real, alone) == pytest.approx(1.0)
    same, wrong = (measures.covariance_distance(real, made) for made in (again, apart))
    assert same < 0.5 * wrong


def test_a_covariance_is_numpys():
    x = noise(50)
    one = Epochs(x, torch.zeros(50, 1, dtype=torch.int64))
    wanted = sum(np.cov(x[:, :, t].numpy().T) for t in range(64))
    np.testing.assert_allclose(measures._covariance(one, "nct,ndt->cd"), wanted)


def test_a_sliced_distance_in_one_dimension_is_scipys():
    a, b = noise(5000, channels=1, times=1)[:, 0], 1.5 + noise(5000, seed=1, channels=1, times=1)[:, 0]
    found = measures.sliced_wasserstein(a, b, torch.Generator().manual_seed(0))
    assert found == pytest.approx(
        stats.wasserstein_distance(a[:, 0], b[:, 0]), rel=0.02
    )  # a shift: all orders agree


def test_a_sliced_distance_sees_outliers_that_mean_and_covariance_do_not():
    x, again = noise(600, seed=1), noise(600, seed=2)
    heavy = noise(600, seed=3)
    scale = torch.where(torch.arange(600) % 10 == 0, 3.0, np.sqrt(1 / 9))[
        :, None, None
    ]  # variance 1 all the same
    draws = [torch.Generator().manual_seed(0) for _ in range(2)]
    same = measures.sliced_wasserstein(x, again, draws[0])
    assert measures.sliced_wasserstein(x, scale * heavy, draws[1]) > 2 * same


def test_a_copy_lies_at_no_distance():
    train = noise(20)
    np.testing.assert_allclose(measures.nearest(train[[4, 9]], train), 0.0, atol=1e-6)
    assert float(measures.nearest(noise(5, seed=9), train).min()) > 1.0


def test_the_discriminant_points_where_sklearns_does():
    x = noise(300, channels=1, times=6)[:, 0]
    positive = torch.arange(300) % 3 == 0
    x[positive] += torch.tensor([1.0, 0.5, 0, 0, -1.0, 0], dtype=torch.float64)
    weights, threshold = measures.discriminant(x, positive)
    other = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=None).fit(x.numpy(), positive.numpy())
    assert np.corrcoef(weights, other.coef_[0])[0, 1] > 0.99
    assert float(((x @ weights > threshold) == positive).double().mean()) > 0.75
    with pytest.raises(ValueError, match="positive trials"):
        measures.discriminant(x, torch.zeros(300, dtype=torch.bool))


def test_measures_of_teslas_are_those_of_femtoteslas():
    wave = torch.sin(torch.arange(64.0) / 5)
    one, other = (noise(seed=s).float() + wave for s in (1, 2))
    for measure in (measures.erp_correlation, measures.covariance_distance):
        small, large = (measure(of_two(unit * one), of_two(unit * other)) for unit in (1e-13, 1.0))
        np.testing.assert_allclose(np.asarray(small), np.asarray(large), rtol=1e-4)


def test_what_all_epochs_share_hides_no_copy():
    train, fresh = noise(60).float(), noise(40, seed=9).float()
    near = [measures.nearest(x + 1000.0, train + 1000.0) for x in (train[:40], fresh)]
    assert float(near[0].max()) < 0.01
    torch.testing.assert_close(near[1], measures.nearest(fresh, train), rtol=1e-3, atol=0.0)
