"""Handwritten sixes and nines: one MATLAB file to 100 trials of 3,092 voxels and their upright pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, mat5_walk, splits
from braindec.data.catalogue import Truth
from braindec.data.damage import reading
from braindec.data.preparation import Content, Preparation
from braindec.types import ArraySpace, Table, Trials

HERE = Path(__file__).resolve().parent
FILE = "digit69_28x28.mat"
SIDE = 28
LABELS = {1: "six", 2: "nine"}  # looked at: label 1 are sixes
PARTS = (("train", "fmriTrn", "stimTrn", "labelTrn"), ("test", "fmriTest", "stimTest", "labelTest"))


def synthetic(raw: str | Path, *, seed: int = 0) -> Truth:
    """The same file with 120 voxels that weight the pixels of drawn sixes and nines, plus noise.

    Returns
    -------
    Truth
        Responses as written; `details` holds the upright pictures and the planted weights.
    """
    from scipy.io import savemat

    rng = seeding.numpy_generator(seed, "digits69", "synthetic")
    weights = rng.standard_normal((SIDE * SIDE, 120)) / SIDE
    held: dict[str, Any] = {}
    responses, pictures = [], []
    for _, fmri_name, stim_name, label_name in PARTS:
        n = 90 if fmri_name == "fmriTrn" else 10
        labels = np.repeat([1, 2], n // 2).astype(np.uint8)  # sixes first, as in the file
        drawn = np.stack([_draw(rng, nine=label == 2) for label in labels])
        signal = drawn.reshape(n, -1) / 255.0 @ weights
        held[fmri_name] = 0.03 * (signal + 0.3 * signal.std() * rng.standard_normal(signal.shape))
        held[stim_name] = drawn.transpose(0, 2, 1).reshape(
            n, -1
        )  # column by column, as MATLAB writes a picture
        held[label_name] = labels[:, None]
        responses.append(held[fmri_name])
        pictures.append(drawn)
    Path(raw).mkdir(parents=True, exist_ok=True)
    savemat(Path(raw) / FILE, held, do_compression=True)
    ids = np.array([f"digit-{i:03d}" for i in range(100)])
    details = {"pictures": np.concatenate(pictures), "weights": weights}
    return Truth(
        {"sub-01_fmri": np.concatenate(responses)}, {"sub-01_fmri": Table({"stimulus_id": ids})}, details
    )


def _read(raw: Path, subjects: tuple[int, ...]) -> Content:
    """Rows of the file as trials, pictures turned upright."""
    responses, pictures, labels, parts = _read_file(raw / FILE)
    ids = tuple(f"digit-{i:03d}" for i in range(len(responses)))
    about = Table({"category": np.array([LABELS[k] for k in labels.tolist()]), "file_part": parts})
    trials = Trials(responses, _table(ids), ArraySpace(responses.shape[1]), "authors' units", 1, "fmri")
    return Content((trials,), ids, about, (raw / FILE,), np.repeat(pictures[..., None], 3, axis=3))


def _read_file(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Responses float32 (100, n_voxels), upright pictures uint8 (100, 28, 28), labels and part of each row."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    mat5_walk.check(path)
    with reading(path, MatReadError):
        held = loadmat(path)
        responses = np.concatenate([np.asarray(held[f], dtype=np.float32) for _, f, _, _ in PARTS])
        stored = np.concatenate([np.asarray(held[s]) for _, _, s, _ in PARTS])
        labels = np.concatenate([np.asarray(held[k]).ravel() for _, _, _, k in PARTS])
        parts = np.concatenate([np.full(len(held[f]), part) for part, f, _, _ in PARTS])
        pictures = stored.reshape(-1, SIDE, SIDE).transpose(0, 2, 1)
    good = responses.ndim == 2 and np.isfinite(responses).all() and stored.dtype == np.uint8
    if (
        not good
        or len({len(responses), len(pictures), len(labels)}) != 1
        or not set(labels.tolist()) <= set(LABELS)
    ):
        raise checks.DataFileError(
            path, "does not hold matching responses, pictures and labels", "Fetch it again."
        )
    return responses, pictures, labels, parts


def _table(ids: tuple[str, ...]) -> Table:
    n = len(ids)
    return Table(
        {
            "stimulus_id": np.array(ids),
            "session": np.full(n, "1"),
            "run": np.full(n, "1"),
            "repeat": np.zeros(n, dtype=np.int64),
            "onset_s": np.zeros(n),
            "acquisition_order": np.full(n, -1),  # not in the file; its rows are sorted by class
            "exchangeability_block": np.full(n, "1"),
        }
    )


def _splits(dataset: NeuralDataset) -> list[Split]:
    ids = np.array(dataset.stimuli.ids)
    parts = checks.of_type("table", dataset.stimuli.table, Table)["file_part"]
    own = {part: tuple(ids[parts == part].tolist()) for part in ("train", "test")}
    generator = seeding.numpy_generator(0, "digits69", "10_fold")  # fixed once: part of the protocol
    folds = splits.k_fold(dataset, "stimulus", 10, generator, stratify="category")
    return [Split("default", "stimulus", own), *folds]


def _draw(rng: np.random.Generator, *, nine: bool) -> np.ndarray:
    """An upright six, or (turned by 180 degrees) nine: a ring with a bent stroke above it, uint8 (28, 28)."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    centre_x, centre_y = 14 + rng.uniform(-1.5, 1.5), 18 + rng.uniform(-1, 1)
    radius, width = rng.uniform(3.0, 4.8), rng.uniform(1.0, 1.8)
    slant, height = rng.uniform(-0.1, 0.5), rng.uniform(9, 13)
    ring = np.abs(np.hypot(x - centre_x, y - centre_y) - radius)
    rise = np.clip((centre_y - y) / height, 0, 1)
    stroke_x = centre_x - radius + slant * height * rise + 2.0 * rise**2
    stroke = np.where((y <= centre_y) & (y >= centre_y - height), np.abs(x - stroke_x), np.inf)
    picture = (255 * np.clip(width + 0.5 - np.minimum(ring, stroke), 0, 1)).astype(np.uint8)
    return picture[::-1, ::-1] if nine else picture


DIGITS = Preparation(
    folder=HERE,
    expected=FILE,
    nested="fmri_digits69",
    licence="none stated",
    source="ChangdeDu/DGMM; doi:10.1162/NECO_a_00047",
    read=_read,
    splits=_splits,
    notes={
        "label": "category",
        "transductive": "unknown: the authors' normalisation of the responses is not documented in the file",
        "betas": {  # not documented either
            "hrf_chosen_on": "unknown", "noise_regressors_on": "unknown", "ridge_chosen_on": "unknown",
            "z_scored_on": "unknown", "overlap": "unknown",
        },
        "features": {"selected_on": "unknown", "aligned_on": "none"},
    },
)  # fmt: skip
fetch, prepare = DIGITS.fetch, DIGITS.prepare
