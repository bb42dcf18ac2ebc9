"""A miniature BIDS dataset with planted responses: fMRI with fMRIPrep derivatives, and EEG as BrainVision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import seeding, store
from braindec.data import glm_design
from braindec.types import Table

TASK = "pictures"
CATEGORIES = ("face", "house", "tool", "word")
N_PICTURES, N_RUNS, T_R, N_VOLUMES = 16, 4, 1.5, 150
SHAPE, SPACE = (8, 8, 5), "T1w"
MESH = ("fsaverage3", 642)  # fMRIPrep's are fsaverage5 and larger
AFFINE = np.array([[3.0, 0, 0, -12], [0, 3.0, 0, -12], [0, 0, 3.0, -7], [0, 0, 0, 1]])
SHOWN_S, GAP_S = 2.0, (10.0, 13.0)
SLICE_S = T_R / 2  # fMRIPrep moves volumes to the middle of their acquisition
MEAN, NOISE, AUTOCORRELATION = 10_000.0, 0.35, 0.35  # scanner units, percent, of neighbouring volumes
SFREQ, EEG_TRIALS, RESPONSE_S = 200.0, 48, 0.15
CHANNELS = ("Fz", "Cz", "Pz", "Oz", "P3", "P4", "O1", "O2", "C3", "C4", "F3", "F4")
EEG_NOISE = 8e-6  # V


@dataclass(frozen=True, eq=False)
class Planted:
    """Responses by key, the trial tables that belong to them, and further details."""

    responses: dict[str, np.ndarray]
    tables: dict[str, Table]
    details: dict[str, Any]


def write(
    root: Path,
    *,
    seed: int = 0,
    fmri: bool = True,
    eeg: bool = True,
    noise: float = 1.0,
    surface: bool = False,
) -> Planted:
    """Writes the dataset of two subjects, both with 4 runs of BOLD, the first with 4 runs of EEG besides.

    Parameters
    ----------
    root : Path
    seed : int
    fmri, eeg : bool
        What to write.
    noise : float
        Factor on all noise.
    surface : bool
        Also the same BOLD on a surface: the first half of the voxels on vertices of the left hemisphere.

    Returns
    -------
    Planted
        Responses: percent signal change at the peak (trial, voxel), and volts (trial, channel, time) without noise in a
        window of -0.2 to 0.8 s.
    """
    root.mkdir(parents=True, exist_ok=True)
    store.write_json(root / "dataset_description.json", {"Name": "miniature", "BIDSVersion": "1.10.0"})
    store.write_json(root / f"task-{TASK}_bold.json", {"RepetitionTime": T_R, "TaskName": TASK})
    pictures = [f"{CATEGORIES[i % len(CATEGORIES)]}/{i:02d}.png" for i in range(N_PICTURES)]
    _write_pictures(root / "stimuli", pictures, seed)
    responses: dict[str, np.ndarray] = {}
    tables: dict[str, Table] = {}
    details: dict[str, Any] = {"pictures": pictures, "mask": brain()}
    for subject in (1, 2) if fmri else ():
        rng = seeding.numpy_generator(seed, "bids", "fmri", subject)
        patterns = rng.standard_normal((N_PICTURES, int(brain().sum()))) + 0.5
        runs = [
            _write_bold(root, subject, run, patterns, pictures, rng, noise, surface)
            for run in range(1, N_RUNS + 1)
        ]
        key = f"sub-{subject:02d}_fmri"
        responses[key], tables[key] = _joined(runs, pictures)
        details[key] = {"patterns": patterns}
    if eeg:
        rng = seeding.numpy_generator(seed, "bids", "eeg")
        topographies = rng.standard_normal((len(CATEGORIES), len(CHANNELS)))
        runs = [_write_eeg(root, run, topographies, pictures, rng, noise) for run in range(1, N_RUNS + 1)]
        responses["sub-01_eeg"], tables["sub-01_eeg"] = _joined(runs, pictures)
        details["topographies"] = topographies
    return Planted(responses, tables, details)


def brain() -> np.ndarray:
    """The brain mask: a ball in the grid, bool SHAPE."""
    centre = (np.array(SHAPE) - 1) / 2
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    distance = (((grid - centre) / (centre + 0.5)) ** 2).sum(-1)
    return np.asarray(distance < 1.0)


def wave(times_s: np.ndarray) -> np.ndarray:
    """The planted evoked response over time: nothing before 0.15 s, then a wave of 0.35 s with a mean that is not 0."""
    t = np.asarray(times_s) - RESPONSE_S
    return np.where((t >= 0) & (t < 0.35), np.sin(np.pi * np.clip(t, 0, 0.35) / 0.35) ** 2, 0.0)


def write_brainvision(stem: Path, signal: np.ndarray, channels: tuple[str, ...], sfreq: float) -> Path:
    """Writes `signal` (n_channels, n_times) in V as stem.vhdr, .vmrk and .eeg (float32, uV); returns the header."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    (signal.T * 1e6).astype("<f4").tofile(stem.with_suffix(".eeg"))
    marker = "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
    marker += f"DataFile={stem.name}.eeg\n\n[Marker Infos]\nMk1=New Segment,,1,1,0\n"
    stem.with_suffix(".vmrk").write_text(marker, encoding="utf-8")
    lines = [
        "Brain Vision Data Exchange Header File Version 1.0", "", "[Common Infos]", "Codepage=UTF-8",
        f"DataFile={stem.name}.eeg", f"MarkerFile={stem.name}.vmrk", "DataFormat=BINARY", "DataOrientation=MULTIPLEXED",
        f"NumberOfChannels={len(channels)}", f"SamplingInterval={1e6 / sfreq:g}", "", "[Binary Infos]",
        "BinaryFormat=IEEE_FLOAT_32", "", "[Channel Infos]",
        *(f"Ch{i}={name},,1,µV" for i, name in enumerate(channels, start=1)),
    ]  # fmt: skip
    header = stem.with_suffix(".vhdr")
    header.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return header


def _write_bold(
    root: Path,
    subject: int,
    run: int,
    patterns: np.ndarray,
    pictures: list[str],
    rng: np.random.Generator,
    noise: float,
    surface: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """A run's files; returns planted betas (n_trials, n_voxels), picture numbers, onsets and the run."""
    order = rng.permutation(N_PICTURES)
    onsets = np.round(4.0 + np.cumsum(rng.uniform(*GAP_S, N_PICTURES)) - GAP_S[0], 3)
    times = SLICE_S + T_R * np.arange(N_VOLUMES)
    betas = patterns[order]
    design = glm_design.responses(onsets, np.full(N_PICTURES, SHOWN_S), times)
    presses = onsets[::3] + 3.0
    press = glm_design.responses(presses, np.zeros(len(presses)), times).sum(1)
    steps = 0.02 + 0.15 * (rng.random((N_VOLUMES, 6)) < 0.04)  # mm; a head moves now and then
    motion = (steps * rng.standard_normal((N_VOLUMES, 6))).cumsum(0)
    motion[:, 3:] *= 0.01  # rotations in radians
    physiology = rng.standard_normal((N_VOLUMES, 5)).cumsum(0) * 0.2
    jump = int(rng.integers(60, 90))
    fd = np.abs(np.diff(motion, axis=0, prepend=motion[:1])).sum(1)
    fd[jump] = 1.2
    n_voxels = betas.shape[1]
    percent = design @ betas + press[:, None] * rng.uniform(0.2, 0.6, n_voxels)
    percent += noise * _nuisance(motion, physiology, n_voxels, rng) + noise * NOISE * _autoregressive(
        rng, n_voxels
    )
    percent[jump] += 8 * noise * rng.standard_normal(n_voxels)
    label = f"sub-{subject:02d}"
    name = f"{label}_task-{TASK}_run-{run}"
    _write_images(root / f"derivatives/fmriprep/{label}/func", name, MEAN * (1 + percent / 100))
    if surface:
        _write_surfaces(root / f"derivatives/fmriprep/{label}/func", name, MEAN * (1 + percent / 100))
    _write_confounds(
        root / f"derivatives/fmriprep/{label}/func/{name}_desc-confounds_timeseries.tsv",
        motion,
        physiology,
        fd,
    )
    rows = [(o, SHOWN_S, CATEGORIES[p % 4], pictures[p]) for o, p in zip(onsets, order, strict=True)]
    rows += [(o, 0.0, "press", "n/a") for o in presses]
    _write_events(root / f"{label}/func/{name}_events.tsv", sorted(rows))
    return betas, order, onsets, run


def _nuisance(
    motion: np.ndarray, physiology: np.ndarray, n_voxels: int, rng: np.random.Generator
) -> np.ndarray:
    """Percent signal that motion, physiology and slow drift make, (n_times, n_voxels)."""
    slow = np.cos(np.pi / N_VOLUMES * (np.arange(N_VOLUMES)[:, None] + 0.5) * np.arange(1, 3))
    columns = np.concatenate(
        [motion * np.repeat([6.0, 600.0], 3), physiology, slow], axis=1
    )  # mm and radians
    return columns @ rng.normal(0, 0.5, (columns.shape[1], n_voxels))


def _autoregressive(rng: np.random.Generator, n_voxels: int) -> np.ndarray:
    """Unit-variance AR(1) noise (n_times, n_voxels)."""
    x = rng.standard_normal((N_VOLUMES + 30, n_voxels)) * np.sqrt(1 - AUTOCORRELATION**2)
    for i in range(1, len(x)):
        x[i] += AUTOCORRELATION * x[i - 1]
    return x[30:]


def _write_images(folder: Path, name: str, signal: np.ndarray) -> None:
    """BOLD and brain mask as fMRIPrep names them, with its sidecar."""
    import nibabel

    folder.mkdir(parents=True, exist_ok=True)
    data = np.zeros((*SHAPE, len(signal)), dtype=np.float32)
    data[brain()] = signal.T
    image = nibabel.Nifti1Image(data, AFFINE)
    image.header.set_zooms((3.0, 3.0, 3.0, T_R))
    image.header.set_xyzt_units("mm", "sec")
    stem = f"{name}_space-{SPACE}_desc"
    nibabel.save(image, folder / f"{stem}-preproc_bold.nii.gz")
    nibabel.save(nibabel.Nifti1Image(brain().astype(np.uint8), AFFINE), folder / f"{stem}-brain_mask.nii.gz")
    about = {"RepetitionTime": T_R, "StartTime": SLICE_S, "SliceTimingCorrected": True}
    store.write_json(folder / f"{stem}-preproc_bold.json", about)


def vertices(n: int) -> np.ndarray:
    """Where `n` values of a hemisphere lie on the mesh; all other vertices are 0, as the medial wall."""
    return 5 + np.arange(n) * ((MESH[1] - 5) // n)


def _write_surfaces(folder: Path, name: str, signal: np.ndarray) -> None:
    """BOLD as fMRIPrep names its surfaces: a GIFTI file a hemisphere, an array a volume, with its sidecar."""
    import nibabel
    from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiMetaData

    for hemisphere, part in zip(("Left", "Right"), np.array_split(signal, 2, axis=1), strict=True):
        whole = np.zeros((len(signal), MESH[1]), dtype=np.float32)
        whole[:, vertices(part.shape[1])] = part
        meta = GiftiMetaData({"AnatomicalStructurePrimary": f"Cortex{hemisphere}"})
        step = {"TimeStep": f"{1000 * T_R:f}"}
        held = [
            GiftiDataArray(v, "NIFTI_INTENT_TIME_SERIES", "NIFTI_TYPE_FLOAT32", meta=GiftiMetaData(step))
            for v in whole
        ]
        stem = f"{name}_hemi-{hemisphere[0]}_space-{MESH[0]}_bold"
        nibabel.save(GiftiImage(meta=meta, darrays=held), folder / f"{stem}.func.gii")
        store.write_json(folder / f"{stem}.json", {"RepetitionTime": T_R, "StartTime": SLICE_S})


def _write_confounds(path: Path, motion: np.ndarray, physiology: np.ndarray, fd: np.ndarray) -> None:
    names = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    columns = {n: [f"{v:.8g}" for v in motion[:, i]] for i, n in enumerate(names)}
    derivative = np.diff(motion, axis=0)
    columns |= {
        f"{n}_derivative1": ["n/a", *(f"{v:.8g}" for v in derivative[:, i])] for i, n in enumerate(names)
    }
    columns |= {
        f"a_comp_cor_{i:02d}": [f"{v:.8g}" for v in physiology[:, i]] for i in range(physiology.shape[1])
    }
    columns["framewise_displacement"] = ["n/a", *(f"{v:.6g}" for v in fd[1:])]
    rows = ["\t".join(columns), *("\t".join(row) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _write_events(path: Path, rows: list[tuple[float, float, str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["onset\tduration\ttrial_type\tstim_file", *(f"{o:g}\t{d:g}\t{k}\t{s}" for o, d, k, s in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_eeg(
    root: Path,
    run: int,
    topographies: np.ndarray,
    pictures: list[str],
    rng: np.random.Generator,
    noise: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """A run's files; returns planted epochs (n_trials, n_channels, n_times), picture numbers, onsets and the run."""
    order = np.concatenate([rng.permutation(N_PICTURES) for _ in range(EEG_TRIALS // N_PICTURES)])
    samples = 300 + np.cumsum(rng.integers(240, 300, len(order)))
    n_times = int(samples[-1]) + 400
    signal = np.zeros((len(CHANNELS), n_times))
    window = np.arange(round(0.8 * SFREQ) + 1)
    for s, p in zip(samples, order, strict=True):
        signal[:, s + window] += 4e-6 * topographies[p % 4][:, None] * wave(window / SFREQ)
    around = np.arange(round(-0.2 * SFREQ), round(0.8 * SFREQ) + 1)
    planted = np.stack([signal[:, s + around] for s in samples])
    recorded = signal + noise * _eeg_noise(rng, n_times)
    folder, name = root / "sub-01/eeg", f"sub-01_task-{TASK}_run-{run}"
    channels = (*CHANNELS, "T7", "VEOG")
    further = np.stack(
        [1e-4 * rng.standard_normal(n_times), 5e-5 * rng.standard_normal(n_times)]
    )  # broken; eye
    write_brainvision(folder / f"{name}_eeg", np.concatenate([recorded, further]), channels, SFREQ)
    lines = [
        "name\ttype\tunits\tstatus",
        *(f"{c}\tEEG\tuV\tgood" for c in CHANNELS),
        "T7\tEEG\tuV\tbad",
        "VEOG\tVEOG\tuV\tgood",
    ]
    (folder / f"{name}_channels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    store.write_json(folder / f"{name}_eeg.json", {"SamplingFrequency": SFREQ, "TaskName": TASK})
    rows = [(s / SFREQ, 0.5, CATEGORIES[p % 4], pictures[p]) for s, p in zip(samples, order, strict=True)]
    _write_events(folder / f"{name}_events.tsv", rows)
    return planted, order, samples / SFREQ, run


def _eeg_noise(rng: np.random.Generator, n_times: int) -> np.ndarray:
    """Noise in V with a spectrum near 1/f and slow drift, (n_channels, n_times)."""
    white = rng.standard_normal((len(CHANNELS), n_times))
    spectrum = np.fft.rfft(white, axis=1)
    f = np.fft.rfftfreq(n_times, 1 / SFREQ)
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(f, 0.02)), n_times, axis=1)
    return EEG_NOISE * pink / pink.std() + 2e-5 * np.linspace(-1, 1, n_times) * rng.standard_normal(
        (len(CHANNELS), 1)
    )


def _write_pictures(folder: Path, names: list[str], seed: int) -> None:
    """Small pictures of one colour and one bar each."""
    from PIL import Image

    rng = seeding.numpy_generator(seed, "bids", "pictures")
    for name in names:
        picture = np.tile(rng.integers(0, 200, 3), (32, 32, 1)).astype(np.uint8)
        picture[:, int(rng.integers(0, 28)) :][:, :4] = 255
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)


def _joined(
    runs: list[tuple[np.ndarray, np.ndarray, np.ndarray, int]], pictures: list[str]
) -> tuple[np.ndarray, Table]:
    """Responses and trial table of all runs."""
    order, onsets = (np.concatenate([r[i] for r in runs]) for i in (1, 2))
    table = Table(
        {
            "stimulus_id": np.array([pictures[p] for p in order]),
            "run": np.concatenate([np.full(len(r[1]), str(r[3])) for r in runs]),
            "onset_s": onsets,
            "trial_type": np.array([CATEGORIES[p % 4] for p in order]),
        }
    )
    return np.concatenate([r[0] for r in runs]), table
