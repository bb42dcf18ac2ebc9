"""BOLD5000: betas of either release and the presentation lists of four subjects to trials of 4,916 scenes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, figshare, image_files, public
from braindec.data.assembly import Assembly, Signal
from braindec.data.catalogue import Truth
from braindec.data.region_files import RegionRows, VolumeRows, region_space, volume_space
from braindec.data.staging import Job
from braindec.data.tables import repeats
from braindec.types import Space, Table

SUBJECTS = (1, 2, 3, 4)  # CSI1 .. CSI4
ARTICLE = 14456124  # figshare, "BOLD5000 Release 2.0"
STIMULI_URL = "https://www.dropbox.com/s/5ie18t4rjjvsl47/BOLD5000_Stimuli.zip?dl=1"
MASKS_URL = "s3://openneuro.org/ds001499/derivatives/spm"
TYPED = "CSI{s}_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR"
REGIONS = tuple(side + name for side in ("LH", "RH") for name in ("EarlyVis", "LOC", "OPA", "PPA", "RSC"))
MISNAMED = {"LHLOC": "LHLO", "RHLOC": "RHLO", "RHRSC": "RHRRSC"}  # of CSI2 and CSI3 on OpenNeuro
RELEASES = {
    "volumes": f"{TYPED}_ses-*.nii.gz",
    "regions": f"BOLD5000_GLMsingle_ROI_betas/py/{TYPED}_allses_*.npy",
    "first": "ROIs/CSI{s}/h5/CSI{s}_ROIs_TR34.h5",
}
STIMULI = Path("BOLD5000_Stimuli")
LISTS = STIMULI / "Stimuli_Presentation_Lists"
SCENES = STIMULI / "Scene_Stimuli"
REPEATED = SCENES / "repeated_stimuli_113_list.txt"
PICTURES = SCENES / "Presented_Stimuli"
N_RUNS = {1: 142, 2: 142, 3: 142, 4: 84}  # 15 sessions of 9 or 10 runs; CSI4 9 sessions
A_RUN = 37  # trials, 10 s apart
FIRST_ONSET_S, ONSET_STEP_S = 6.0, 10.0  # Chang et al. 2019, "Experimental design"
SIDE = 256  # pixels; 375 as presented
_GLMSINGLE = {  # run over all sessions at once, repeats of the 113 test pictures among them
    "hrf_chosen_on": "all_unlabelled", "noise_regressors_on": "all", "ridge_chosen_on": "all", "z_scored_on": "none",
    "overlap": "modelled",
}  # fmt: skip
_PLAIN = dict.fromkeys(_GLMSINGLE, "none") | {"overlap": "kept"}  # mean of volumes 3 and 4 of each trial
UNITS = {"volumes": "percent signal change", "regions": "percent signal change", "first": "authors' units"}


@dataclass(frozen=True)
class Choice(public.PictureChoice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    invalid : str
        ``"drop"`` (volumes hold NaN at the rim of the brain) or ``"refuse"``.
    image_side : int
        Pixels of the pictures.
    release : str, optional
        ``"volumes"`` (release 2.0, a NIfTI a session), ``"regions"`` (release 2.0, an .npy a region) or ``"first"``
        (release 1.0, an HDF5 a subject). None: the one that is there.
    """

    invalid: str = "drop"
    release: str | None = None


def fetch(raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False) -> list[Path]:
    """Downloads betas and brain masks of release 2.0 from figshare (MD5); says where the stimuli and regions are.

    Raises
    ------
    DownloadError
        If a file cannot be had; and when the stimuli, which have no published checksum, are not there.
    """
    raw, names = Path(raw), []
    for s in public.asked(subjects, SUBJECTS):
        n_sessions = 9 if s == 4 else 15
        names += [f"{TYPED.format(s=s)}_ses-{i:02d}.nii.gz" for i in range(1, n_sessions + 1)]
        names += [f"CSI{s}_brainmask.nii.gz", f"CSI{s}_imgnames.txt"]
    paths = figshare.fetch(ARTICLE, names, raw, dry_run=dry_run)
    if not dry_run and not (raw / LISTS).is_dir():
        raise checks.DownloadError(
            f"the betas are there; unpack {STIMULI_URL} into {raw} by hand (it has no published checksum), and for "
            f"regions: aws s3 sync --no-sign-request {MASKS_URL} {raw}"
        )
    return [*paths, raw / STIMULI]


@public.preparing(Choice, str(LISTS))
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> Assembly:
    """Reads betas and presentation lists; subject 1 is CSI1."""
    release = _release(raw, choice.release)
    chosen = _there(raw, release) if subjects is None else public.asked(subjects, SUBJECTS)
    return _content(raw, release, chosen, choice.image_side)


def synthetic(raw: str | Path, *, seed: int = 0, release: str = "regions") -> Truth:
    """CSI1's first session: 10 runs of 37, the 113 repeated pictures three times each and 31 pictures once.

    Parameters
    ----------
    raw : path
    seed : int
    release : str
        Whose files are written, see `prepare`.
    """
    raw = Path(raw)
    rng = seeding.numpy_generator(seed, "bold5000", "synthetic")
    names = _names(rng)
    shown = rng.permutation(np.repeat(np.arange(144), [3] * 113 + [1] * 31))
    patterns = 2 * rng.standard_normal((144, 30))
    responses = (patterns[shown] + rng.standard_normal((370, 30))).astype(np.float32)
    _write_lists(raw, names, shown)
    for i, name in enumerate(names):
        _write_picture(raw / PICTURES / _kind(name) / name, rng, i)
    table = Table({"stimulus_id": np.array([Path(names[i]).stem for i in shown])})
    if release == "regions":
        for j, region in enumerate(REGIONS):
            path = raw / "BOLD5000_GLMsingle_ROI_betas" / "py" / f"{TYPED.format(s=1)}_allses_{region}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, responses[:, 3 * j : 3 * j + 3])
    elif release == "first":
        _write_first(raw, responses)
    else:
        _write_volumes(raw, responses)
    return Truth({"sub-01_fmri": responses}, {"sub-01_fmri": table}, {"names": names})


def _content(raw: Path, release: str, subjects: tuple[int, ...], side: int) -> Assembly:
    signals: list[Signal] = []
    missing: list[str] = []
    kinds: dict[str, str] = {}
    test = _lines(raw / REPEATED)
    known = {Path(name).stem for name in test}
    if len(known) != 113:
        raise checks.DataFileError(
            raw / REPEATED, f"lists {len(known)} pictures, expected 113", "Get it again."
        )
    lists = {}
    for s in subjects:
        lists[s] = _presented(raw / LISTS / f"CSI{s}")
        table = _table(lists[s], known)
        signals.append(_signal(raw, release, s, table, missing))
        if len(lists[s]) != N_RUNS[s]:
            missing.append(
                f"sub-{s:02d}: {N_RUNS[s] - len(lists[s])} of {N_RUNS[s]} runs (presentation lists)"
            )
        kinds |= {Path(n).stem: _kind(n) for run in lists[s].values() for n in run}
    ids = tuple(sorted(kinds))
    pictures, said = public.pictures(ids, image_files.by_stem([raw / PICTURES]), raw / PICTURES, side)
    missing += said
    absent = len(known - set(ids))
    if absent:
        missing.append(f"{absent} of the 113 repeated pictures; the protocol bold5000_113 needs them all")
    files = (raw / REPEATED, *(path for own in lists.values() for path in own))
    table = Table(
        {"source": np.array([kinds[i] for i in ids]), "repeated": np.array([i in known for i in ids])}
    )
    return Assembly(
        name="bold5000",
        licence="CC0 (fMRI data); pictures: COCO's, ImageNet's and SUN's terms",
        source="https://bold5000-dataset.github.io/website; doi:10.1038/s41597-019-0052-3",
        signals=tuple(signals),
        ids=ids,
        table=table,
        splits=_splits,
        pictures=pictures,
        files=files,
        missing=tuple(missing),
        notes={
            "label": "source",
            "release": release,
            "transductive": "GLMsingle was run over all sessions, repeats of the test pictures among them"
            if release != "first"
            else "not known",
            "betas": _PLAIN if release == "first" else _GLMSINGLE,
            "features": {"selected_on": "none", "aligned_on": "none"},  # regions by localisers
        },
    )


def _signal(raw: Path, release: str, s: int, table: Table, missing: list[str]) -> Signal:
    """One subject's betas; sessions whose file is absent are left out and named."""
    jobs: list[Job]
    space: Space
    if release == "volumes":
        files = {int(p.name[-9:-7]): p for p in sorted(raw.glob(RELEASES["volumes"].format(s=s)))}
        sessions = sorted(set(table["session"].astype(int).tolist()))
        absent = [n for n in sessions if n not in files]
        if absent:
            missing.append(f"sub-{s:02d}: betas of the sessions {absent}")
        strange = sorted(set(files) - set(sessions))
        if strange:
            raise checks.DataFileError(
                files[strange[0]], "is of a session without presentation lists", "Get them."
            )
        space, mask = volume_space(raw / f"CSI{s}_brainmask.nii.gz", _region_masks(raw, s))
        jobs = []
        for n, path in files.items():
            count = int((table["session"] == str(n)).sum())
            read = partial(VolumeRows, path, mask, count)
            jobs.append(Job(f"sub-{s:02d}_ses-{n:02d}", (path,), {"n_trials": count}, read))
        table = table.take(np.isin(table["session"], [str(n) for n in files]))
    else:
        arrays = _region_arrays(raw, release, s)
        rows = RegionRows(arrays, table.n_rows)
        space = region_space(rows.sizes)
        own = tuple(dict.fromkeys(path for path, _ in arrays.values()))
        jobs = [
            Job(f"sub-{s:02d}", own, {"n_trials": table.n_rows}, partial(RegionRows, arrays, table.n_rows))
        ]
    return Signal(s, table, space, UNITS[release], tuple(jobs))


def _region_arrays(raw: Path, release: str, s: int) -> dict[str, tuple[Path, str]]:
    """File and key (none for .npy) of each region."""
    if release == "first":
        path = raw / RELEASES["first"].format(s=s)
        return {name: (path, name) for name in REGIONS}
    folder = raw / "BOLD5000_GLMsingle_ROI_betas" / "py"
    return {name: (folder / f"{TYPED.format(s=s)}_allses_{name}.npy", "") for name in REGIONS}


def _region_masks(raw: Path, s: int) -> dict[str, Path]:
    """Masks of the regions that are there, under the names they have on OpenNeuro, misspelt ones among them."""
    found: dict[str, Path] = {}
    for name in REGIONS:
        for written in (name, MISNAMED.get(name, name)):
            path = raw / f"sub-CSI{s}" / f"sub-CSI{s}_mask-{written}.nii.gz"
            if path.is_file():
                found.setdefault(name, path)
    return found


def _presented(folder: Path) -> dict[Path, list[str]]:
    """Pictures of each run, by list, in the order of acquisition; ``rep_`` before a repeated one is taken off."""
    checks.existing_folder(folder, f"Unpack {STIMULI_URL} there.")
    runs = {
        path: [n.removeprefix("rep_") for n in _lines(path)]
        for path in sorted(folder.glob("CSI*_sess*/*.txt"))
    }
    if not runs:
        raise FileNotFoundError(f"{folder} holds no CSI*_sess*/*.txt. Unpack {STIMULI_URL} again.")
    for path, names in runs.items():
        if len(names) != A_RUN:
            raise checks.DataFileError(
                path, f"lists {len(names)} pictures, expected {A_RUN}", "Get it again."
            )
    return runs


def _table(runs: dict[Path, list[str]], repeated: set[str]) -> Table:
    columns: dict[str, list[Any]] = {
        k: [] for k in ("stimulus_id", "session", "run", "onset_s", "run_position")
    }
    for path, names in runs.items():
        numbers = re.search(r"sess(\d+)_run(\d+)$", path.stem)
        if numbers is None:
            raise checks.DataFileError(path, "is not named CSI#_sess##_run##.txt", "Get the lists again.")
        session, run = (str(int(n)) for n in numbers.groups())
        for position, name in enumerate(names):
            values = (
                Path(name).stem,
                session,
                f"{session}-{run}",
                FIRST_ONSET_S + ONSET_STEP_S * position,
                position,
            )
            for key, value in zip(columns, values, strict=True):
                columns[key].append(value)
    ids = columns["stimulus_id"]
    return Table(
        columns
        | {
            "repeat": repeats(ids),
            "acquisition_order": np.arange(len(ids)),
            "exchangeability_block": columns["run"],
            "repeated": np.array([i in repeated for i in ids]),
        }
    )


def _splits(dataset: NeuralDataset) -> list[Split]:
    """Pictures shown once against the 113 that were shown three or four times."""
    repeated = checks.of_type("table", dataset.stimuli.table, Table)["repeated"]
    shown = set(dataset.stimulus_ids)
    parts = {
        name: tuple(
            i for i, r in zip(dataset.stimuli.ids, repeated, strict=True) if i in shown and bool(r) == wanted
        )
        for name, wanted in (("train", False), ("test", True))
    }
    return [Split("default", "stimulus", parts)]


def _release(raw: Path, release: str | None) -> str:
    there = [name for name in RELEASES if _there(raw, name)]
    if release is not None:
        checks.one_of("release", release, tuple(RELEASES))
        return checks.one_of("release (by the files that are there)", release, there)
    if not there:
        patterns = ", ".join(p.format(s="*") for p in RELEASES.values())
        raise FileNotFoundError(
            f"{raw} holds no betas ({patterns}). Get them with: braindec prepare bold5000 --fetch."
        )
    if len(there) > 1:
        raise checks.ConfigError(f"{raw} holds the betas {there}; choose one: --set release={there[0]}.")
    return there[0]


def _there(raw: Path, release: str) -> tuple[int, ...]:
    return tuple(s for s in SUBJECTS if any(raw.glob(RELEASES[release].format(s=s))))


def _kind(name: str) -> str:
    """COCO, ImageNet or Scene: the folder of a picture, by its name."""
    if name.startswith("COCO_"):
        return "COCO"
    return "ImageNet" if re.match(r"n\d{8}_", name) else "Scene"


def _lines(path: Path) -> list[str]:
    checks.existing_file(path, f"Unpack {STIMULI_URL} there.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise checks.DataFileError(path, "is no text", "Get it again.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _names(rng: np.random.Generator) -> list[str]:
    """144 file names of the three kinds, the first 113 of them repeated."""
    numbers = rng.permutation(500_000)[:144]
    makers = (
        lambda n: f"COCO_train2014_{n:012d}.jpg",
        lambda n: f"n{1_440_000 + n:08d}_{n % 9000 + 1}.JPEG",
        lambda n: f"airplanecabin{n}.jpg",
    )
    return [makers[i % 3](int(n)) for i, n in enumerate(numbers)]


def _write_lists(raw: Path, names: list[str], shown: np.ndarray) -> None:
    folder = raw / LISTS / "CSI1" / "CSI1_sess01"
    folder.mkdir(parents=True, exist_ok=True)
    for run in range(10):
        lines = [("rep_" if i < 113 else "") + names[i] for i in shown[A_RUN * run : A_RUN * (run + 1)]]
        (folder / f"CSI1_sess01_run{run + 1:02d}.txt").write_text("\n".join(lines) + "\n")
    (raw / REPEATED).parent.mkdir(parents=True, exist_ok=True)
    (raw / REPEATED).write_text("\n".join(names[:113]) + "\n")


def _write_picture(path: Path, rng: np.random.Generator, i: int) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (int(rng.integers(256)), int(rng.integers(256)), i)
    Image.new("RGB", (24, 24), colour).save(path, "JPEG", quality=95)


def _write_first(raw: Path, responses: np.ndarray) -> None:
    import h5py

    path = raw / RELEASES["first"].format(s=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for j, region in enumerate(REGIONS):
            file[region] = responses[:, 3 * j : 3 * j + 3].astype(np.float64)


def _write_volumes(raw: Path, responses: np.ndarray) -> None:
    """A session's volumes (x, y, z, trial), its brain mask with a voxel that is NaN, and masks of the regions."""
    import nibabel

    brain = np.zeros((5, 4, 3), dtype=bool)
    brain[1:4, 1:4] = True  # 27 voxels
    brain.ravel()[[0, 1, 2, 5]] = True
    place = np.argwhere(brain)  # 31 voxels, the last of them NaN
    data = np.zeros((*brain.shape, len(responses)), dtype=np.float32)
    data[tuple(place[:30].T)] = responses.T
    data[tuple(place[30])] = np.nan
    affine = np.diag([2.0, 2.0, 2.0, 1.0])

    def save(path: Path, values: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(values, affine), path)

    save(raw / f"{TYPED.format(s=1)}_ses-01.nii.gz", data)
    save(raw / "CSI1_brainmask.nii.gz", brain.astype(np.uint8))
    for j, region in enumerate(REGIONS):
        mask = np.zeros(brain.shape, dtype=np.uint8)
        mask[tuple(place[3 * j : 3 * j + 3].T)] = 1
        save(raw / "sub-CSI1" / f"sub-CSI1_mask-{MISNAMED.get(region, region)}.nii.gz", mask)
