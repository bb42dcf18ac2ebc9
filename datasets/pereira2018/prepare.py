"""Sentences read in the scanner (Pereira et al. 2018): MATLAB files of 16 people to a trial a sentence."""

from __future__ import annotations

import runpy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import NeuralDataset, Split, mat5, played, public
from braindec.data.assembly import Assembly, Signal
from braindec.data.catalogue import Truth
from braindec.data.damage import COPY_AGAIN
from braindec.data.staging import Job
from braindec.data.tables import repeats
from braindec.types import Table, VoxelSpace

HERE = Path(__file__).parent
PEOPLE = ("P01", *(f"M{i:02d}" for i in range(1, 11)), *(f"M{i:02d}" for i in range(13, 18)))  # 1 .. 16
SENTENCES = {"384sentences": 384, "243sentences": 243}
CONCEPTS = {f"180concepts_{how}": 180 for how in ("sentences", "pictures", "wordclouds")}
SUBJECTS = tuple(range(1, len(PEOPLE) + 1))
EXPERIMENTS = SENTENCES | CONCEPTS
WHO = {  # of the sentence experiments; all saw the concepts
    "384sentences": ("P01", "M02", "M04", "M07", "M08", "M09", "M14", "M15"),
    "243sentences": ("P01", "M02", "M03", "M04", "M07", "M15"),
}
FILES = ("examples_{}.mat", "data_{}.mat")
URL = "https://www.evlab.mit.edu/sites/default/files/documents/index2.html"
TESTED = 5  # every fifth passage


@dataclass(frozen=True)
class Choice(public.VoxelChoice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    invalid : str
        What is done about voxels with NaN or without variance: ``"drop"`` or ``"refuse"``.
    experiments : tuple of str
        ``"384sentences"``, ``"243sentences"``, ``"180concepts_sentences"``, ``"180concepts_pictures"``,
        ``"180concepts_wordclouds"``; those of them that a person has are read, at the voxels that all have.
    """

    experiments: tuple[str, ...] = tuple(SENTENCES)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.unique(
            "experiments", [checks.one_of("experiments", e, list(EXPERIMENTS)) for e in self.experiments]
        )
        checks.at_least("number of experiments", len(self.experiments), 1)


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The files of both sentence experiments; the page has an archive a person, to be unpacked by hand."""
    people = [PEOPLE[s - 1] for s in subjects]
    paths = [
        _find(raw, person, e) or raw / person / FILES[0].format(e)
        for person in people
        for e in SENTENCES
        if person in WHO[e]
    ]
    return paths, f"Get the archive of each person from {URL} in a browser and unpack it in {raw}."


@public.preparing(Choice)
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> Assembly:
    """Reads responses to sentences; subject 1 is P01, 2 is M01, ... (the card lists them)."""
    files = {s: _files(raw, PEOPLE[s - 1], choice.experiments) for s in SUBJECTS}
    what = (
        f"{FILES[0].format(choice.experiments[0])} (nor data_*.mat) of subject {{}} (P01 is 1, M01 is 2, ...)"
    )
    chosen, _ = public.there(subjects, files, raw, what)
    return _assembly(raw, chosen, choice.experiments)


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1, 3),
    experiments: Iterable[str] = tuple(SENTENCES),
    release: str = "examples_{}.mat",
) -> Truth:
    """All sentences in MATLAB files of version 5, on some 60 voxels that are not the same in every experiment.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
    experiments : iterable of str
    release : str
        ``"examples_{}.mat"`` or ``"data_{}.mat"``.

    Returns
    -------
    Truth
        Responses at the voxels that all experiments of a person share, in the order of the mask.
    """
    make = runpy.run_path(str(HERE / "_synthetic.py"))["synthetic"]
    made: Truth = make(Path(raw), seed, subjects, list(experiments), PEOPLE, EXPERIMENTS, release)
    return made


class _Columns:
    """Some columns of a variable of a MATLAB file, float32 by row; read whole when first asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, path: Path, key: str, n_rows: int, columns: np.ndarray):
        self.path, self.key, self.columns = path, key, columns
        self.shape = (n_rows, len(columns))
        self._held: np.ndarray | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if self._held is None:
            values = np.asarray(mat5.load(self.path, (self.key,))[self.key])
            self._held = values[:, self.columns].astype(np.float32)
        return self._held[rows]


def _assembly(raw: Path, files: Mapping[int, Mapping[str, Path]], experiments: Sequence[str]) -> Assembly:
    signals: list[Signal] = []
    missing: list[str] = []
    left_out: dict[str, int] = {}
    stimuli: dict[str, Table] = {}
    for s, own in files.items():
        contents = [_read(path, e) for e, path in own.items()]
        for c in contents:
            _same(c, stimuli)
        signals.append(_signal(s, contents))
        n = max(len(c.voxels) for c in contents) - signals[-1].space.n_features
        left_out |= {signals[-1].key: n} if n else {}
        lacking = [e for e in experiments if e not in own and PEOPLE[s - 1] in WHO.get(e, PEOPLE)]
        missing += [f"sub-{s:02d} ({PEOPLE[s - 1]}): {', '.join(lacking)}"] if lacking else []
    absent = [
        p
        for i, p in enumerate(PEOPLE, 1)
        if i not in files and any(p in WHO.get(e, PEOPLE) for e in experiments)
    ]
    missing += [f"not there, so not prepared: {', '.join(absent)}"] if absent else []
    ids = tuple(_id(e, i) for e, table in stimuli.items() for i in range(table.n_rows))
    columns = {n: np.concatenate([t[n] for t in stimuli.values()]) for n in next(iter(stimuli.values()))}
    return Assembly(
        name="pereira2018",
        licence="not stated on the page; see Pereira et al. 2018",
        source=f"{URL}; doi:10.1038/s41467-018-03068-4",
        signals=tuple(signals),
        ids=ids,
        table=Table(columns),
        splits=_splits,
        missing=tuple(missing),
        notes={
            "label": "category",
            "participants": {f"sub-{s:02d}": PEOPLE[s - 1] for s in files},
            "transductive": "a response is the authors' estimate from all presentations of its sentence",
            "voxels_not_in_every_experiment": left_out,
            "affine": "identity: the files name voxels, not millimetres",
            **played.SINGLE_VOLUMES,
            "betas": {
                "hrf_chosen_on": "none", "noise_regressors_on": "unknown", "ridge_chosen_on": "none",
                "z_scored_on": "unknown", "overlap": "modelled",
            },
        },
    )  # fmt: skip


def _read(path: Path, experiment: str) -> Any:
    """What a file says beside its responses; see `_content.py`."""
    concepts = experiment in CONCEPTS
    key = "examples" if concepts or path.name.startswith("examples") else "examples_passagesentences"
    return runpy.run_path(str(HERE / "_content.py"))["read"](
        path, experiment, key, EXPERIMENTS[experiment], concepts
    )


def _same(c: Any, stimuli: dict[str, Table]) -> None:
    """Keeps the stimuli of an experiment; refuses a file whose texts are not those of the files before."""
    known = stimuli.setdefault(_stem(c.experiment), c.stimuli)
    if not all(np.array_equal(known[name], c.stimuli[name]) for name in known):
        raise checks.DataFileError(
            c.path, f"has other texts than the other files of {c.experiment}", COPY_AGAIN
        )


def _signal(s: int, contents: Sequence[Any]) -> Signal:
    """One person's experiments, at the voxels that all of them have."""
    shape = contents[0].shape
    for c in contents:
        if c.shape != shape:
            said = f"is on a grid of {c.shape}, {contents[0].path.name} on {shape}"
            raise checks.DataFileError(c.path, said, "Prepare these experiments separately.")
    shared = np.array(sorted(set.intersection(*(set(c.voxels.tolist()) for c in contents))), dtype=int)
    if not len(shared):
        raise checks.DataFileError(contents[0].path, "shares no voxel with the others", COPY_AGAIN)
    mask = np.zeros(shape, dtype=bool)
    mask.ravel()[shared] = True
    columns = [_columns(c.voxels, shared) for c in contents]
    regions = {name: members[columns[0]] for name, members in contents[0].regions.items()}
    regions = {name: members for name, members in regions.items() if members.any()}
    jobs = []
    for c, own in zip(contents, columns, strict=True):
        read = partial(_Columns, c.path, c.key, EXPERIMENTS[c.experiment], own)
        jobs.append(Job(f"sub-{s:02d}_{c.experiment}", (c.path,), {"n_voxels": len(shared)}, read))
    sizes = [EXPERIMENTS[c.experiment] for c in contents]
    run = np.repeat([c.experiment for c in contents], sizes)
    n, ids = (
        len(run),
        [_id(_stem(c.experiment), i) for c in contents for i in range(EXPERIMENTS[c.experiment])],
    )
    table = Table(
        {
            "stimulus_id": np.array(ids),
            "session": run,
            "run": run,
            "repeat": repeats(ids),
            "onset_s": np.zeros(n),  # not recorded: a response is of several presentations
            "acquisition_order": np.full(n, -1),
            "exchangeability_block": run,
        }
    )
    return Signal(s, table, VoxelSpace(mask, np.eye(4), regions), "authors' units", tuple(jobs))


def _columns(voxels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted voxel stands among the columns."""
    order = np.argsort(voxels, kind="stable")
    return np.asarray(order[np.searchsorted(voxels, wanted, sorter=order)])


def _splits(dataset: NeuralDataset) -> list[Split]:
    """Every fifth passage is tested; and, where they are there, one experiment against another one."""
    table = checks.of_type("table", dataset.stimuli.table, Table)
    ids, experiment = np.array(dataset.stimuli.ids), table["experiment"]
    tested = (table["passage"] > 0) & (table["passage"] % TESTED == 0)
    pairs = {
        "default": (~tested, tested),
        "384_to_243": (experiment == "384sentences", experiment == "243sentences"),
        "concepts_to_sentences": (experiment == "180concepts", experiment != "180concepts"),
    }
    seen = set(dataset.stimulus_ids)
    found = []
    for name, rows in pairs.items():
        train, test = (tuple(i for i in ids[r].tolist() if i in seen) for r in rows)
        found += [Split(name, "stimulus", {"train": train, "test": test})] if train and test else []
    return found


def _stem(experiment: str) -> str:
    """A concept is one stimulus however it was shown."""
    return experiment.split("_")[0]


def _id(stem: str, i: int) -> str:
    """``384sentences-001``."""
    return f"{stem}-{i + 1:03d}"


def _find(raw: Path, person: str, experiment: str) -> Path | None:
    places = (raw / person / name.format(experiment) for name in FILES)
    nested = (raw / person / person / name.format(experiment) for name in FILES)
    return next((path for path in (*places, *nested) if path.is_file()), None)


def _files(raw: Path, person: str, experiments: Sequence[str]) -> dict[str, Path]:
    return {e: path for e in experiments if (path := _find(raw, person, e)) is not None}
