"""Single-trial betas and t values against nilearn, a brute-force loop, and what was planted."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.data import glm, glm_design

N_TIMES, N_TRIALS, N_VOXELS, T_R = 160, 14, 12, 2.0
TIMES = np.arange(N_TIMES) * T_R


@pytest.fixture
def run(rng):
    """(signal, trials, nuisance, planted betas) of a run with drift, motion, two censored volumes and AR(1) noise."""
    onsets = 6.0 + 20.0 * np.arange(N_TRIALS) + rng.uniform(0, 8, N_TRIALS)
    trials = glm_design.responses(onsets, np.full(N_TRIALS, 2.0), TIMES)
    motion = glm_design.standardised(rng.standard_normal((N_TIMES, 3)).cumsum(0))
    censored = np.isin(np.arange(N_TIMES), [40, 41])
    nuisance = np.concatenate([glm_design.drift(TIMES, 1 / 128), motion, glm_design.spikes(censored)], axis=1)
    betas = rng.standard_normal((N_TRIALS, N_VOXELS))
    noise = rng.standard_normal((N_TIMES + 20, N_VOXELS))
    for i in range(1, len(noise)):
        noise[i] += 0.4 * noise[i - 1]
    signal = trials @ betas + nuisance @ rng.standard_normal((nuisance.shape[1], N_VOXELS)) + 0.5 * noise[20:]
    signal[censored] += 30.0
    return signal, trials, nuisance, betas


def nilearn_fit(signal, design, noise_model):
    """Betas (n_columns, n_voxels) and t values of the first column's and others' contrasts by nilearn."""
    from nilearn.glm.first_level import run_glm

    labels, results = run_glm(signal, design, noise_model=noise_model)
    beta, t = np.empty((2, design.shape[1], signal.shape[1]))
    for label, result in results.items():
        beta[:, labels == label] = result.theta
        for i in range(design.shape[1]):
            t[i, labels == label] = np.squeeze(result.Tcontrast(np.eye(design.shape[1])[i]).t)
    return beta, t


@pytest.mark.parametrize("noise", ["ols", "ar1"])
def test_one_model_of_all_trials_is_nilearns(run, noise):
    signal, trials, nuisance, _ = run
    beta, t = nilearn_fit(signal, np.concatenate([trials, nuisance], axis=1), noise)
    found = glm.single_trials(signal, trials, nuisance, method="lsa", noise=noise, bias_corrected=False)
    assert found.beta == pytest.approx(beta[:N_TRIALS], rel=1e-4, abs=1e-5)
    assert found.t == pytest.approx(t[:N_TRIALS], rel=1e-4, abs=1e-4)
    assert found.dof == N_TIMES - N_TRIALS - nuisance.shape[1]


def test_a_model_for_each_trial_is_the_brute_force_loops(run):
    signal, trials, nuisance, _ = run
    found = glm.single_trials(signal, trials, nuisance, method="lss", noise="ols")
    for i in range(N_TRIALS):
        design = np.column_stack([trials[:, i], trials.sum(1) - trials[:, i], nuisance])
        beta, t = nilearn_fit(signal, design, "ols")
        assert found.beta[i] == pytest.approx(beta[0], rel=1e-4, abs=1e-5)
        assert found.t[i] == pytest.approx(t[0], rel=1e-4, abs=1e-4)


def test_a_model_for_each_trial_under_autocorrelation_is_generalised_least_squares(run):
    signal, trials, nuisance, _ = run
    found = glm.single_trials(signal, trials, nuisance, method="lss")
    shift = np.eye(N_TIMES, k=-1)
    for i, voxel in ((0, 0), (5, 3), (13, 11)):
        whiten = np.eye(N_TIMES) - float(np.round(found.autocorrelation[voxel], 2)) * shift
        design = whiten @ np.column_stack([trials[:, i], trials.sum(1) - trials[:, i], nuisance])
        expected = np.linalg.lstsq(design, whiten @ signal[:, voxel], rcond=None)[0][0]
        assert found.beta[i, voxel] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_censored_volumes_do_not_count(run):
    signal, trials, nuisance, _ = run
    other = signal.copy()
    other[[40, 41]] *= -7.0
    for method in glm.METHODS:
        a, b = (glm.single_trials(s, trials, nuisance, method=method, noise="ols") for s in (signal, other))
        assert b.beta == pytest.approx(a.beta, abs=1e-5)
    kept = np.delete(np.arange(N_TIMES), [40, 41])
    cut = glm.single_trials(signal[kept], trials[kept], nuisance[kept, :-2], method="lsa", noise="ols")
    whole = glm.single_trials(signal, trials, nuisance, method="lsa", noise="ols")
    assert whole.beta == pytest.approx(cut.beta, abs=1e-5)
    assert whole.t == pytest.approx(cut.t, rel=1e-4)


@pytest.mark.parametrize("method", glm.METHODS)
def test_planted_betas_are_recovered_and_shuffled_ones_are_not(run, method, rng):
    signal, trials, nuisance, betas = run
    found = glm.single_trials(signal, trials, nuisance, method=method).beta
    assert np.corrcoef(found.ravel(), betas.ravel())[0, 1] > 0.8
    assert abs(np.corrcoef(found.ravel(), rng.permutation(betas, axis=0).ravel())[0, 1]) < 0.3


def test_without_noise_one_model_finds_the_planted_betas_exactly(run):
    _, trials, nuisance, betas = run
    for noise in glm.NOISE_MODELS:
        found = glm.single_trials(trials @ betas + 3.0, trials, nuisance, method="lsa", noise=noise)
        assert found.beta == pytest.approx(betas, abs=1e-5)


def test_autocorrelation_is_the_planted_one_where_the_plain_estimate_is_far_too_low(rng):
    onsets = 4.0 * np.arange(75)
    trials = glm_design.responses(onsets, np.full(75, 2.0), TIMES)
    nuisance = glm_design.drift(TIMES, 1 / 128)
    noise = rng.standard_normal((N_TIMES + 50, 300))
    for i in range(1, len(noise)):
        noise[i] += 0.4 * noise[i - 1]
    plain, corrected = (
        glm.autocorrelation(noise[50:], trials, nuisance, bias_corrected=c).mean() for c in (False, True)
    )
    assert plain < 0.2
    assert corrected == pytest.approx(0.4, abs=0.06)


def test_false_positives_of_planted_silence_are_as_many_as_promised(rng):
    from scipy import stats

    trials = glm_design.responses(4.0 + 8.0 * np.arange(38), np.full(38, 2.0), TIMES)
    nuisance = glm_design.drift(TIMES, 1 / 128)
    noise = rng.standard_normal((N_TIMES + 50, 400))
    for i in range(1, len(noise)):
        noise[i] += 0.3 * noise[i - 1]
    for method in glm.METHODS:
        found = glm.single_trials(noise[50:], trials, nuisance, method=method)
        p = 2 * stats.t.sf(np.abs(found.t), found.dof)
        assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.012), method


def test_responses_are_nilearns_of_the_spm_model_up_to_their_scale():
    from nilearn.glm.first_level import compute_regressor

    onsets, durations = np.array([3.3, 40.0, 81.7]), np.array([1.0, 4.0, 12.0])
    found = glm_design.responses(onsets, durations, TIMES)
    for i in range(3):
        expected = compute_regressor(np.array([[onsets[i]], [durations[i]], [1.0]]), "spm", TIMES)[0][:, 0]
        scale = found[:, i] @ expected / (expected @ expected)
        assert found[:, i] == pytest.approx(scale * expected, abs=0.02)
    assert 0.9 < found.max(0).min() and found.max() <= 1.0


def test_drift_spans_nilearns_cosines():
    from nilearn.glm.first_level.design_matrix import create_cosine_drift

    expected = glm.basis(create_cosine_drift(1 / 128, TIMES))
    found = glm.basis(glm_design.drift(TIMES, 1 / 128))
    assert found.shape == expected.shape
    assert found @ found.T == pytest.approx(expected @ expected.T, abs=1e-9)


@pytest.mark.parametrize("method", glm.METHODS)
def test_trials_that_cannot_be_told_apart_are_refused(run, method):
    signal, trials, nuisance, _ = run
    for bad in (trials[:, 0] * 0.0, nuisance[:, 3]):
        changed = trials.copy()
        changed[:, 5] = bad
        with pytest.raises(ValueError, match="1 of 14 trials cannot be told"):
            glm.single_trials(signal, changed, nuisance, method=method)
    many = np.concatenate([nuisance, np.eye(N_TIMES)[:, 10:-16]], axis=1)
    with pytest.raises(ValueError, match=r"degrees of freedom|cannot be told"):
        glm.single_trials(signal, trials, many, method=method)
