"""Generic Object Decoding: bdpy files of five subjects to trials of seen and imagined objects."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, bdata, figshare, public
from braindec.data.assembly import Assembly
from braindec.data.bdata_trials import Experiment, assembled, signal, write_bdata
from braindec.data.catalogue import Truth
from braindec.types import Table

SUBJECTS = (1, 2, 3, 4, 5)
SOURCE = "https://figshare.com/articles/dataset/Generic_Object_Decoding/7387130; doi:10.1038/ncomms15037"
ARTICLE = 7387130  # figshare, "Generic Object Decoding"
EXPERIMENTS = {1: "training", 2: "test", 3: "imagery"}  # DataType
LABELS = ("stimulus_id", "Label")  # now and in the first release
N_TRIALS = {"training": 1200, "test": 1750, "imagery": 500}
N_REPEATS = {"training": 1, "test": 35, "imagery": 10}
VISUAL = {
    1: 3444,
    2: 4979,
    3: 5355,
    4: 4656,
    5: 6237,
}  # voxels; github.com/KamitaniLab/DeepImageReconstruction, issue 7
SIDE = 256  # pixels; 500 in the stimulus set that the authors share
UNITS = "share of the run's mean (authors')"
REGIONS = ("V1", "V2", "V3", "V4", "LOC", "FFA", "PPA", "LVC", "HVC", "VC")


def fetch(raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False) -> list[Path]:
    """Downloads Subject1.h5 to Subject5.h5 from figshare, verified by its MD5; the pictures are on request only."""
    return figshare.fetch(
        ARTICLE, [f"Subject{s}.h5" for s in public.asked(subjects, SUBJECTS)], raw, dry_run=dry_run
    )


@public.preparing(public.PictureChoice, "Subject*.*", "data")
def prepare(raw: Path, subjects: public.Subjects, choice: public.PictureChoice) -> Assembly:
    """Reads the subjects' files."""
    files = {s: next((p for p in _places(raw, s) if p.is_file()), None) for s in SUBJECTS}
    chosen, missing = public.there(
        subjects, files, raw, "Subject{}.h5 (braindec prepare god --fetch gets it)"
    )
    return _content(raw, chosen, choice.image_side, missing)


def synthetic(raw: str | Path, *, seed: int = 0, container: str = "h5", pictures: bool = True) -> Truth:
    """Subject 1 with all 3,450 trials of 30 voxels, in the container asked for, and small pictures.

    Parameters
    ----------
    raw : path
    seed : int
    container : str
        See `braindec.data.bdata_trials.CONTAINERS`.
    pictures : bool
        Whether the pictures are there, which the authors send on request.

    Returns
    -------
    Truth
        Responses and labels in the order of the file, voxels in the order of their grid.
    """
    raw = Path(raw)
    rng = seeding.numpy_generator(seed, "god", "synthetic")
    images, trials = _design(rng)
    kind, names = np.array([t[0] for t in trials]), [t[1] for t in trials]
    place = np.stack(np.meshgrid(np.arange(5), np.arange(3), np.arange(2), indexing="ij"), -1).reshape(-1, 3)
    shuffled = rng.permutation(len(place))  # columns of the file are in no order of the grid
    patterns = dict(zip(sorted(set(names)), rng.standard_normal((len(set(names)), len(place))), strict=True))
    responses = np.stack([patterns[n] for n in names]) + 0.5 * rng.standard_normal((len(names), len(place)))
    run = np.concatenate([np.arange(n) // 50 + 1 for n in N_TRIALS.values()])
    labels = np.array([bdata.label_of(n) for n in names])
    design = np.stack([kind, run, labels], axis=1)
    keys = _keys(place[shuffled], LABELS[0] if container == "h5" else LABELS[1])
    write_bdata(
        raw / f"Subject1.{container[:3] if container.startswith('mat') else 'h5'}",
        np.concatenate([responses[:, shuffled], design], axis=1), keys, container=container,
    )  # fmt: skip
    if pictures:
        _write_pictures(raw / "images", images, rng)
    shown = _test_pictures(images)
    ids = np.array([shown.get(n, n) for n in names])
    experiment = np.array([EXPERIMENTS[int(k)] for k in kind])
    concept = np.array([n.split("_")[0] for n in names])
    table = Table({"stimulus_id": ids, "experiment": experiment, "concept": concept})
    return Truth({"sub-01_fmri": responses}, {"sub-01_fmri": table}, {"images": images})


def _content(raw: Path, files: dict[int, Path], side: int, absent: tuple[str, ...]) -> Assembly:
    signals, missing = [], list(absent)
    for subject, path in files.items():
        experiments = _experiments(path)
        missing += [f"sub-{subject:02d} {said}" for said in _lacking(path, experiments)]
        signals.append(signal(subject, experiments, UNITS))
    first: dict[str, str] = {}
    for s in signals:
        first |= dict(zip(s.table["stimulus_id"].tolist(), s.table["concept"].tolist(), strict=True))
    return assembled("god", SOURCE, "ds001246", signals, first, raw, side, _splits, missing, VISUAL)


def _experiments(path: Path) -> list[Experiment]:
    """Training, test and imagery of one file; an imagined category stands for its test picture."""
    data = bdata.read_bdata(path)
    kind = data.column("DataType")
    unknown = sorted(set(kind.tolist()) - set(EXPERIMENTS))
    if unknown:
        found = f"holds the DataType {unknown[0]}, expected {sorted(EXPERIMENTS)}"
        raise checks.DataFileError(path, found, "Get the file again.")
    labels = data.column(*(k for k in LABELS if data.has(k)), LABELS[0])
    images, concepts = bdata.image_names(path, labels)
    shown = _test_pictures(images[kind == 2].tolist())
    made = []
    for number, name in EXPERIMENTS.items():
        rows = np.flatnonzero(kind == number)
        ids = images[rows]
        if name == "imagery":
            strange = sorted(set(concepts[rows].tolist()) - set(shown))
            if strange:
                found = f"has imagery of {strange[0]}, which no test picture shows"
                raise checks.DataFileError(path, found, "Get the file again.")
            ids = np.array([shown[c] for c in concepts[rows].tolist()], dtype=str)
        if len(rows):
            made.append(Experiment(name, data, rows, ids, concepts[rows]))
    if {"training", "test"} - {e.name for e in made}:
        raise checks.DataFileError(path, "holds no training or no test trials", "Get the file again.")
    return made


def _test_pictures(images: Iterable[str]) -> dict[str, str]:
    """The test picture of each synset: among all images, those whose synset has one alone."""
    of: dict[str, set[str]] = {}
    for name in images:
        of.setdefault(name.split("_")[0], set()).add(name)
    return {synset: min(names) for synset, names in of.items() if len(names) == 1 and min(names) != synset}


def _lacking(path: Path, experiments: list[Experiment]) -> list[str]:
    """What one subject's file lacks of the complete one; more than that is refused."""
    said = []
    have = {e.name: e for e in experiments}
    for name, expected in N_TRIALS.items():
        n = len(have[name].rows) if name in have else 0
        if n > expected:
            found = f"holds {n} {name} trials, expected {expected}"
            raise checks.DataFileError(path, found, "Get the file again.")
        if n < expected:
            said.append(f"{name}: {expected - n} of {expected} trials")
        elif (np.unique(have[name].stimulus_id, return_counts=True)[1] != N_REPEATS[name]).any():
            said.append(f"{name}: {N_REPEATS[name]} repeats of every stimulus; some have another number")
    return said


def _splits(dataset: NeuralDataset) -> list[Split]:
    """Training against test pictures, and against imagery of the same categories; no category is in both."""
    of: dict[str, set[str]] = {name: set() for name in EXPERIMENTS.values()}
    for trials in dataset.trials.values():
        for name in of:
            of[name] |= set(trials.table["concept"][trials.table["experiment"] == name].tolist())
    parts = {"train": tuple(sorted(of["training"])), "test": tuple(sorted(of["test"]))}
    made = [Split("default", "concept", parts, {"test": {"experiment": ("test",)}})]
    if of["imagery"]:
        imagined = {"train": parts["train"], "test": tuple(sorted(of["imagery"]))}
        made.append(Split("imagery", "concept", imagined, {"test": {"experiment": ("imagery",)}}))
    return made


def _places(raw: Path, s: int) -> tuple[Path, Path]:
    return raw / f"Subject{s}.h5", raw / f"Subject{s}.mat"


def _design(rng: np.random.Generator) -> tuple[list[str], list[tuple[int, str]]]:
    """All images, and (DataType, label) of every trial: 150 x 8 once, 50 x 35, 50 imagined categories x 10."""
    synsets = 1_400_000 + rng.choice(13_000_000, 200, replace=False)
    numbers = rng.permutation(99_999)[:1250] + 1
    training = [f"n{s:08d}_{numbers[8 * i + j]}" for i, s in enumerate(synsets[:150]) for j in range(8)]
    test = [f"n{s:08d}_{numbers[1200 + i]}" for i, s in enumerate(synsets[150:])]
    trials = [(1, name) for name in rng.permutation(training).tolist()]
    trials += [(2, name) for _ in range(35) for name in rng.permutation(test).tolist()]
    imagined = [name.split("_")[0] for name in test]
    trials += [(3, name) for _ in range(10) for name in rng.permutation(imagined).tolist()]
    return training + test, trials


def _keys(place: np.ndarray, label: str) -> dict[str, np.ndarray]:
    """Metadata of voxels at these places (3 mm apart) and of the columns DataType, Run and label."""
    n = len(place)
    empty = np.full(n + 3, np.nan)

    def filled(where: slice | int, values: np.ndarray | float) -> np.ndarray:
        out = empty.copy()
        out[where] = values
        return out

    keys = {"VoxelData": filled(slice(n), 1.0)}
    keys |= {f"voxel_{axis}": filled(slice(n), 3.0 * place[:, i] - 40) for i, axis in enumerate("xyz")}
    for i, name in enumerate(REGIONS):
        members = np.ones(n) if name == "VC" else (place[:, 0] == i % 5).astype(float)
        keys[f"ROI_{name}"] = filled(slice(n), members)
    return keys | {key: filled(n + i, 1.0) for i, key in enumerate(("DataType", "Run", label))}


def _write_pictures(folder: Path, names: list[str], rng: np.random.Generator) -> None:
    """JPEGs of one colour each: ``training/`` and ``test/`` as the authors' folder has them."""
    from PIL import Image

    for i, name in enumerate(names):
        path = folder / ("training" if i < 1200 else "test") / f"{name}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 16), tuple(rng.integers(0, 256, 3).tolist())).save(path, quality=95)
