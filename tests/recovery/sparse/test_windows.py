"""Oscillations planted in a recording over several channels are the atoms of an autoencoder of its windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import sparse
from braindec.sparse import matching
from braindec.sparse.windows import Windows

SFREQ, N_CHANNELS, N_TIMES, N_WINDOWS = 64.0, 4, 32, 3000
HZ = (4.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0, 25.0)


def planted(rng):
    """Waveforms (8, n_channels * n_times) of unit norm, and a recording in which few of them are in any window."""
    time = np.arange(N_TIMES) / SFREQ
    bumps = np.exp(-(((time - rng.uniform(0.1, 0.4, (len(HZ), 1))) / 0.12) ** 2))
    courses = bumps * np.cos(2 * np.pi * np.array(HZ)[:, None] * time + rng.uniform(0, 6, (len(HZ), 1)))
    waveforms = (rng.standard_normal((len(HZ), N_CHANNELS))[..., None] * courses[:, None]).reshape(
        len(HZ), -1
    )
    waveforms /= np.linalg.norm(waveforms, axis=1, keepdims=True)
    code = (rng.random((N_WINDOWS, len(HZ))) < 0.15) * rng.uniform(1, 2, (N_WINDOWS, len(HZ)))
    windows = (code @ waveforms).reshape(N_WINDOWS, N_CHANNELS, N_TIMES)
    signal = windows.transpose(1, 0, 2).reshape(N_CHANNELS, -1)
    return waveforms, signal + 0.05 * rng.standard_normal(signal.shape)


def atoms_of(windows):
    settings = sparse.FitConfig(n_steps=400, batch_size=256, lr=4e-3, dead_after=3000)
    config = sparse.Config(12, "topk", 2)
    return sparse.fit(windows, config, settings, seed=0, progress=False).model.atoms.detach()


def test_planted_oscillations_are_found_and_lost_when_phases_are_random(rng):
    waveforms, signal = planted(rng)
    waveforms = torch.from_numpy(waveforms).float()
    assert matching.mcc(waveforms, atoms_of(Windows(signal, N_TIMES))) > 0.95
    spectrum = np.fft.rfft(signal)
    turned = np.exp(
        2j * np.pi * rng.random(spectrum.shape[1])
    )  # one turn for all channels: equal cross-spectra
    surrogate = np.fft.irfft(spectrum * turned, signal.shape[1])
    assert matching.mcc(waveforms, atoms_of(Windows(surrogate, N_TIMES))) < 0.7


def test_windows_are_cut_where_they_are_asked_for(rng):
    signal = rng.standard_normal((3, 50))
    windows = Windows(signal, 8, step=3)
    assert windows.shape == (15, 24) and len(windows) == 15
    expected = np.stack([signal[:, 3 * i : 3 * i + 8].ravel() for i in range(15)])
    np.testing.assert_array_equal(windows[np.arange(15)], expected)
    np.testing.assert_array_equal(windows[np.array([7, 2])], expected[[7, 2]])
    np.testing.assert_array_equal(windows[3], expected[3])
    np.testing.assert_array_equal(windows[2:5], expected[2:5])
    assert Windows(signal, 10).shape == (5, 30)
    with pytest.raises(ValueError, match="n_times must lie in"):
        Windows(signal, 51)
