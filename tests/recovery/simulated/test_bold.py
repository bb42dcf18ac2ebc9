"""BOLD runs: betas estimated from overlapping responses correlate with the planted ones as linear algebra predicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec.data import fmri, nifti
from braindec.data.simulated import bold, brains

N_TRIALS, N_VOLUMES, N_VOXELS, SD = 40, 130, 60, 1.2
ONSETS = 6.0 + 4.0 * np.arange(N_TRIALS)


def written(tmp_path, config, seed=0):
    """The recording of one simulated run, through files, and the betas planted in it."""
    rng = np.random.default_rng(seed)
    space = brains.draw_space(N_VOXELS)
    betas = SD * rng.standard_normal((N_TRIALS, N_VOXELS))
    signal = bold.simulate_run(betas, ONSETS, N_VOLUMES, config, rng)
    ids = [f"scene-{i:05d}" for i in range(N_TRIALS)]
    path = bold.write_bids_run(tmp_path, 1, 1, signal, space, ONSETS, ids, config, rng)
    events = fmri.read_events(path.with_name(path.name.replace("_bold.nii.gz", "_events.tsv")))
    mask = tmp_path / "derivatives/fmriprep/sub-01/func/sub-01_task-scenes_run-1_desc-brain_mask.nii.gz"
    return fmri.read_run(path, nifti.read_mask(mask), events, subject=1, run="1"), betas


def estimator(recording, method):
    """The GLM as a matrix (trial, volume): its betas for a unit impulse at every volume."""
    level = 1e6
    impulses = level + 100.0 * (np.eye(N_VOLUMES) - 1 / N_VOLUMES)
    probe = replace(recording, signal=impulses, space=brains.draw_space(N_VOLUMES))
    return fmri.glm_betas([probe], method=method).responses * (level / 100.0) / 100.0


def correlation(found, planted):
    return np.corrcoef((found - found.mean(0)).ravel(), (planted - planted.mean(0)).ravel())[0, 1]


@pytest.mark.parametrize(("peak_s", "drift"), [(5.0, 0.0), (7.0, 0.0), (5.0, 0.5)])
def test_glm_betas_correlate_with_the_planted_ones_as_predicted(tmp_path, peak_s, drift):
    """Slow drift is modelled by the GLM, so that the prediction, which knows none, holds with it too."""
    config = bold.BoldConfig(peak_s=peak_s, drift=drift)
    recording, planted = written(tmp_path, config)
    matrix = estimator(recording, "lss")
    design, noise = bold.regressors(ONSETS, N_VOLUMES, config), bold.noise_covariance(N_VOLUMES, config)
    expected = bold.expected_correlation(matrix, design, noise, SD)
    trials = fmri.glm_betas([recording], method="lss")
    assert correlation(trials.responses, planted) == pytest.approx(expected, abs=0.04)
    assert 0.3 < expected < 0.95
    assert trials.table["stimulus_id"].tolist() == [f"scene-{i:05d}" for i in range(N_TRIALS)]


def test_betas_of_other_trials_are_not_found(tmp_path):
    recording, planted = written(tmp_path, bold.BoldConfig())
    found = fmri.glm_betas([recording], method="lss").responses
    assert abs(correlation(found, planted[np.random.default_rng(1).permutation(N_TRIALS)])) < 0.1


def test_the_response_peaks_when_announced_and_has_an_undershoot():
    config = bold.BoldConfig(peak_s=6.0, shown_s=0.1)
    shape = bold.hrf(config)
    assert shape.argmax() * bold.FINE_S == pytest.approx(6.0, abs=0.2)
    assert shape.max() == 1.0 and shape.min() < -0.02


def test_responses_of_close_trials_overlap_and_add_up():
    config = bold.BoldConfig()
    both = bold.regressors(np.array([10.0, 12.0]), 40, config)
    assert (both[:, 0] * both[:, 1]).max() > 0.3
    rng = np.random.default_rng(0)
    silent = replace(config, noise_sd=0.0, drift=0.0)
    signal = bold.simulate_run(np.array([[1.0], [2.0]]), np.array([10.0, 12.0]), 40, silent, rng)
    assert signal[0] == pytest.approx(10_000 * (1 + (both @ [1.0, 2.0]) / 100))


def test_noise_of_a_run_has_the_announced_covariance_over_time():
    config = bold.BoldConfig(drift=0.0, autocorrelation=0.5)
    blank = np.zeros((1, 30_000))
    signal = bold.simulate_run(blank, np.array([5.0]), 12, config, np.random.default_rng(0))
    percent = 100 * (signal / config.mean_signal - 1)
    assert np.cov(percent.T) == pytest.approx(bold.noise_covariance(12, config), abs=0.015)


@pytest.mark.parametrize("autocorrelation", [0.0, 0.3, 0.99])
def test_noise_has_its_size_from_the_first_volume_on_however_slowly_it_forgets(rng, autocorrelation):
    config = bold.BoldConfig(autocorrelation=autocorrelation, drift=0.0)
    signal = bold.simulate_run(np.zeros((1, 4000)), np.array([0.0]), 20, config, rng)
    noise = 100 * (signal / config.mean_signal - 1)  # (voxel, volume)
    expected = np.sqrt(np.diag(bold.noise_covariance(20, config)))
    np.testing.assert_allclose(noise.std(0), expected, rtol=0.08)
