"""fMRI-3D (MinD-3D): fMRI-Shape and fMRI-Objaverse, surface images of people who watch turning 3-D objects."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, played, public, safe_npy, solid_miniature
from braindec.data.assembly import Assembly, Signal
from braindec.data.catalogue import Truth
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.staging import Job
from braindec.types import Table, VoxelSpace

SIDE = 256  # pixels of a flattened visual cortex
NAMES = {  # ShapeNet's core categories of the training and test lists
    "02691156": "airplane", "02828884": "bench", "02933112": "cabinet", "02958343": "car", "03001627": "chair",
    "03211117": "display", "03636649": "lamp", "03691459": "loudspeaker", "04090263": "rifle", "04256520": "sofa",
    "04379243": "table", "04401088": "telephone", "04530566": "watercraft",
}  # fmt: skip
CAPTIONS = "Object_caption_Cap3D.csv"


@dataclass(frozen=True)
class Part:
    """What tells the two datasets apart."""

    folder: str
    subjects: tuple[int, ...]
    n_frames: int
    lists: dict[str, str]  # by part of the split


PARTS = {
    "shape": Part(
        "fMRI-Shape", tuple(range(1, 15)), 10, {"train": "core_train_list.txt", "test": "core_test_list.txt"}
    ),
    "objaverse": Part(
        "fMRI-Objaverse", (1, 6, 7, 8, 15), 8, {"train": "train_list.txt", "test": "test_list.txt"}
    ),
}


@dataclass(frozen=True)
class Choice(public.VoxelChoice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    invalid : str
        ``"drop"`` (pixels outside of the visual cortex are 0 throughout) or ``"refuse"``.
    part : str, optional
        ``"shape"`` or ``"objaverse"``; None: the one that is there.
    frames : str
        ``"mean"``: a trial is an object, averaged over its frames; ``"joined"``: an object, its frames side by side;
        ``"each"``: a trial is a frame.
    """

    part: str | None = None
    frames: str = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("part", self.part, (None, *PARTS))
        checks.one_of("frames", self.frames, ("mean", "joined", "each"))


def fetch(
    raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False, part: str = "shape"
) -> list[Path]:
    """The lists and each subject's folder; what is absent has to be got from Hugging Face by hand."""
    about = PARTS[checks.one_of("part", part, list(PARTS))]
    home = _home(Path(raw), part) or Path(raw) / about.folder
    chosen = public.asked(subjects, about.subjects)
    paths = [_list(home, name) or home / "annotations" / name for name in about.lists.values()]
    paths += [_folder(home, s) or home / f"sub-{s:04d}" / "npy_data" for s in chosen]
    where = (
        f"hf download Fudan-fMRI/{about.folder} --repo-type dataset --include 'sub-0001/npy_data/*' --include '*.txt' "
        f"--include '*.csv' --local-dir {home}"
    )
    return public.all_there(paths, where, dry_run)


@public.preparing(Choice)
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> Assembly:
    """Reads one array an object; `raw` is the folder of one of the two, or holds fMRI-Shape or fMRI-Objaverse."""
    name, home = _chosen_part(raw, choice.part)
    folders = {s: _folder(home, s) for s in PARTS[name].subjects}
    chosen, missing = public.there(subjects, folders, home, "arrays (sub-000#/**/*.npy) of subject {}")
    return _content(name, home, chosen, choice.frames, missing)


def synthetic(
    raw: str | Path, *, seed: int = 0, part: str = "shape", subjects: Iterable[int] = (1,), n_objects: int = 6,
    n_pixels: int = 60, solids: bool = False, side: int = 24, n_others: int = 0, noise: float = 1.0,
) -> Truth:  # fmt: skip
    """A few objects: arrays (frame, 256, 256) of float32 that are 0 outside of some pixels, lists and captions.

    Parameters
    ----------
    raw : path
    seed : int
    part : str
        ``"shape"`` or ``"objaverse"``.
    subjects : iterable of int
    n_objects : int
        The last third is in the test list.
    n_pixels : int
        That vary.
    solids : bool
        Responses are to views of objects that turn, not noise, and the objects lie in ``raw/solids`` as grids.
    side : int
        Voxels of these grids.
    n_others : int
        Further objects, in ``raw/other_solids``: nobody was shown these.
    noise : float
        Of a frame, see `solid_miniature.responses`.

    Returns
    -------
    Truth
        The mean over frames at these pixels, an object a row. `details["frames"]` by subject: (object, frame, pixel).
    """
    about = PARTS[checks.one_of("part", part, list(PARTS))]
    home = Path(raw) / about.folder
    rng = seeding.numpy_generator(seed, "fmri_3d", part)
    inside = np.sort(rng.choice(SIDE * SIDE, n_pixels, replace=False))
    synsets = [c for c, name in NAMES.items() if name in solid_miniature.KINDS] if solids else list(NAMES)[:4]
    objects = sorted(
        (synsets[i % len(synsets)], f"{seed:02x}{int(rng.integers(2**40)):010x}") for i in range(n_objects)
    )
    grids = None
    if solids:  # in no order of categories, so that all are in both lists
        objects = [objects[i] for i in rng.permutation(n_objects)]
        grids = _write_solids(Path(raw), objects, synsets, side, n_others, rng)
    responses, tables, frames = {}, {}, {}
    for s in subjects:
        if grids is None:
            x = rng.standard_normal((n_objects, about.n_frames, n_pixels)).astype(np.float32)
        else:
            x = solid_miniature.responses(grids, about.n_frames, n_pixels, rng, noise=noise)
        for (category, uid), values in zip(objects, x, strict=True):
            array = np.zeros((about.n_frames, SIDE * SIDE), dtype=np.float32)
            array[:, inside] = values
            folder = home / f"sub-{s:04d}" / "npy_data" / (category if part == "shape" else "")
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{uid}.npy", array.reshape(-1, SIDE, SIDE))
        order = np.argsort([uid for _, uid in objects], kind="stable")
        key = f"sub-{s:02d}_fmri"
        responses[key] = x[order].astype(np.float64).mean(1)
        tables[key] = Table({"stimulus_id": np.array([objects[i][1] for i in order])})
        frames[s] = x[order]
    _write_lists(home, part, objects)
    return Truth(responses, tables, {"frames": frames, "objects": objects, "inside": inside})


class _Objects:
    """Arrays (frame, 256, 256), a file an object, as float32 (trial, feature) by row; a file is read at a time."""

    dtype = np.dtype(np.float32)

    def __init__(self, paths: Sequence[Path], n_frames: int, frames: str):
        self.paths, self.n_frames, self.frames = tuple(paths), n_frames, frames
        n, width = (n_frames, 1) if frames == "each" else (1, n_frames if frames == "joined" else 1)
        self.shape = (len(self.paths) * n, SIDE * SIDE * width)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        wanted = np.arange(len(self))[rows]
        out = np.empty((len(wanted), self.shape[1]), dtype=np.float32)
        objects, frame = np.divmod(wanted, self.n_frames) if self.frames == "each" else (wanted, wanted)
        for i in np.unique(objects).tolist():
            places = np.flatnonzero(objects == i)
            array = _array(self.paths[i], self.n_frames).reshape(self.n_frames, -1)
            with np.errstate(over="ignore", invalid="ignore"):  # infinities are counted later
                if self.frames == "mean":
                    out[places] = array.mean(0, dtype=np.float64)
                else:
                    out[places] = array[frame[places]] if self.frames == "each" else array.T.ravel()
        return out


def _content(
    name: str, home: Path, folders: dict[int, Path], frames: str, absent: tuple[str, ...]
) -> Assembly:
    about = PARTS[name]
    lists = {part: path for part, file in about.lists.items() if (path := _list(home, file)) is not None}
    listed = {part: _listed(path) for part, path in lists.items()}
    unlisted = [file for part, file in about.lists.items() if part not in lists]
    missing = [*absent, *(f"the list {file}; without it nothing says what is tested" for file in unlisted)]
    category = {uid: c for objects in listed.values() for uid, c in objects.items()}
    signals = []
    for s, folder in folders.items():
        paths = {path.stem: path for path in sorted(folder.glob("**/*.npy"), key=lambda p: p.stem)}
        checks.unique(f"objects of subject {s}", [p.stem for p in folder.glob("**/*.npy")])
        for uid, path in paths.items():
            _array(path, about.n_frames)
            category.setdefault(uid, path.parent.name if path.parent != folder else "unknown")
        lacking = [uid for objects in listed.values() for uid in objects if uid not in paths]
        n_listed = sum(len(objects) for objects in listed.values())
        missing += [f"sub-{s:02d}: {len(lacking)} of {n_listed} listed objects"] if lacking else []
        signals.append(_signal(s, list(paths.values()), about.n_frames, frames))
    ids = tuple(
        sorted({uid for signal in signals for uid in np.unique(signal.table["stimulus_id"]).tolist()})
    )
    captions = home / CAPTIONS
    return Assembly(
        name="fmri_3d",
        licence="Apache-2.0 (as Hugging Face lists it); objects: ShapeNet's and Objaverse's terms",
        source=f"https://huggingface.co/datasets/Fudan-fMRI/{about.folder}; arXiv:2409.11315",
        signals=tuple(signals),
        ids=ids,
        table=_stimuli(name, ids, category, captions),
        splits=partial(_splits, listed),
        files=(*lists.values(), *((captions,) if captions.is_file() else ())),
        missing=tuple(missing),
        notes={
            "label": "category",
            "part": name,
            "frames": frames,
            "transductive": "frames were standardised by the authors, over all runs of a subject",
            **played.SINGLE_VOLUMES,
            "betas": {**played.SINGLE_VOLUMES["betas"], "z_scored_on": "all_unlabelled"},
            "space": "pixels of a flattened visual cortex, (row, column, 1), or of each frame with frames=joined, "
            "(row, column, frame); the affine has no meaning",
        },
    )  # fmt: skip


def _signal(s: int, paths: list[Path], n_frames: int, frames: str) -> Signal:
    if not paths:
        raise FileNotFoundError(f"there are no arrays of sub-{s:04d}. See the card.")
    each = frames == "each"
    uid = np.repeat([path.stem for path in paths], n_frames if each else 1)
    frame = np.tile(np.arange(n_frames), len(paths)) if each else np.full(len(uid), -1)
    table = Table(
        {
            "stimulus_id": uid,
            "session": np.full(len(uid), "1"),  # runs and sessions are not in the files
            "run": np.full(len(uid), "1"),
            "repeat": np.zeros(len(uid), dtype=int),
            "onset_s": np.zeros(len(uid)),
            "acquisition_order": np.full(len(uid), -1),
            "exchangeability_block": np.full(len(uid), "1"),
            "frame": frame,  # -1: all of them
        }
    )
    depth = n_frames if frames == "joined" else 1
    space = VoxelSpace(np.ones((SIDE, SIDE, depth), dtype=bool), np.eye(4), {})
    read = partial(_Objects, paths, n_frames, frames)
    job = Job(f"sub-{s:02d}", tuple(paths), {"frames": frames, "n_frames": n_frames}, read)
    return Signal(s, table, space, "z-score", (job,))


def _array(path: Path, n_frames: int) -> np.ndarray:
    """An object's frames, mapped from the file."""
    array = safe_npy.load(path)
    if not isinstance(array, np.ndarray) or array.shape != (n_frames, SIDE, SIDE) or array.dtype.kind != "f":
        found = f"holds {getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}"
        way_out = "Check that --set part= is right, or get the file again."
        raise checks.DataFileError(path, f"{found}, expected numbers ({n_frames}, {SIDE}, {SIDE})", way_out)
    return array


def _listed(path: Path) -> dict[str, str]:
    """Category by object of a list, a line ``<category>/<object>`` or ``<category> <object>`` each."""
    with reading(path):
        lines = [
            line.replace("/", " ").split()
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.strip()
        ]
    if not lines or any(len(line) < 2 for line in lines):
        raise checks.DataFileError(path, "is no list of categories and objects", COPY_AGAIN)
    return {line[-1].split(".")[0]: line[-2] for line in lines}


def _stimuli(name: str, ids: tuple[str, ...], category: dict[str, str], captions: Path) -> Table:
    """Category (ShapeNet's by its name), caption where there is one, and what was shown."""
    said: dict[str, str] = {}
    if captions.is_file():
        with reading(captions), captions.open(encoding="utf-8-sig", newline="") as file:
            said = {row[0].split(".")[0]: row[-1].strip() for row in csv.reader(file) if len(row) > 1}
    kinds = [category[uid] for uid in ids]
    shown = [
        f"stimuli/{k}/{uid}.mp4" if name == "shape" else f"stimuli/{uid}"
        for k, uid in zip(kinds, ids, strict=True)
    ]
    return Table(
        {
            "category": np.array([NAMES.get(k, k) for k in kinds]),
            "synset": np.array(kinds),
            "text": np.array([said.get(uid, "") for uid in ids], dtype=str),
            "shown": np.array(shown),
        }
    )


def _splits(listed: dict[str, dict[str, str]], dataset: NeuralDataset) -> list[Split]:
    """The authors' lists of training and test objects; others are in neither part."""
    seen = set(dataset.stimulus_ids)
    parts = {part: tuple(uid for uid in objects if uid in seen) for part, objects in listed.items()}
    whole = len(parts) == 2 and all(parts.values())
    return [Split("default", "stimulus", parts)] if whole else []


def _chosen_part(raw: Path, part: str | None) -> tuple[str, Path]:
    """The part to prepare, and its folder."""
    found = {name: home for name in PARTS if (home := _home(raw, name)) is not None}
    if part is None and len(found) > 1:
        raise checks.ConfigError(f"{raw} holds both parts; choose one: --set part=shape or part=objaverse.")
    name = next(iter(found), "") if part is None else part
    if name not in found:
        raise FileNotFoundError(
            f"{raw} holds no {PARTS[part or 'shape'].folder} (nor sub-000#). See the card."
        )
    return name, found[name]


def _home(raw: Path, part: str) -> Path | None:
    """Where a part lies: a folder of its name, or `raw` itself if its first array has that part's frames."""
    below = raw / PARTS[part].folder
    if below.is_dir():
        return below
    first = next(iter(raw.glob("sub-*/**/*.npy")), None)
    nested = first is not None and first.parent.name not in ("npy_data", first.relative_to(raw).parts[0])
    return raw if first is not None and nested == (part == "shape") else None


def _folder(home: Path, s: int) -> Path | None:
    places = (home / f"sub-{s:04d}" / "npy_data", home / f"sub-{s:04d}")
    return next((p for p in places if p.is_dir()), None)


def _list(home: Path, name: str) -> Path | None:
    return next((p / name for p in (home / "annotations", home) if (p / name).is_file()), None)


def _write_solids(
    raw: Path, objects: list[tuple[str, str]], synsets: list[str], side: int, n_others: int, rng: np.random.Generator
) -> np.ndarray:  # fmt: skip
    """Grids of the objects, and of others, in folders by category; the first ones are returned."""
    others = [(synsets[i % len(synsets)], f"other{i:05d}") for i in range(n_others)]
    for folder, some in (("solids", objects), ("other_solids", others)):
        made = [solid_miniature.draw(NAMES[c], side, rng) for c, _ in some]
        for (c, uid), grid in zip(some, made, strict=True):
            (raw / folder / c).mkdir(parents=True, exist_ok=True)
            np.save(raw / folder / c / f"{uid}.npy", grid)
        if folder == "solids":
            grids = np.stack(made)
    return grids


def _write_lists(home: Path, part: str, objects: list[tuple[str, str]]) -> None:
    (home / "annotations").mkdir(exist_ok=True)
    n = len(objects) - len(objects) // 3
    for name, own in (("train", objects[:n]), ("test", objects[n:])):
        lines = [f"{c}/{uid}" if part == "shape" else f"{c} {uid}.glb" for c, uid in own]
        (home / "annotations" / PARTS[part].lists[name]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    if part == "objaverse":
        with (home / CAPTIONS).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([uid, f"a turning {c}, in grey"] for c, uid in objects)
