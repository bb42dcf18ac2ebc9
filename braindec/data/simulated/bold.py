"""Simulated BOLD runs as BIDS files: overlapping haemodynamic responses, drift and autocorrelated noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import lfilter
from scipy.stats import gamma

from braindec import checks, store
from braindec.data.simulated.design import MOTION_COLUMNS, draw_motion
from braindec.types import VoxelSpace

FINE_S = 0.1  # responses are computed at this step, then sampled at the volumes
HRF_LENGTH_S = 32.0


@dataclass(frozen=True)
class BoldConfig:
    """How a subject's BOLD signal arises.

    Parameters
    ----------
    t_r : float
        Seconds a volume.
    peak_s, undershoot_s, ratio : float
        Times of the two gamma functions of the haemodynamic response, and the height of the second one over the first.
    shown_s : float
        Seconds that each picture stays.
    noise_sd : float
        SD of the noise, percent of the mean signal.
    autocorrelation : float
        Of neighbouring volumes' noise, in [0, 1).
    drift : float
        SD of a slow cosine drift, percent.
    mean_signal : float
        Scanner units.
    """

    t_r: float = 1.5
    peak_s: float = 5.0
    undershoot_s: float = 15.0
    ratio: float = 1 / 6
    shown_s: float = 2.0
    noise_sd: float = 0.7
    autocorrelation: float = 0.3
    drift: float = 0.5
    mean_signal: float = 10_000.0

    def __post_init__(self) -> None:
        checks.in_range("autocorrelation", self.autocorrelation, 0.0, 0.99)
        checks.at_least("peak_s", self.peak_s, 1.0)


def hrf(config: BoldConfig, step_s: float = FINE_S) -> np.ndarray:
    """Response to a picture shown for `shown_s`, every `step_s` seconds from its onset; its peak is 1."""
    t = np.arange(0, HRF_LENGTH_S, step_s)
    brief = gamma.pdf(t, config.peak_s + 1) - config.ratio * gamma.pdf(t, config.undershoot_s + 1)
    shown = np.convolve(brief, np.ones(max(1, round(config.shown_s / step_s))))
    return shown / shown.max()


def regressors(onsets_s: np.ndarray, n_volumes: int, config: BoldConfig) -> np.ndarray:
    """Response of a run to each trial, (n_volumes, n_trials): the true design."""
    response = hrf(config)
    at = np.arange(n_volumes)[:, None] * config.t_r - np.asarray(onsets_s)[None]
    return np.interp(at, np.arange(len(response)) * FINE_S, response, left=0.0, right=0.0)


def simulate_run(
    betas: np.ndarray,
    onsets_s: np.ndarray,
    n_volumes: int,
    config: BoldConfig,
    generator: np.random.Generator,
) -> np.ndarray:
    """One run in scanner units.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
        Peak response to each trial, percent of the mean signal.
    onsets_s : ndarray, shape (n_trials,)
        Seconds from the first volume.
    n_volumes : int
    config : BoldConfig
    generator : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (n_voxels, n_volumes)
    """
    checks.same_length("trial", betas=betas, onsets_s=onsets_s)
    n_voxels = betas.shape[1]
    a = config.autocorrelation
    before = max(50, int(7 / (1 - a)))  # volumes until the noise has its SD: a ** before < 0.001
    white = generator.standard_normal((n_volumes + before, n_voxels))
    noise = config.noise_sd * np.sqrt(1 - a**2) * lfilter([1], [1, -a], white, axis=0)[before:]
    phase = generator.uniform(0, 2 * np.pi, n_voxels)
    period = n_volumes * generator.uniform(1, 3, n_voxels)
    drift = config.drift * np.sqrt(2) * np.cos(2 * np.pi * np.arange(n_volumes)[:, None] / period + phase)
    percent = regressors(onsets_s, n_volumes, config) @ betas + noise + drift
    return config.mean_signal * (1 + percent.T / 100)


def noise_covariance(n_volumes: int, config: BoldConfig) -> np.ndarray:
    """Covariance over time of a voxel's noise without drift, (n_volumes, n_volumes), percent squared."""
    lags = np.abs(np.subtract.outer(np.arange(n_volumes), np.arange(n_volumes)))
    return config.noise_sd**2 * config.autocorrelation**lags


def expected_correlation(
    estimator: np.ndarray, design: np.ndarray, noise: np.ndarray, signal_sd: float
) -> float:
    """Correlation over trials between planted and estimated betas that a linear estimator must give.

    Parameters
    ----------
    estimator : ndarray, shape (n_trials, n_volumes)
        Betas are this times the signal.
    design : ndarray, shape (n_volumes, n_trials)
        What the signal truly is: this times the betas, plus noise.
    noise : ndarray, shape (n_volumes, n_volumes)
        Covariance of the noise over time.
    signal_sd : float
        SD of independent betas over trials.
    """
    mixed = estimator @ design
    variance = signal_sd**2 * (mixed**2).sum(1) + np.einsum("ij,ij->i", estimator @ noise, estimator)
    return float(signal_sd * np.diag(mixed).mean() / np.sqrt(variance.mean()))


def write_bids_run(
    root: Path,
    subject: int,
    run: int,
    signal: np.ndarray,
    space: VoxelSpace,
    onsets_s: np.ndarray,
    stimulus_ids: list[str],
    config: BoldConfig,
    generator: np.random.Generator,
) -> Path:
    """BOLD image, sidecar, events and head motion of one run; returns the image's path.

    Parameters
    ----------
    root : Path
        Of the BIDS dataset; the mask goes to derivatives/fmriprep.
    subject, run : int
        From 1.
    signal : ndarray, shape (n_voxels, n_volumes)
        Scanner units; written as int16.
    space : VoxelSpace
    onsets_s : ndarray, shape (n_trials,)
    stimulus_ids : list of str
    config : BoldConfig
    generator : numpy.random.Generator
        Draws head motion.
    """
    import nibabel

    name = f"sub-{subject:02d}_task-scenes_run-{run}"
    func = root / f"sub-{subject:02d}" / "func"
    derived = root / "derivatives" / "fmriprep" / f"sub-{subject:02d}" / "func"
    for folder in (func, derived):
        folder.mkdir(parents=True, exist_ok=True)
    store.write_json(root / "dataset_description.json", {"Name": "simulated scenes", "BIDSVersion": "1.10.0"})
    volume = np.zeros((*space.mask.shape, signal.shape[1]), np.int16)
    volume[space.mask] = np.rint(signal)
    image = nibabel.Nifti1Image(volume, space.affine)
    image.header.set_zooms((*image.header.get_zooms()[:3], config.t_r))
    image.header.set_xyzt_units("mm", "sec")
    path = func / f"{name}_bold.nii.gz"
    nibabel.save(image, path)
    store.write_json(func / f"{name}_bold.json", {"RepetitionTime": config.t_r, "TaskName": "scenes"})
    mask = nibabel.Nifti1Image(space.mask.astype(np.uint8), space.affine)
    nibabel.save(mask, derived / f"{name}_desc-brain_mask.nii.gz")
    rows = [
        f"{onset:.3f}\t{config.shown_s:.3f}\tscene\t{stimulus}"
        for onset, stimulus in zip(onsets_s, stimulus_ids, strict=True)
    ]
    lines = ["onset\tduration\ttrial_type\tstimulus_id", *rows]
    (func / f"{name}_events.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    motion = draw_motion(signal.shape[1], generator)
    head = "\t".join(MOTION_COLUMNS)
    np.savetxt(
        derived / f"{name}_desc-confounds_timeseries.tsv",
        motion,
        fmt="%.6f",
        delimiter="\t",
        header=head,
        comments="",
    )
    return path
