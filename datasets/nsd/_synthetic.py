"""A miniature of the Natural Scenes Dataset: real names, keys, types, axes and ids; fewer voxels, sessions and pixels.

Two subjects, two sessions of 750 trials. A response is linear in the picture's 4 x 4 colours, plus noise; it is rounded
to 1/300 percent as in the files, so that what is read can be compared bit by bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import seeding
from braindec.data import nsd_further as further
from braindec.data.catalogue import Truth
from braindec.types import Table

BETAS, SCALE = "betas_fithrf_GLMdenoise_RR", 300.0
SUBJECTS, N_SESSIONS, PER_SESSION = (1, 2), 2, 750
GRIDS = {1: (10, 9, 8), 2: (11, 8, 9)}  # x, y, z: subjects differ
MESH = 642  # vertices of a hemisphere; 163,842 in the real files
SIDE, CELLS = 32, 4
SHARED_THREE, SHARED_TWO, OWN = 95, 5, 401  # images within the two sessions
AFFINE = np.array([[-1.8, 0, 0, 9], [0, 1.8, 0, -8], [0, 0, 1.8, 4], [0, 0, 0, 1]])
BEHAVIOUR = (
    "SUBJECT", "SESSION", "RUN", "TRIAL", "73KID", "10KID", "TIME", "ISOLD", "ISCORRECT", "RT", "CHANGEMIND",
    "MEMORYRECENT", "MEMORYFIRST", "ISOLDCURRENT", "ISCORRECTCURRENT", "TOTAL1", "TOTAL2", "BUTTON", "MISSINGDATA",
)  # fmt: skip
LABELS = {
    "prf-visualrois": ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"),
    "streams": ("early", "midventral"),
}


def write(raw: Path, seed: int) -> Truth:
    """Writes every file and returns what `prepare` should make of the volumes, experiment by experiment."""
    rng = seeding.numpy_generator(seed, "nsd", "synthetic")
    design = _design(rng)
    _write_design(raw, design, rng)
    colours = rng.integers(0, 256, (73_000, CELLS, CELLS, 3), dtype=np.uint8)
    shown = {
        s: design["subjectim"][s - 1][design["masterordering"][: N_SESSIONS * PER_SESSION] - 1] - 1
        for s in SUBJECTS
    }
    _write_pictures(raw, colours, np.unique(np.concatenate(list(shown.values()))))
    others = _write_other_pictures(raw, rng)
    responses, tables, surface, masks = {}, {}, {}, {}
    for subject in SUBJECTS:
        weights = rng.standard_normal((CELLS * CELLS * 3, int(np.prod(GRIDS[subject])))) / 8
        mask = _write_anatomy(raw, subject, rng)
        stored = _stored(colours[shown[subject]], weights, rng)
        key = f"sub-{subject:02d}_fmri"
        _write_betas(raw, subject, stored, rng)
        tables[key] = _write_behaviour(raw, subject, design, shown[subject], rng)
        extra, table = _write_further(raw, subject, others, weights, rng)
        voxels = np.ravel_multi_index(np.nonzero(mask), mask.shape)
        responses[key] = (np.concatenate([stored, *extra])[:, voxels] / np.float32(SCALE)).astype(np.float32)
        tables[f"{key}/further"], masks[key] = table, mask
        surface[key] = _write_surface(raw, subject, colours[shown[subject]], rng)
    details = {"surface": surface, "colours": colours, "masks": masks, "n_core": N_SESSIONS * PER_SESSION}
    return Truth(responses, tables, details)


def _design(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Full-size: 30,000 places in lists of 10,000 images (1-based); the first 1,000 are those that all subjects see."""
    shared = np.sort(rng.permutation(73_000)[:1000]) + 1
    own = rng.permutation(np.setdiff1d(np.arange(1, 73_001), shared)).reshape(8, 9000)
    subjectim = np.concatenate([np.tile(shared, (8, 1)), own], axis=1)
    places = rng.permutation(1000)[: SHARED_THREE + SHARED_TWO] + 1
    mine = rng.permutation(9000)[: OWN + 1] + 1001
    n_seen = np.zeros(10_001, dtype=int)
    n_seen[places[:SHARED_THREE]], n_seen[places[SHARED_THREE:]] = 3, 2
    n_seen[mine[:OWN]], n_seen[mine[OWN]] = 3, 2
    first = rng.permutation(np.repeat(np.arange(10_001), n_seen))
    later = np.repeat(np.arange(10_001), np.where(np.arange(10_001) > 0, 3 - n_seen, 0))
    order = np.concatenate([first, rng.permutation(later)])
    return {"masterordering": order, "subjectim": subjectim, "sharedix": shared}


def _write_design(raw: Path, design: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    import pandas as pd
    from scipy.io import savemat

    folder = raw / "nsddata" / "experiments" / "nsd"
    folder.mkdir(parents=True, exist_ok=True)
    matlab = {k: np.atleast_2d(v).astype(np.float64) for k, v in design.items()}
    savemat(folder / "nsd_expdesign.mat", matlab, do_compression=True)
    number = np.arange(73_000)
    columns: dict[str, Any] = {
        "cocoId": rng.permutation(600_000)[:73_000], "cocoSplit": np.where(number < 5000, "val2017", "train2017"),
        "cropBox": "(0, 0, 0.25, 0.25)", "loss": 0.1, "nsdId": number, "flagged": False, "BOLD5000": False,
        "shared1000": np.isin(number + 1, design["sharedix"]),
    }  # fmt: skip
    for s in range(8):
        columns[f"subject{s + 1}"] = np.isin(number + 1, design["subjectim"][s]).astype(int)
    pd.DataFrame(columns).to_csv(folder / "nsd_stim_info_merged.csv")


def _write_pictures(raw: Path, colours: np.ndarray, shown: np.ndarray) -> None:
    path = raw / "nsddata_stimuli" / "stimuli" / "nsd" / "nsd_stimuli.hdf5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:  # pictures that nobody saw stay unwritten, and take no space
        data = file.create_dataset("imgBrick", (73_000, SIDE, SIDE, 3), np.uint8, chunks=(1, SIDE, SIDE, 3))
        for i in shown.tolist():
            data[i] = _drawn(colours[i], SIDE, SIDE)


def _drawn(colours: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture of 4 x 4 fields, uint8 (height, width, 3)."""
    rows, columns = (np.arange(n) * CELLS // n for n in (height, width))
    return colours[rows][:, columns]


def _write_other_pictures(raw: Path, rng: np.random.Generator) -> dict[str, Any]:
    """Targets of the imagery session and synthetic pictures; their 4 x 4 colours."""
    from PIL import Image

    folder = raw / "nsddata" / "experiments" / "nsdimagery" / "rawtargetimages"
    folder.mkdir(parents=True, exist_ok=True)
    targets = {}
    for letter, name in further.TARGETS.items():
        targets[letter] = rng.integers(0, 256, (CELLS, CELLS, 3), dtype=np.uint8)
        Image.fromarray(_drawn(targets[letter], 40, 40)).save(folder / name)
    folder = raw / "nsddata_stimuli" / "stimuli" / "nsdsynthetic"
    folder.mkdir(parents=True, exist_ok=True)
    gray = rng.integers(0, 256, (further.SYNTHETIC_SHARED, CELLS, CELLS, 3), dtype=np.uint8)
    n_own = further.SYNTHETIC_STIMULI - further.SYNTHETIC_SHARED
    own = {s: rng.integers(0, 256, (n_own, CELLS, CELLS, 3), dtype=np.uint8) for s in SUBJECTS}
    files = {"nsdsynthetic_stimuli": gray} | {
        f"nsdsynthetic_colorstimuli_subj{s:02d}": v for s, v in own.items()
    }
    for name, values in files.items():
        with h5py.File(folder / f"{name}.hdf5", "w") as file:
            file["imgBrick"] = np.stack(
                [_drawn(v, 16, 32) for v in values]
            )  # wider than high, as 714 x 1360 are
    order = rng.permutation(np.resize(np.arange(further.SYNTHETIC_STIMULI), 744)) + 1
    return {
        "targets": targets,
        "synthetic": {s: np.concatenate([gray, own[s]]) for s in SUBJECTS},
        "order": order,
    }


def _write_anatomy(raw: Path, subject: int, rng: np.random.Generator) -> np.ndarray:
    """ROI images, their colour tables and the brain mask; the mask of nsdgeneral."""
    person, grid = raw / "nsddata" / "ppdata" / f"subj{subject:02d}" / "func1pt8mm", GRIDS[subject]
    brain = np.zeros(grid, dtype=np.int16)
    brain[1:-1, 1:-1, 1:-1] = 1
    general = np.where((rng.random(grid) < 0.5) & (brain > 0), 1, -brain).astype(np.int16)  # 1, 0 and -1
    _volume(person / "brainmask.nii.gz", brain)
    _volume(person / "roi" / "nsdgeneral.nii.gz", general)
    tables = raw / "nsddata" / "freesurfer" / f"subj{subject:02d}" / "label"
    tables.mkdir(parents=True, exist_ok=True)
    for name, words in LABELS.items():
        labels = rng.integers(-1, len(words) + 1, grid).astype(np.int16)
        _volume(person / "roi" / f"{name}.nii.gz", labels)
        _volume(person / "roi" / f"lh.{name}.nii.gz", labels)
        lines = [f"{i} {word} 0 0 0 0" for i, word in enumerate(("Unknown", *words))]
        (tables / f"{name}.mgz.ctab").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return general > 0


def _volume(path: Path, values: np.ndarray) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), path)


def _stored(colours: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Responses times 300 to pictures, int16 (n_trials, n_voxels in C order of x, y, z)."""
    signal = (colours.reshape(len(colours), -1) / 127.5 - 1) @ weights
    return np.rint(SCALE * (signal + 0.7 * rng.standard_normal(signal.shape))).astype(np.int16)


def _write_betas(raw: Path, subject: int, stored: np.ndarray, rng: np.random.Generator) -> None:
    """Session 1 and 2 as HDF5, and (with other responses) as compressed NIfTI of another preparation."""
    base, grid = raw / "nsddata_betas" / "ppdata" / f"subj{subject:02d}" / "func1pt8mm", GRIDS[subject]
    for session in range(N_SESSIONS):
        rows = stored[session * PER_SESSION : (session + 1) * PER_SESSION]
        _hdf5(base / BETAS / f"betas_session{session + 1:02d}.hdf5", rows, grid)
        volume = rows.reshape(-1, *grid).transpose(1, 2, 3, 0)
        _volume(base / "betas_fithrf" / f"betas_session{session + 1:02d}.nii.gz", volume)
    _volume(base / BETAS / "ncsnr.nii.gz", rng.random(grid).astype(np.float32))


def _hdf5(path: Path, stored: np.ndarray, grid: tuple[int, ...]) -> None:
    """(trial, z, y, x), each voxel's trials in a chunk of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = stored.reshape(-1, *grid).transpose(0, 3, 2, 1)
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", data=values, chunks=(len(stored), 1, 1, 1))


def _write_behaviour(
    raw: Path, subject: int, design: dict[str, np.ndarray], shown: np.ndarray, rng: np.random.Generator
) -> Table:
    """responses.tsv: odd runs have 63 trials, even ones 62; ids are 1-based."""
    n = len(shown)
    session, within = np.divmod(np.arange(n), PER_SESSION)
    sizes = np.where(np.arange(12) % 2 == 0, 63, 62)
    run = np.repeat(np.arange(12), sizes)[within]
    trial = within - np.concatenate([[0], np.cumsum(sizes)])[run]
    place = design["masterordering"][:n]
    seen: dict[int, int] = {}
    repeat = np.array([seen.update({i: seen.get(i, -1) + 1}) or seen[i] for i in shown.tolist()])
    days = 0.4 + 7 * session + (run * 310 + trial * 4.0) / 86_400
    zero, old = np.zeros(n, dtype=int), (repeat > 0).astype(int)
    right = (rng.random(n) < 0.85).astype(int)
    columns = (
        np.full(n, subject), session + 1, run + 1, trial + 1, shown + 1, place, days, old, right,
        rng.uniform(600, 1800, n).round(1), zero, zero, zero, old, right, zero + 1, zero,
        np.where(old == right, 2, 1), zero,
    )  # fmt: skip
    path = raw / "nsddata" / "ppdata" / f"subj{subject:02d}" / "behav" / "responses.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(BEHAVIOUR)]
    lines += ["\t".join(f"{v:.9f}" if isinstance(v, float) else str(v) for v in row)
              for row in zip(*(c.tolist() for c in columns), strict=True)]  # fmt: skip
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Table({
        "stimulus_id": np.array([f"nsd-{i:05d}" for i in shown]), "session": (session + 1).astype(str),
        "run": np.array([f"{s + 1}-{r + 1}" for s, r in zip(session, run, strict=True)]), "repeat": repeat,
        "shared": place <= 1000, "run_position": trial + 1, "onset_s": trial * 4.0, "acquisition_order": np.arange(n),
    })  # fmt: skip


def _write_further(
    raw: Path, subject: int, others: dict[str, Any], weights: np.ndarray, rng: np.random.Generator
) -> tuple[list[np.ndarray], Table]:
    """The imagery and the synthetic session; what of them is kept, in this order."""
    folder = raw / "nsddata" / "bdata" / "nsdimagery"
    folder.mkdir(parents=True, exist_ok=True)
    rows, kept, ids = [], [], []
    for run, n_betas in further.IMAGERY_RUNS.items():
        letters = _imagery_run(folder / f"nsdimagery_subj{subject:02d}_{run}.tsv", subject, run, rng)
        if run[:3] == "att" or run[3] == "C":
            rows.append(rng.integers(-900, 900, (n_betas, weights.shape[1])).astype(np.int16))
            continue
        task = further.TASKS[run[:3]]
        rows.append(_stored(np.stack([others["targets"][i] for i in letters]), weights, rng))
        kept.append(rows[-1])
        ids += [f"nsdimagery-{task}-{letter}" for letter in letters]
    order = others["order"] - 1
    synthetic = _stored(others["synthetic"][subject][order], weights, rng)
    ids += [further.synthetic_id(i, subject) for i in order.tolist()]
    base = raw / "nsddata_betas" / "ppdata" / f"subj{subject:02d}" / "func1pt8mm"
    _hdf5(base / f"nsdimagery{BETAS}" / "betas_nsdimagery.hdf5", np.concatenate(rows), GRIDS[subject])
    _hdf5(base / f"nsdsynthetic{BETAS}" / "betas_nsdsynthetic.hdf5", synthetic, GRIDS[subject])
    _write_synthetic_design(raw, others["order"])
    return [*kept, synthetic], Table({"stimulus_id": np.array(ids)})


def _imagery_run(path: Path, subject: int, run: str, rng: np.random.Generator) -> list[str]:
    letters = {"A": "HRVLPE", "B": "WKBCDT", "C": "SZMYNF"}[run[3]]
    shown = rng.permutation(list(letters) * 8).tolist()
    number = list(further.IMAGERY_RUNS).index(run) + 1
    lines = ["SUBJECT\tRUN\tTRIAL\tCONDITION\tCUE\tTRIALONSET"]
    lines += [
        f"{subject}\t{number}\t{t + 1}\t{letter}\t{letter}\t{12 + 4 * t:.3f}"
        for t, letter in enumerate(shown)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return shown


def _write_synthetic_design(raw: Path, order: np.ndarray) -> None:
    from scipy.io import savemat

    path = raw / further.SYNTHETIC_DESIGN
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"masterordering": order[None].astype(np.float64)})


def _write_surface(raw: Path, subject: int, colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """fsaverage: big-endian float32 (vertex, 1, 1, trial) in percent, not multiplied; nsdgeneral's vertices of it."""
    import nibabel

    labels = raw / "nsddata" / "freesurfer" / "fsaverage" / "label"
    labels.mkdir(parents=True, exist_ok=True)
    folder = raw / "nsddata_betas" / "ppdata" / f"subj{subject:02d}" / "fsaverage" / BETAS
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for hemi in ("lh", "rh"):
        general = seeding.numpy_generator(0, "nsd", "synthetic", hemi).random(MESH) < 0.2
        weights = rng.standard_normal((CELLS * CELLS * 3, MESH)) / 8
        values = (_stored(colours, weights, rng) / SCALE).astype(np.float32)
        for name, data in (("nsdgeneral", general), ("streams", rng.integers(0, 3, MESH))):
            image = nibabel.MGHImage(data.astype(np.int32)[:, None, None], np.eye(4))
            nibabel.save(image, labels / f"{hemi}.{name}.mgz")
        for session in range(N_SESSIONS):
            part = values[session * PER_SESSION : (session + 1) * PER_SESSION]
            image = nibabel.MGHImage(np.ascontiguousarray(part.T)[:, None, None, :], np.eye(4))
            nibabel.save(image, folder / f"{hemi}.betas_session{session + 1:02d}.mgh")
        kept.append(values[:, general])
        image = nibabel.MGHImage(rng.random((MESH, 1, 1)).astype(np.float32), np.eye(4))
        nibabel.save(image, folder / f"{hemi}.ncsnr.mgh")
    return np.concatenate(kept, axis=1)
