"""Raider (Haxby et al. 2011, Princeton's ten): a film and seven categories, from BrainIAK's MATLAB files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, mat5, played, public
from braindec.data.assembly import Assembly, Signal
from braindec.data.catalogue import Truth
from braindec.data.damage import COPY_AGAIN
from braindec.data.region_files import region_space
from braindec.data.staging import Job
from braindec.types import Table

SUBJECTS = tuple(range(1, 11))
N_VOLUMES, T_R = 2203, 3.0
N_CATEGORIES, N_RUNS = 7, 8
GAP = 6  # volumes (18 s) of the film between its halves, as responses overlap
LENGTHS = {"movie": N_VOLUMES, "image": N_CATEGORIES * N_RUNS}
SIDES = ("lh", "rh")
N_SHARED = 4  # courses in the generated films
SLOW = np.array([0.3, 0.8, 0.8, 0.3])  # over neighbouring volumes
LABELS = "label.mat"
URLS = {
    "movie_data.mat": "https://www.dropbox.com/s/2vg143mr2gwt6dz/movie_data.mat?dl=1",
    "image_data.mat": "https://www.dropbox.com/s/l818vr6o8huatxj/image_data.mat?dl=1",
    LABELS: "https://www.dropbox.com/s/ogd26q6fro4l2d2/label.mat?dl=1",
}


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The files of BrainIAK's examples, to be got by hand: they have no published checksums. They hold all subjects."""
    where = "Get " + ", ".join(f"{name} from {url}" for name, url in URLS.items()) + "."
    return [raw / name for name in URLS], where


@public.preparing(public.VoxelChoice)
def prepare(raw: Path, subjects: public.Subjects, choice: public.VoxelChoice) -> Assembly:
    """Reads film and pictures of all ten."""
    return _content(raw, public.asked(subjects, SUBJECTS))


def synthetic(raw: str | Path, *, seed: int = 0, form: str = "subject_last") -> Truth:
    """All ten subjects on 7 voxels of the left and 5 of the right hemisphere, which share four slow responses.

    Parameters
    ----------
    raw : path
    seed : int
    form : str
        How the files hold subjects: ``"subject_last"`` (voxel, time, subject), ``"subject_first"`` (subject, voxel,
        time) or ``"cells"``, in files of one hemisphere each.
    """
    raw = Path(raw)
    raw.mkdir(parents=True, exist_ok=True)
    rng = seeding.numpy_generator(seed, "raider", "synthetic")
    x = _shared_and_own(rng, dict(zip(SIDES, (7, 5), strict=True)))
    for kind, sides in x.items():
        held = {f"{kind}_data_{side}": _formed(values, form) for side, values in sides.items()}
        if form == "cells":
            for name, values in held.items():
                savemat(raw / f"{name}.mat", {name: values})
        else:
            savemat(raw / f"{kind}_data.mat", held)
    label = np.concatenate([rng.permutation(N_CATEGORIES) + 1 for _ in range(N_RUNS)])
    savemat(raw / LABELS, {"label": label[:, None].astype(np.uint8)})
    both = {kind: np.concatenate([sides["lh"], sides["rh"]], axis=1) for kind, sides in x.items()}
    responses = {
        f"sub-{s:02d}_fmri": np.concatenate([both[kind][s - 1].T for kind in LENGTHS]).astype(np.float32)
        for s in SUBJECTS
    }
    ids = [played.stretch_id("movie", i) for i in range(N_VOLUMES)] + [
        f"category-{c}" for c in label.tolist()
    ]
    return Truth(
        responses, {key: Table({"stimulus_id": np.array(ids)}) for key in responses}, {"label": label}
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """One variable: where it is, and how it holds voxels, time and subjects."""

    path: Path
    key: str
    n_voxels: int
    subject_axis: int | None  # None: cells

    def of(self, subject: int) -> np.ndarray:
        """A subject's responses, float64 (voxel, time)."""
        held = np.asarray(mat5.load(self.path, (self.key,))[self.key])
        own = (
            held[subject - 1] if self.subject_axis is None else held.take(subject - 1, axis=self.subject_axis)
        )
        return mat5.numbers(self.path, self.key, own, (None, None))


class _Rows:
    """Both hemispheres of one subject, float32 (time, voxel) by row; read whole when first asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, parts: tuple[_Part, ...], subject: int, n: int):
        self.parts, self.subject = parts, subject
        self.shape = (n, sum(part.n_voxels for part in parts))
        self._held: np.ndarray | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if self._held is None:
            self._held = np.concatenate([part.of(self.subject) for part in self.parts]).T.astype(np.float32)
        return self._held[rows]


def _content(raw: Path, subjects: tuple[int, ...]) -> Assembly:
    parts = {kind: tuple(_part(raw, kind, side) for side in SIDES) for kind in LENGTHS}
    for part, other in zip(parts["movie"], parts["image"], strict=True):
        if part.n_voxels != other.n_voxels:
            said = f"holds {other.n_voxels} voxels as {other.key!r}, {part.path.name} {part.n_voxels}"
            raise checks.DataFileError(other.path, said, "Get both of one release.")
    label = _labels(raw / LABELS)
    space = region_space(
        {side.upper() + "VT": p.n_voxels for side, p in zip(SIDES, parts["movie"], strict=True)}
    )
    table = _table(label)
    signals = []
    for s in subjects:
        jobs = tuple(
            Job(
                f"sub-{s:02d}_{kind}", tuple(dict.fromkeys(p.path for p in own)),
                {"axes": [p.subject_axis for p in own]}, partial(_Rows, own, s, LENGTHS[kind]),
            )
            for kind, own in parts.items()
        )  # fmt: skip
        signals.append(Signal(s, table, space, "authors' units", jobs))
    return Assembly(
        name="raider",
        licence="not stated with the files; see Haxby et al. 2011",
        source="https://github.com/brainiak/brainiak (examples/funcalign); doi:10.1016/j.neuron.2011.08.026",
        signals=tuple(signals),
        ids=tuple(dict.fromkeys(table["stimulus_id"].tolist())),
        table=_stimuli(),
        splits=_splits,
        files=(raw / LABELS,),
        notes={
            "label": "category",
            "hrf_lag_s": 0.0,
            "t_r": T_R,
            "transductive": "preprocessed by the authors; voxels of ventral temporal cortex were ranked by how well "
            "the film's responses agree between subjects",
            **played.SINGLE_VOLUMES,
            "betas": {**played.SINGLE_VOLUMES["betas"], "z_scored_on": "unknown"},
            "features": {"selected_on": "all_unlabelled", "aligned_on": "none"},
        },
    )  # fmt: skip


def _part(raw: Path, kind: str, side: str) -> _Part:
    """A hemisphere's variable, from the file of both hemispheres or of its own."""
    key = f"{kind}_data_{side}"
    both, own = raw / f"{kind}_data.mat", raw / f"{key}.mat"
    path = checks.existing_file(
        both if both.is_file() or not own.is_file() else own, f"Get it: {URLS[both.name]}"
    )
    shape = mat5.shapes(path).get(key)
    if shape is None:
        raise checks.DataFileError(path, f"lacks {key!r}; it has {sorted(mat5.shapes(path))}", COPY_AGAIN)
    n_subjects, n_times = len(SUBJECTS), LENGTHS[kind]
    if len(shape) == 3 and shape[1:] == (n_times, n_subjects):
        return _Part(path, key, shape[0], 2)
    if len(shape) == 3 and (shape[0], shape[2]) == (n_subjects, n_times):
        return _Part(path, key, shape[1], 0)
    if sorted(shape) == [1, n_subjects]:
        cells = mat5.load(path, (key,))[key]
        sizes = {np.shape(cell) for cell in cells}
        size: tuple[int, ...] = sizes.pop() if len(sizes) == 1 else ()
        if len(size) == 2 and size[1] == n_times:
            return _Part(path, key, int(size[0]), None)
    found = f"holds {key!r} of shape {shape}, expected (voxel, {n_times}, {n_subjects}), "
    found += f"({n_subjects}, voxel, {n_times})"
    raise checks.DataFileError(
        path, f"{found} or {n_subjects} cells (voxel, {n_times}), alike for all", COPY_AGAIN
    )


def _labels(path: Path) -> np.ndarray:
    """Category of each picture response, 1 to 7; each once in a run."""
    label = mat5.numbers(path, "label", mat5.load(path, ("label",))["label"], (LENGTHS["image"],))
    runs = np.sort(label.reshape(N_RUNS, N_CATEGORIES), axis=1)
    if not (runs == np.arange(1, N_CATEGORIES + 1)).all():
        found = f"holds labels that are not each of 1 to {N_CATEGORIES} once in each of {N_RUNS} runs"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    return label.astype(int)


def _table(label: np.ndarray) -> Table:
    """The trials of everybody: the film's volumes, then the pictures' responses."""
    n = LENGTHS["image"]
    ids = [played.stretch_id("movie", i) for i in range(N_VOLUMES)] + [
        f"category-{c}" for c in label.tolist()
    ]
    run = ["movie"] * N_VOLUMES + [f"images-{i // N_CATEGORIES + 1}" for i in range(n)]
    return Table(
        {
            "stimulus_id": np.array(ids),
            "session": np.full(len(ids), "1"),
            "run": np.array(run),
            "repeat": np.concatenate([np.zeros(N_VOLUMES, dtype=int), np.arange(n) // N_CATEGORIES]),
            "onset_s": np.concatenate([T_R * np.arange(N_VOLUMES), np.zeros(n)]),  # of pictures: not known
            "acquisition_order": np.full(len(ids), -1),
            "exchangeability_block": np.array(run),
            "run_position": np.concatenate([np.arange(N_VOLUMES), np.arange(n) % N_CATEGORIES]),
        }
    )


def _stimuli() -> Table:
    """A row a stretch of the film, in order, and one a category, as they first appear."""
    return Table(
        {
            "medium": np.array(["movie"] * N_VOLUMES + ["images"] * N_CATEGORIES),
            "onset_s": np.concatenate([T_R * np.arange(N_VOLUMES), np.zeros(N_CATEGORIES)]),
            "length_s": np.concatenate([np.full(N_VOLUMES, T_R), np.zeros(N_CATEGORIES)]),
        }
    )


def _splits(dataset: NeuralDataset) -> list[Split]:
    """The film's halves against each other, 18 s apart; and the film against the pictures, for alignment."""
    movie = tuple(i for i in dataset.stimuli.ids if i.startswith("movie-"))
    images = tuple(i for i in dataset.stimuli.ids if not i.startswith("movie-"))
    half = len(movie) // 2
    return [
        Split("default", "stimulus", {"train": movie[:half], "test": movie[half + GAP :]}),
        Split("movie_to_images", "stimulus", {"train": movie, "test": images}),
    ]


def _shared_and_own(rng: np.random.Generator, sizes: dict[str, int]) -> dict[str, dict[str, np.ndarray]]:
    """Responses (subject, voxel, time) by kind and hemisphere: everybody mixes the same courses in an own way."""
    mixing = {side: rng.standard_normal((len(SUBJECTS), n, N_SHARED)) for side, n in sizes.items()}
    out: dict[str, dict[str, np.ndarray]] = {}
    for kind, length in LENGTHS.items():
        drawn = rng.standard_normal((N_SHARED, length + len(SLOW) - 1))
        course = np.stack(
            [np.convolve(row, SLOW, "valid") for row in drawn]
        )  # neighbouring volumes are alike
        out[kind] = {
            side: weights @ course / N_SHARED**0.5 + rng.standard_normal((*weights.shape[:2], length))
            for side, weights in mixing.items()
        }
    return out


def _formed(values: np.ndarray, form: str) -> np.ndarray:
    """(subject, voxel, time) as a file holds it."""
    checks.one_of("form", form, ("subject_last", "subject_first", "cells"))
    if form == "cells":
        cells = np.empty((len(values), 1), dtype=object)
        for i, own in enumerate(values):
            cells[i, 0] = own
        return cells
    return values.transpose(1, 2, 0) if form == "subject_last" else values
