"""NSD-Imagery and NSD-Synthetic: one session each, whose trials are named by what was shown or imagined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data import nsd
from braindec.data.damage import reading
from braindec.data.tables import repeats
from braindec.types import Table

EXPERIMENTS = ("nsdimagery", "nsdsynthetic")
TASKS = {"vis": "seen", "img": "imagined"}
# Order of the runs, and betas of each: a trial of attention has two (cue, detection); NSD data manual, "nsdimagery".
IMAGERY_RUNS = {
    "visA": 48, "attA": 96, "imgA_1": 48, "visB": 48, "attB": 96, "imgB_1": 48, "visC": 48, "attC": 96, "imgC_1": 48,
    "imgA_2": 48, "imgB_2": 48, "imgC_2": 48,
}  # fmt: skip
IMAGERY_TRIALS = 48  # rows of each run's file of behaviour
# Pictures by the letter that was the cue; set C are six words without a picture.
TARGETS = {
    "H": "bar_000.0deg_450L_43W.png", "R": "bar_045.0deg_450L_43W.png", "V": "bar_090.0deg_450L_43W.png",
    "L": "bar_135.0deg_450L_43W.png", "P": "crs_000.0deg_450L_43W.png", "E": "crs_045.0deg_450L_43W.png",
    "W": "shared0385_nsd28752.png", "K": "shared0413_nsd30857.png", "B": "shared0741_nsd53882.png",
    "C": "shared0842_nsd61178.png", "D": "shared0907_nsd65873.png", "T": "shared0000_nsd00000.png",
}  # fmt: skip
SYNTHETIC_RUNS, SYNTHETIC_TRIALS = 8, 93  # runs, and trials of each
SYNTHETIC_SHARED, SYNTHETIC_STIMULI = 220, 284  # the last 64 differ in colour between subjects
SYNTHETIC_DESIGN = Path("nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat")


@dataclass(frozen=True, eq=False)
class Further:
    """What one further experiment holds of a subject.

    Parameters
    ----------
    files : tuple of Path
        Of the betas.
    n_betas : int
        Rows that they must have.
    kept : int array, shape (n_trials,)
        Rows that are trials of ours.
    table : Table
    read : tuple of Path
        The other files that were read.
    """

    files: tuple[Path, ...]
    n_betas: int
    kept: np.ndarray
    table: Table
    read: tuple[Path, ...]


def read_further(
    raw: str | Path, subject: int, experiment: str, *, betas: str, grid: str, first: int
) -> Further:
    """The trials of a further experiment.

    Parameters
    ----------
    raw : path
    subject : int
    experiment : str
        ``"nsdimagery"``: pictures seen and imagined, ids ``nsdimagery-seen-H`` and ``nsdimagery-imagined-H``; runs of
        attention and of words (set C) are left out. ``"nsdsynthetic"``: ids ``nsdsynthetic-000``, and
        ``nsdsynthetic-220-subj01`` for the 64 that differ between subjects.
    betas : str
        Preparation of the main experiment, ``"betas_fithrf"``; this one's is called ``nsdimagerybetas_fithrf``.
    grid : str
    first : int
        Place of the first trial in the order of acquisition.
    """
    checks.one_of("experiment", experiment, EXPERIMENTS)
    folder = nsd.betas_folder(raw, subject, grid, f"{experiment}{betas}")
    files = nsd.session_files(folder, experiment)
    if not files:
        raise FileNotFoundError(
            f"{folder} holds no betas_{experiment}. Get them, or leave this experiment out."
        )
    if experiment == "nsdimagery":
        kept, columns = _imagery(Path(raw), subject)
        n_betas = sum(IMAGERY_RUNS.values())
        read = tuple(_imagery_path(Path(raw), subject, run) for run in IMAGERY_RUNS if _is_ours(run))
    else:
        columns = _synthetic(Path(raw), subject)
        n_betas = SYNTHETIC_RUNS * SYNTHETIC_TRIALS
        kept, read = np.arange(n_betas), (Path(raw) / SYNTHETIC_DESIGN,)
    n = len(kept)
    table = Table(
        columns
        | {
            "session": np.full(n, experiment),
            "repeat": repeats(columns["stimulus_id"].tolist()),
            "acquisition_order": first + kept,
            "exchangeability_block": columns["run"],  # a run has its own task
            "shared": np.zeros(n, dtype=bool),
        }
    )
    return Further(files[0], n_betas, kept, table, read)


def _is_ours(run: str) -> bool:
    return run[:3] in TASKS and run[3] != "C"


def _imagery_path(raw: Path, subject: int, run: str) -> Path:
    return raw / "nsddata" / "bdata" / "nsdimagery" / f"nsdimagery_subj{subject:02d}_{run}.tsv"


def _imagery(raw: Path, subject: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    kept, ids, runs, tasks, place, onset = [], [], [], [], [], []
    first = 0
    for run, n_betas in IMAGERY_RUNS.items():
        if _is_ours(run):
            letters, onsets = _imagery_run(raw, subject, run)
            kept.append(np.arange(first, first + n_betas))
            ids += [f"nsdimagery-{TASKS[run[:3]]}-{letter}" for letter in letters]
            runs += [f"nsdimagery-{run}"] * n_betas
            tasks += [TASKS[run[:3]]] * n_betas
            place.append(np.arange(n_betas) + 1)
            onset.append(onsets)
        first += n_betas
    columns = {"stimulus_id": ids, "run": runs, "task": tasks}
    numbers = {"run_position": np.concatenate(place), "onset_s": np.concatenate(onset)}
    return np.concatenate(kept), {name: np.array(values) for name, values in columns.items()} | numbers


def _imagery_run(raw: Path, subject: int, run: str) -> tuple[list[str], np.ndarray]:
    """What each of a run's 48 trials asked for, by its letter, and seconds since the first."""
    import pandas as pd

    way_out = "Get nsddata/bdata/nsdimagery, or leave nsdimagery out."
    path = checks.existing_file(_imagery_path(raw, subject, run), way_out)
    with reading(path):
        frame = pd.read_csv(path, sep="\t")
        letters = frame["CONDITION"].astype(str).tolist()
        onset = frame["TRIALONSET"].to_numpy(dtype=np.float64)
    if len(letters) != IMAGERY_TRIALS or not set(letters) <= set(TARGETS):
        found = f"holds {len(letters)} trials with 'CONDITION' {sorted(set(letters))[:8]}"
        raise checks.DataFileError(
            path,
            f"{found}, expected {IMAGERY_TRIALS} with letters of {sorted(TARGETS)}",
            "Get the file again.",
        )
    return letters, np.round(onset - onset[0], 3)


def _synthetic(raw: Path, subject: int) -> dict[str, np.ndarray]:
    path = raw / SYNTHETIC_DESIGN
    order = nsd.read_mat(path, ("masterordering",))["masterordering"].ravel() - 1
    n = SYNTHETIC_RUNS * SYNTHETIC_TRIALS
    if len(order) != n or order.min() < 0 or order.max() >= SYNTHETIC_STIMULI:
        found = f"holds 'masterordering' of {len(order)} numbers {order.min() + 1}..{order.max() + 1}"
        raise checks.DataFileError(
            path, f"{found}, expected {n} within 1..{SYNTHETIC_STIMULI}", "Get the file again."
        )
    run, place = np.divmod(np.arange(n), SYNTHETIC_TRIALS)
    return {
        "stimulus_id": np.array([synthetic_id(i, subject) for i in order.tolist()]),
        "run": np.array([f"nsdsynthetic-{r + 1}" for r in run]),
        "task": np.where(run % 2 == 0, "fixation", "one_back"),
        "run_position": place + 1,
        "onset_s": 4.0 * place,  # without the blank trials between, which no file of the betas names
    }


def synthetic_id(index: int, subject: int) -> str:
    """Id of the picture with this 0-based number, which from 220 on is the subject's own."""
    return f"nsdsynthetic-{index:03d}" + (f"-subj{subject:02d}" if index >= SYNTHETIC_SHARED else "")
