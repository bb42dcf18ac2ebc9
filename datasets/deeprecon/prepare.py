"""Deep image reconstruction: bdpy files of three subjects, one an experiment, to trials of images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, bdata, figshare, public
from braindec.data.assembly import Assembly
from braindec.data.bdata import BData
from braindec.data.bdata_trials import Experiment, assembled, signal, write_bdata
from braindec.data.catalogue import Truth
from braindec.types import Table

SUBJECTS = (1, 2, 3)
SOURCE = "https://figshare.com/articles/dataset/Deep_Image_Reconstruction/7033577; doi:10.1371/journal.pcbi.1006633"
ARTICLE = 7033577  # figshare, "Deep Image Reconstruction"
# experiment -> (name in the first release, name in the fMRIPrep release, trials, repeats)
FILES = {
    "training": ("perceptionNaturalImageTraining", "ImageNetTraining", 6000, 5),
    "test": ("perceptionNaturalImageTest", "ImageNetTest", 1200, 24),
    "shapes": ("perceptionArtificialImage", "ArtificialShapes", 800, 20),
    "letters": ("perceptionLetterImage", "AlphabeticalLetters", 120, 12),
    "imagery": ("imagery", "Imagery", None, 20),
}
PATTERNS = ("sub-{s:02d}_{old}_original_VC.h5", "sub-{s:02d}_{new}_fmriprep_volume_native.h5")
NAMED = {"imagery": ("imagery_name", "stimulus_name")}
NUMBERED = {"imagery": ("imagery_image_index", "imagery_id", "stimulus_id", "Label")}
VISUAL = {1: 11_726}  # voxels; github.com/KamitaniLab/DeepImageReconstruction, issue 7
SIDE = 256  # pixels
UNITS = "share of the run's mean (authors')"


def fetch(raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False) -> list[Path]:
    """Downloads the five files of each subject from figshare, verified by MD5; no pictures."""
    names = [
        PATTERNS[0].format(s=s, old=old)
        for s in public.asked(subjects, SUBJECTS)
        for old, _, _, _ in FILES.values()
    ]
    return figshare.fetch(ARTICLE, names, raw, dry_run=dry_run)


@public.preparing(public.PictureChoice, "sub-0*_*.h5", "fmri", "data")
def prepare(raw: Path, subjects: public.Subjects, choice: public.PictureChoice) -> Assembly:
    """Reads the subjects' files."""
    files = {s: {name: path for name in FILES if (path := _file(raw, s, name))} for s in SUBJECTS}
    there = {s: own if "training" in own else None for s, own in files.items()}
    what = PATTERNS[0].format(s=0, old=FILES["training"][0]).replace("sub-00", "sub-0{}")
    chosen, missing = public.there(subjects, there, raw, what)
    return _content(raw, chosen, choice.image_side, missing)


def synthetic(raw: str | Path, *, seed: int = 0, fmriprep: bool = False) -> Truth:
    """Subject 1's five files with all 8,640 trials of 24 voxels; no pictures.

    Parameters
    ----------
    raw : path
    seed : int
    fmriprep : bool
        File names and keys of the second release, whose columns of numbers have names (``vmap``).
    """
    raw = Path(raw)
    rng = seeding.numpy_generator(seed, "deeprecon", "synthetic")
    responses, ids, experiments = [], [], []
    for name, stimuli in _stimuli(rng).items():
        old, new, _, n_repeats = FILES[name]
        order = np.concatenate([rng.permutation(len(stimuli)) for _ in range(n_repeats)])
        patterns = rng.standard_normal((len(stimuli), 24))
        values = patterns[order] + 0.5 * rng.standard_normal((len(order), 24))
        path = raw / PATTERNS[fmriprep].format(s=1, old=old, new=new)
        _write(path, name, values, [stimuli[i] for i in order], fmriprep)
        responses.append(values)
        ids += [_id(name, stimuli[i], fmriprep) for i in order]
        experiments += [name] * len(order)
    table = Table({"stimulus_id": np.array(ids), "experiment": np.array(experiments)})
    return Truth({"sub-01_fmri": np.concatenate(responses)}, {"sub-01_fmri": table})


def _content(raw: Path, files: dict[int, dict[str, Path]], side: int, absent: tuple[str, ...]) -> Assembly:
    signals, missing = [], list(absent)
    concept: dict[str, str] = {}
    for subject, own in files.items():
        if "test" not in own:
            checks.existing_file(raw / PATTERNS[0].format(s=subject, old=FILES["test"][0]), "See the card.")
        experiments = [_experiment(name, path) for name, path in own.items()]
        missing += [f"sub-{subject:02d} {said}" for said in _lacking(experiments)]
        signals.append(signal(subject, experiments, UNITS))
        for e in experiments:
            concept |= dict(zip(e.stimulus_id.tolist(), e.concept.tolist(), strict=True))
    return assembled(
        "deeprecon", SOURCE, "ds001506", signals, concept, raw, side, _splits, missing, VISUAL, _picture_names
    )


def _experiment(name: str, path: Path) -> Experiment:
    """One file's samples: natural images by synset and image, others by their name or number."""
    data = bdata.read_bdata(path)
    rows = np.arange(data.n_samples)
    expected = FILES[name][2]
    if expected is not None and data.n_samples > expected:
        raise checks.DataFileError(
            path, f"holds {data.n_samples} trials, expected {expected}", "Get the file again."
        )
    if name in ("training", "test"):
        ids, concepts = _natural(data)
        return Experiment(name, data, rows, ids, concepts)
    ids = _named(name, data)
    return Experiment(name, data, rows, ids, ids)


def _natural(data: BData) -> tuple[np.ndarray, np.ndarray]:
    if "stimulus_name" in data.meta.labels:
        names = data.names("stimulus_name")
        labels = [bdata.label_of(n) if n[:1] == "n" and n[1:2].isdigit() else np.nan for n in names.tolist()]
    else:
        keys = [k for k in ("stimulus_id", "Label") if data.has(k)]
        labels = data.column(*keys, "stimulus_id").tolist()
    return bdata.image_names(data.path, np.array(labels))


def _named(name: str, data: BData) -> np.ndarray:
    """Names where the file has them (``1_leaves`` is ``leaves``'s number and name), else numbers."""
    for key in NAMED.get(name, ("stimulus_name",)):
        if key in data.meta.labels:
            return np.array([f"{name}-{text}" for text in data.names(key).tolist()])
    keys = NUMBERED.get(name, ("stimulus_id", "image_index", "Label"))
    numbers = data.column(*(k for k in keys if data.has(k)), keys[0])
    if not np.isfinite(numbers).all():
        raise checks.DataFileError(data.path, f"holds {keys[0]!r} that are no numbers", "Get the file again.")
    return np.array([f"{name}-{number:.12g}" for number in numbers.tolist()])


def _picture_names(ids: tuple[str, ...], there: dict[str, Path], folder: Path) -> list[str]:
    """The file of each stimulus, without suffix: by its id, by its name, or by its number in the authors' tables."""
    listed = {}
    for path in sorted(folder.glob("*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, number = line.partition("\t")
            listed[number.split("\t")[0]] = name
    names = []
    for key in ids:
        own = key.partition("-")[2]
        options = (key, own, own.partition("_")[2], listed.get(own, ""))
        names.append(next((o for o in options if o in there), key))
    return names


def _lacking(experiments: list[Experiment]) -> list[str]:
    have, said = {e.name: e for e in experiments}, []
    for name, (old, _, expected, n_repeats) in FILES.items():
        if name not in have:
            said.append(f"{name}: the file {old}")
            continue
        e = have[name]
        if expected is not None and len(e.rows) < expected:
            said.append(f"{name}: {expected - len(e.rows)} of {expected} trials")
        elif (np.unique(e.stimulus_id, return_counts=True)[1] != n_repeats).any():
            said.append(f"{name}: {n_repeats} repeats of every stimulus; some have another number")
    return said


def _splits(dataset: NeuralDataset) -> list[Split]:
    """Natural training images against each other experiment; no category is in both parts."""
    of: dict[str, set[str]] = {name: set() for name in FILES}
    for trials in dataset.trials.values():
        for name in of:
            of[name] |= set(trials.table["concept"][trials.table["experiment"] == name].tolist())
    train = tuple(sorted(of["training"]))
    names = [name for name in FILES if name != "training" and of[name]]
    parts = {name: {"train": train, "test": tuple(sorted(of[name]))} for name in names}
    return [Split("default" if n == "test" else n, "concept", parts[n]) for n in names]


def _file(raw: Path, subject: int, name: str) -> Path | None:
    old, new, _, _ = FILES[name]
    places = [raw / pattern.format(s=subject, old=old, new=new) for pattern in PATTERNS]
    there = [path for path in places if path.is_file()]
    if len(there) > 1:
        raise checks.DataFileError(there[1], f"is the second release of {there[0].name}", "Keep one release.")
    return there[0] if there else None


def _stimuli(rng: np.random.Generator) -> dict[str, list[str]]:
    synsets = 1_400_000 + rng.choice(13_000_000, 200, replace=False)
    numbers = rng.permutation(99_999)[:1250] + 1
    return {
        "training": [f"n{s:08d}_{numbers[8 * i + j]}" for i, s in enumerate(synsets[:150]) for j in range(8)],
        "test": [f"n{s:08d}_{numbers[1200 + i]}" for i, s in enumerate(synsets[150:])],
        "shapes": [f"{i + 1}_shape{i + 1}" for i in range(40)],
        "letters": [f"{i + 1}_{c}" for i, c in enumerate("ACEINORSTU")],
        "imagery": [f"{i + 1}_imagined{i + 1}" for i in range(26)],
    }


def _id(name: str, stimulus: str, named: bool) -> str:
    """The id that `prepare` gives."""
    if name in ("training", "test"):
        return stimulus
    return f"{name}-{stimulus if named else stimulus.split('_')[0]}"


def _write(path: Path, name: str, values: np.ndarray, stimuli: list[str], named: bool) -> None:
    n = values.shape[1]
    natural = name in ("training", "test")
    numbers = [bdata.label_of(s) if natural else float(s.split("_")[0]) for s in stimuli]
    key = ("imagery_name" if name == "imagery" else "stimulus_name") if named else "stimulus_id"
    labels: dict[str, Any] = {key: dict(zip(numbers, stimuli, strict=True))} if named else {}
    design = np.stack(
        [np.arange(len(stimuli)) // 400 + 1, np.arange(len(stimuli)) // 50 + 1, numbers], axis=1
    )
    columns = np.eye(n + 3)
    voxels = columns[:n].sum(0)
    keys = {
        "VoxelData": voxels,
        "ROI_VC": voxels,
        "ROI_V1": columns[:8].sum(0),
        "ROI_HVC": columns[8:n].sum(0),
    }
    keys |= {k: columns[n + i] for i, k in enumerate(("Session", "Run", key))}
    keys = {k: np.where(v == 1, 1.0, np.nan) for k, v in keys.items()}
    write_bdata(path, np.concatenate([values, design], axis=1), keys, labels=labels)
