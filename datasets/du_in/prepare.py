"""Du-IN: pickled runs of twelve people's sEEG who read 61 words aloud, to trials."""

from __future__ import annotations

import pickle
import runpy
import tokenize
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import NeuralDataset, Split, large, public, safe_npy
from braindec.data.catalogue import Truth
from braindec.data.damage import COPY_AGAIN, finite, reading
from braindec.data.joined import JoinedRows
from braindec.data.sensors import sensor_space
from braindec.data.tables import complete_table, repeats
from braindec.types import Table, Trials

HERE = Path(__file__).resolve().parent
SUBJECTS = tuple(range(1, 13))
ROOT, TASK = "seeg.he2023xuanwu", "word-recitation"
FORMS = ("unaligned", "aligned")
N_WORDS = 61
SFREQ, TMIN = 1000.0, -0.5  # the authors' programs resample from 1 kHz and count from half a second before
WHERE = "Get them from https://huggingface.co/datasets/liulab-repository/Du-IN and keep the folders."
# The authors' programs pickle dictionaries of a class of their own; what it adds is access by dot.
CLASSES = {("utils.DotDict", "DotDict"): dict, ("utils", "DotDict"): dict}


@dataclass(frozen=True)
class Choice:
    """What `prepare` can be asked for.

    Parameters
    ----------
    form : str
        ``"unaligned"``, as the authors' decoder reads, or ``"aligned"``.
    """

    form: str = "unaligned"

    def __post_init__(self) -> None:
        checks.one_of("form", self.form, FORMS)


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The folders of the subjects' runs; which runs each has is not known beforehand."""
    return [raw / ROOT / f"{s:03d}" / TASK for s in subjects], WHERE


@public.preparing(Choice, f"{ROOT}/*/{TASK}", "data")
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> large.Whole:
    """Reads every run of each subject; what asks for more than dictionaries and arrays is refused."""
    runs = {s: _runs(raw, s, choice.form) for s in SUBJECTS}
    chosen, missing = public.there(subjects, runs, raw / ROOT, f"runs of form {choice.form} of {{}}")
    sources, said, words = [], list(missing), set[str]()
    for s, own in chosen.items():
        trials = _trials(own, s)
        mine = set(trials.table["word"].tolist())
        if len(mine) != N_WORDS:
            said.append(f"sub-{s:02d}: {len(mine)} of {N_WORDS} words.")
        if len(own) == 1:
            said.append(f"sub-{s:02d}: one run alone, so none is held out.")
        words |= mine
        files = tuple(folder / name for folder in own for name in ("data", "info"))
        sources.append(large.Source(f"sub-{s:02d}_ieeg", files, partial(_trials, own, s)))
    names = tuple(sorted(words))
    return large.Whole(
        name="du_in",
        licence="not stated (the authors' programs: MIT)",
        source="Zheng et al. 2024, arXiv:2405.11459; https://huggingface.co/datasets/liulab-repository/Du-IN",
        raw=raw,
        sources=tuple(sources),
        pictures=large.Pictures(names, Table({"word": names})),
        splits=_splits,
        notes={
            "label": "word",
            "form": choice.form,
            "transductive": "what the authors' own steps learnt and from which trials is not said; here none is done",
            "epochs": {"whitened_on": "unknown", "ica_fitted_on": "unknown", "z_scored_on": "unknown"},
            "features": {"selected_on": "none", "aligned_on": "none"},
        },
        settings={"form": choice.form},
        missing=tuple(said),
    )


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1, 2),
    n_runs: int = 2,
    n_words: int = 4,
    n_repeats: int = 3,
    n_times: int = 3000,
) -> Truth:
    """Pickled runs in the authors' classes: a pattern a word over channels and time, and noise.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
    n_runs, n_words, n_repeats : int
        Repeats of each word in each run.
    n_times : int
        Samples of a trial.

    Returns
    -------
    Truth
        Responses as written, without the channels that not every run has; `details["pattern"]` by key and word.
    """
    made: Truth = runpy.run_path(str(HERE / "_synthetic.py"))["synthetic"](
        Path(raw) / ROOT, TASK, seed, tuple(subjects), n_runs, n_words, n_repeats, n_times
    )
    return made


def _runs(raw: Path, subject: int, form: str) -> list[Path]:
    """Folders of the runs that have both files, in order of their numbers."""
    folders = sorted((raw / ROOT / f"{subject:03d}" / TASK).glob(f"*/dataset.bipolar.default.{form}"))
    there = [f for f in folders if (f / "data").is_file() and (f / "info").is_file()]
    return sorted(there, key=lambda f: (len(f.parent.name), f.parent.name))  # run2 before run10


def _trials(runs: Sequence[Path], subject: int) -> Trials:
    """All runs, restricted to the channels that every run has, in the order of the first."""
    names = [_names(folder / "info") for folder in runs]
    shared = [n for n in names[0] if all(n in other for other in names)]
    if not shared:
        raise checks.DataFileError(runs[-1] / "info", "shares no channel with the other runs", COPY_AGAIN)
    parts, said, of = [], list[str](), list[str]()
    for folder, mine in zip(runs, names, strict=True):
        words, rows = _open(folder / "data", len(mine), [mine.index(n) for n in shared])
        parts.append(rows)
        said += words
        of += [f"{subject:03d}/{folder.parent.name}"] * len(words)
    lengths = {part.shape[2] for part in parts}
    if len(lengths) != 1:
        raise checks.DataFileError(
            runs[-1] / "data", f"has another length: {sorted(lengths)} samples", COPY_AGAIN
        )
    table = complete_table(
        {
            "stimulus_id": np.array(said), "word": np.array(said), "run": np.array(of),
            "onset_s": np.zeros(len(said)), "acquisition_order": np.full(len(said), -1), "repeat": repeats(said),
        },
        "1",
    )  # fmt: skip
    return Trials(
        JoinedRows(parts), table, sensor_space(shared, "seeg"), "as distributed", subject, "ieeg", SFREQ, TMIN
    )


def _unpickled(path: Path) -> Any:
    with reading(path, pickle.UnpicklingError, tokenize.TokenError), path.open("rb") as file:
        return safe_npy.unpickle(file, path, known=CLASSES)


def _names(path: Path) -> list[str]:
    names = safe_npy.dictionary(path, ("ch_names",), _unpickled(path))["ch_names"]
    listed = [str(n) for n in names] if isinstance(names, list | tuple | np.ndarray) else []
    if not listed or len(set(listed)) != len(listed):
        raise checks.DataFileError(path, f"names no channels, or one twice: {listed[:8]}", COPY_AGAIN)
    return listed


def _open(path: Path, n_channels: int, kept: list[int]) -> tuple[list[str], _Rows]:
    held = _unpickled(path)
    if not isinstance(held, list) or not held:
        raise checks.DataFileError(path, "holds no list of trials", COPY_AGAIN)
    entries = [safe_npy.dictionary(path, ("name", "data_s"), entry) for entry in held]
    shapes = {np.shape(entry["data_s"]) for entry in entries}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2 or next(iter(shapes))[0] != n_channels:
        found = (
            f"holds trials of the shapes {sorted(shapes)[:4]}, expected one of ({n_channels} channels, time)"
        )
        raise checks.DataFileError(path, found, COPY_AGAIN)
    return [str(entry["name"]) for entry in entries], _Rows(path, [e["data_s"] for e in entries], kept)


class _Rows:
    """Trials of one run by row, float32 (n, n_kept, n_times); large ones are read from the file when asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, path: Path, trials: list[np.ndarray], kept: list[int]):
        self._path, self._trials, self._kept = path, trials, kept
        self.shape = (len(trials), len(kept), trials[0].shape[1])

    def __getitem__(self, rows: Any) -> np.ndarray:
        wanted = np.arange(len(self._trials))[rows]
        out = np.stack([self._trials[i][self._kept] for i in wanted.tolist()]).astype(np.float32)
        return finite(self._path, out)


def _splits(dataset: NeuralDataset) -> list[Split]:
    """The last run of every subject with several is tested; trials of one run are near in time."""
    runs = {t.subject: list(dict.fromkeys(t.table["run"].tolist())) for t in dataset.trials.values()}
    test = tuple(its[-1] for its in runs.values() if len(its) > 1)
    train = tuple(run for its in runs.values() for run in its if run not in test)
    return [Split("default", "run", {"train": train, "test": test})] if test else []
