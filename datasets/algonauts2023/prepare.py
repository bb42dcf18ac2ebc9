"""Algonauts 2023: NSD's averaged surface responses in .npy files, their masks and pictures."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.data import image_files, layout, safe_npy, staging
from braindec.data.catalogue import Counts, Truth, counts
from braindec.data.splits import Split
from braindec.types import Table, Trials, VertexSpace

HERE = Path(__file__).resolve().parent
N_TRAINING = {1: 9841, 2: 9841, 3: 9082, 4: 8779, 5: 9841, 6: 9082, 7: 9841, 8: 8779}
LICENCE = "NSD terms and conditions (signed agreement; no redistribution)"
SOURCE = "algonauts.csail.mit.edu/2023; Gifford et al. 2023, arXiv:2301.03198"
HEMISPHERES = ("lh", "rh")
NAME = re.compile(r"(?:train|test)-(\d{4})_nsd-(\d{5})\.png")
BATCH, HELD_OUT = 64, 0.1


def fetch(raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False) -> list[Path]:
    """Says where the files are to be had: after a form, which no program may fill in. Downloads nothing."""
    wanted = [checks.one_of("subjects", s, list(N_TRAINING)) for s in (subjects or N_TRAINING)]
    said = (
        "algonauts2023: sign NSD's terms (https://naturalscenesdataset.org) and the challenge's form "
        "(http://algonauts.csail.mit.edu/2023/challenge.html); unpack the archives it names so that "
        f"{Path(raw) / 'subj01' / 'training_split'} is there. About 3.6 GB a subject."
    )
    if not dry_run:
        raise checks.DownloadError(said)
    print(said)
    return [Path(raw) / f"subj{s:02d}" for s in wanted]


def synthetic(raw: str | Path, *, seed: int = 0) -> Truth:
    """Miniature files of two subjects: a response is linear in a picture's colours, plus noise.

    Returns
    -------
    Truth
        Responses and tables that `prepare` should give.
    """
    made: Truth = runpy.run_path(str(HERE / "_synthetic.py"))["write"](Path(raw), seed)
    return made


def prepare(
    raw: str | Path, out: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False, n_jobs: int = 1,
    image_side: int = 256,
) -> Counts:  # fmt: skip
    """Reads the raw files and writes the prepared dataset.

    Parameters
    ----------
    raw, out : path
    subjects : iterable of int, optional
        None prepares all that are there.
    dry_run : bool
        Says what would be read and written, and what is missing.
    n_jobs : int
        Subjects read at once.
    image_side : int
        Pixels; pictures are resized (PIL's bicubic filter, antialiased).

    Raises
    ------
    DataFileError
        If files are damaged or contradict each other; `out` is then as it was.
    """
    raw, out = checks.existing_folder(raw, "Point --raw at the folder with subj01, subj02, ..."), Path(out)
    checks.at_least("n_jobs", n_jobs, 1)
    checks.in_range("image_side", image_side, 16, 425, unit="pixels")
    chosen = _chosen(raw, subjects)
    spaces = {s: _space(raw / f"subj{s:02d}" / "roi_masks") for s in chosen}
    pictures = {s: _named(raw / f"subj{s:02d}" / "training_split" / "training_images") for s in chosen}
    shapes = {s: Halves(_responses(raw, s)).shape for s in chosen}
    for s in chosen:
        _check(raw, s, shapes[s], spaces[s], len(pictures[s]))
    paths = {f"nsd-{nsd_id:05d}": path for s in chosen for nsd_id, _, path in pictures[s]}
    made = Counts(
        {f"sub-{s:02d}_fmri": len(pictures[s]) for s in chosen}, len(paths), _missing(chosen, pictures),
        _plan(shapes, len(paths), image_side),
    )  # fmt: skip
    if dry_run:
        return made
    files = {
        s: (*_responses(raw, s), *sorted((raw / f"subj{s:02d}" / "roi_masks").glob("*.npy"))) for s in chosen
    }
    jobs = [staging.Job(f"sub-{s:02d}", files[s], {}, partial(Halves, _responses(raw, s))) for s in chosen]
    staged = staging.stage(out, jobs, n_jobs)
    whole = staging.folder_of(out) / "whole"
    ids = sorted(paths)
    table = Table({"nsd_id": np.array([int(i[4:]) for i in ids])})
    layout.write_stimuli(whole, ids, kind="image", images=_read(paths, ids, image_side), table=table)
    recordings: list[Path] = []
    hashes: dict[str, str] = {}
    for s in chosen:
        rows = staging.Staged([staged[f"sub-{s:02d}"]])
        hashes |= rows.raw_files
        _check_finite(rows, files[s])
        trials = Trials(rows, _table(pictures[s]), spaces[s], "SD of a session, mean over repeats", s, "fmri")
        recordings.append(layout.write_trials(whole, trials))
    layout.write_manifest(
        whole, name="algonauts2023", licence=LICENCE, source=SOURCE, recordings=recordings,
        splits={"default": _split(ids)}, missing=list(made.missing),
        unanswered={f"sub-{s:02d}_fmri": _unanswered(raw, s) for s in chosen},
        raw_files={str(Path(p).relative_to(raw)): sha for p, sha in sorted(hashes.items())},
        betas={"hrf_chosen_on": "each_session", "noise_regressors_on": "all", "ridge_chosen_on": "all",
               "z_scored_on": "each_session", "overlap": "modelled"},
        features={"selected_on": "all_unlabelled", "aligned_on": "none"},
    )  # fmt: skip
    staging.finish(out, whole)
    return counts(out)


class Halves:
    """Responses of both hemispheres by row, left first: float32 (n_images, n_vertices)."""

    def __init__(self, paths: tuple[Path, ...]):
        self._halves = [_half(path) for path in paths]
        if len(self._halves[0]) != len(self._halves[1]):
            found = f"holds {len(self._halves[1])} images, expected {len(self._halves[0])} as in the left hemisphere"
            raise checks.DataFileError(paths[1], found, "Get both hemispheres of this subject again.")
        self.shape = (len(self._halves[0]), sum(half.shape[1] for half in self._halves))

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.concatenate([np.asarray(half[rows], dtype=np.float32) for half in self._halves], axis=1)


def _half(path: Path) -> np.ndarray:
    held = safe_npy.load(path)
    if not isinstance(held, np.ndarray) or held.dtype != np.float32 or held.ndim != 2:
        found = f"holds {getattr(held, 'dtype', type(held).__name__)} {getattr(held, 'shape', '')}"
        raise checks.DataFileError(path, f"{found}, expected float32 (image, vertex)", "Get the file again.")
    return held


def _chosen(raw: Path, subjects: Iterable[int] | None) -> tuple[int, ...]:
    there = sorted(int(path.parent.name[4:]) for path in raw.glob("subj[0-9][0-9]/training_split"))
    if not there:
        raise FileNotFoundError(
            f"{raw} holds no subjXX/training_split. Point --raw at the folder with subj01, subj02, ..."
        )
    chosen = tuple(
        there if subjects is None else (checks.one_of("subjects", s, list(N_TRAINING)) for s in subjects)
    )
    lacking = sorted(set(chosen) - set(there))
    if lacking:
        raise FileNotFoundError(
            f"{raw} holds subjects {there}, not {lacking}. Get theirs, or leave them out."
        )
    return chosen


def _responses(raw: Path, subject: int) -> tuple[Path, ...]:
    folder = raw / f"subj{subject:02d}" / "training_split" / "training_fmri"
    return tuple(folder / f"{hemi}_training_fmri.npy" for hemi in HEMISPHERES)


def _named(folder: Path) -> list[tuple[int, int, Path]]:
    """0-based NSD id, 1-based number and path of every picture of a folder, in the order of their numbers."""
    checks.existing_folder(folder, "Get the whole archive of this subject.")
    found = sorted((int(m[1]), int(m[2]), p) for p in folder.glob("*.png") if (m := NAME.fullmatch(p.name)))
    numbers = [number for number, _, _ in found]
    if numbers != list(range(1, len(found) + 1)):
        gap = next((i for i, n in enumerate(numbers, start=1) if i != n), 1)
        raise checks.DataFileError(
            folder, f"lacks the picture with number {gap:04d}", "Get the whole archive again."
        )
    return [(nsd_id, number, path) for number, nsd_id, path in found]


def _space(folder: Path) -> VertexSpace:
    """The challenge's vertices on fsaverage, and their regions."""
    kept = []
    for hemi in HEMISPHERES:
        values = _mask(folder / f"{hemi}.all-vertices_fsaverage_space.npy")
        kept.append(np.flatnonzero(values > 0))
    regions: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("mapping_*.npy")):
        name = path.stem.removeprefix("mapping_")
        words = safe_npy.load(path)
        if not isinstance(words, dict):
            raise checks.DataFileError(
                path, f"holds {type(words).__name__}, expected a dictionary", "Get it again."
            )
        halves = [folder / f"{hemi}.{name}_challenge_space.npy" for hemi in HEMISPHERES]
        maps = [_mask(half) for half in halves]
        for half, values, vertices in zip(halves, maps, kept, strict=True):
            if len(values) != len(vertices):
                found = f"holds {len(values)} vertices, expected {len(vertices)}"
                raise checks.DataFileError(half, found, "Get the masks of this subject again.")
        labels = np.concatenate(maps)
        regions |= {f"{name}-{word}": labels == int(k) for k, word in words.items() if int(k) > 0}
    return VertexSpace("fsaverage", kept[0], kept[1], {n: rows for n, rows in regions.items() if rows.any()})


def _mask(path: Path) -> np.ndarray:
    values = safe_npy.load(checks.existing_file(path, "Get roi_masks of this subject."))
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        raise checks.DataFileError(path, "does not hold one number a vertex", "Get the file again.")
    return values


def _check(raw: Path, subject: int, shape: tuple[int, ...], space: VertexSpace, n_pictures: int) -> None:
    expected = (n_pictures, space.n_features)
    if shape != expected:
        found = (
            f"and its right twin hold {shape}, expected {expected} (training images, vertices of roi_masks)"
        )
        way_out = "Check that pictures, responses and masks are of one subject, and complete."
        raise checks.DataFileError(_responses(raw, subject)[0], found, way_out)


def _check_finite(rows: staging.Staged, files: tuple[Path, ...]) -> None:
    nan, constant = (int((rows.flags & f).any(0).sum()) for f in (staging.NOT_FINITE, staging.CONSTANT))
    if nan:
        found = f"and its right twin hold {nan} vertices with NaN ({constant} are constant)"
        raise checks.DataFileError(files[0], found, "Get the file again.")


def _table(pictures: list[tuple[int, int, Path]]) -> Table:
    n = len(pictures)
    return Table(
        {
            "stimulus_id": np.array([f"nsd-{nsd_id:05d}" for nsd_id, _, _ in pictures]),
            "session": np.full(n, "1"),
            "run": np.full(n, "1"),
            "repeat": np.zeros(n, dtype=np.int64),
            "onset_s": np.zeros(n),
            "acquisition_order": np.full(n, -1),  # not in the files
            "exchangeability_block": np.full(n, "1"),
            "challenge_index": np.array([number for _, number, _ in pictures]),
        }
    )


def _read(paths: dict[str, Path], ids: list[str], side: int) -> Iterator[np.ndarray]:
    from PIL import Image

    for start in range(0, len(ids), BATCH):
        batch = []
        for name in ids[start : start + BATCH]:
            with image_files.opened(paths[name]) as image:
                picture = image.convert("RGB")
                same = picture.size == (side, side)
                batch.append(
                    np.asarray(picture if same else picture.resize((side, side), Image.Resampling.BICUBIC))
                )
        yield np.stack(batch)


def _unanswered(raw: Path, subject: int) -> list[str]:
    """Ids of the challenge's test images, in its order; none where they are not there."""
    folder = raw / f"subj{subject:02d}" / "test_split" / "test_images"
    return [f"nsd-{nsd_id:05d}" for nsd_id, _, _ in _named(folder)] if folder.is_dir() else []


def _split(ids: list[str]) -> Split:
    order = seeding.numpy_generator(0, "algonauts2023", "default").permutation(ids).tolist()
    n_test = max(1, round(HELD_OUT * len(ids)))
    return Split(
        "default", "stimulus", {"train": tuple(sorted(order[n_test:])), "test": tuple(sorted(order[:n_test]))}
    )


def _missing(chosen: tuple[int, ...], pictures: dict[int, list[Any]]) -> tuple[str, ...]:
    lacking = sorted(set(N_TRAINING) - set(chosen))
    few = [f"subject {s}: {N_TRAINING[s] - len(pictures[s])} of {N_TRAINING[s]} training images" for s in chosen
           if len(pictures[s]) < N_TRAINING[s]]  # fmt: skip
    return ((f"subjects {lacking} of 8",) if lacking else ()) + tuple(few)


def _plan(shapes: Mapping[int, tuple[int, ...]], n_pictures: int, side: int) -> tuple[str, ...]:
    size = sum(4 * n * v for n, v in shapes.values()) / 1e9
    return (
        f"reads and writes {size:.2f} GB of responses (twice while at work)",
        f"{n_pictures} pictures of {side} x {side}: writes {n_pictures * side * side * 3 / 1e9:.2f} GB",
    )
