"""What can be compared: prepared brain data, features of a network, files of embeddings, saved decoders, labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from braindec import checks, store
from braindec.data import NeuralDataset, splits
from braindec.decoder import BrainDecoder
from braindec.evaluate.encode_features import feature_spaces
from braindec.rdm import RDM, dissimilarity, from_square, stack
from braindec.types import Trials

MOST_FOLDS = 4  # repeats are dealt into so many groups where runs do not show every stimulus
FEWEST = 6  # conditions: fewer have too few distances to compare


@dataclass(frozen=True)
class Choices:
    """How patterns become distances.

    Parameters
    ----------
    distance : str
        Of brain data: ``"auto"`` (crossnobis where stimuli repeat, else correlation), or a measure of
        `rdm.dissimilarity`.
    noise : str
        See `rdm.dissimilarity`.
    modality : str or None
        Needed where a dataset has several.
    part : str
        ``"test"``, ``"train"`` or ``"all"``; ``"auto"``: the test part where a split holds out stimuli or concepts, for
        a decoder has seen the rest, else all trials.
    n_conditions : int
        At most so many stimuli, evenly spread over their sorted ids.
    n_times : int
        Time samples are averaged into at most so many windows.
    seed : int
    patterns : bool
        Whether mean patterns are what is compared, and distances between them are drawn alone.
    """

    distance: str = "auto"
    noise: str = "shrinkage"
    modality: str | None = None
    part: str = "auto"
    n_conditions: int = 300
    n_times: int = 60
    seed: int = 0
    patterns: bool = False


@dataclass(frozen=True, eq=False)
class Geometry:
    """Distances between stimuli, and the patterns behind them.

    Parameters
    ----------
    name : str
    rdm : RDM
        Axis ``"subject"``, or none.
    over_time : RDM or None
        Axes ``("subject", "time")``.
    patterns : tuple of float array, shape (stimulus, dim) each
        Of each subject (or the only one), in the order of the conditions.
    said : tuple of str
        What a reader must know of how it was made.
    halves : tuple of float array, shape (2, stimulus, dim) each
        Of each subject the patterns of two halves of the repeats; empty where not all stimuli repeat.
    """

    name: str
    rdm: RDM
    over_time: RDM | None
    patterns: tuple[np.ndarray, ...]
    said: tuple[str, ...] = ()
    halves: tuple[np.ndarray, ...] = ()


def open_dataset(word: str, choices: Choices) -> NeuralDataset:
    """The part of a prepared dataset that a word names: ``FOLDER`` or ``FOLDER@region``, one modality."""
    folder, _, region = word.partition("@")
    found = NeuralDataset.read(folder, region=region or None)
    kinds = sorted({t.modality for t in found.trials.values()})
    if choices.modality is not None:
        checks.one_of("modality", choices.modality, kinds)
    elif len(kinds) > 1:
        raise checks.ConfigError(
            f"{folder} holds {' and '.join(kinds)}; say which: --modality {' or '.join(kinds)}"
        )
    wanted = choices.modality or kinds[0]
    found = found.select(keys=[key for key, t in found.trials.items() if t.modality == wanted])
    of_stimuli = found.split is not None and found.split.unit in ("stimulus", "concept")
    part = ("test" if of_stimuli else "all") if choices.part == "auto" else choices.part
    return found if part == "all" else found.part(part)


def is_dataset(word: str) -> bool:
    """Whether a word names the folder of a prepared dataset."""
    return (Path(word.partition("@")[0]) / "dataset.json").is_file()


def brain(word: str, dataset: NeuralDataset, choices: Choices, ids: Sequence[str] | None = None) -> Geometry:
    """Geometry of the responses of every subject to the stimuli that all of them saw (or to these).

    Raises
    ------
    ValueError
        If subjects share too few stimuli.
    """
    subjects = list(dataset.trials.values())
    repeats = [
        dict(zip(*np.unique(t.table["stimulus_id"].astype(str), return_counts=True), strict=True))
        for t in subjects
    ]
    shared = sorted(set.intersection(*(set(r) for r in repeats)) - {"unknown"})
    if ids is not None:
        both = set(shared)
        shared = [i for i in ids if i in both]
    several = [i for i in shared if all(r[i] > 1 for r in repeats)]
    cross = choices.distance == "crossnobis" or (choices.distance == "auto" and len(several) >= FEWEST)
    names = several if cross else shared
    if len(names) < FEWEST:
        raise ValueError(_too_few(word, dataset, len(names), ids, cross))
    kept = spread(names, choices.n_conditions) if ids is None else names
    measure = "crossnobis" if cross else ("correlation" if choices.distance == "auto" else choices.distance)
    made = [_of_subject(t, kept, measure, choices) for t in subjects]
    n_trials = sum(int(np.isin(t.table["stimulus_id"].astype(str), kept).sum()) for t in subjects)
    part = "" if dataset.part_name is None else f" of the part {dataset.part_name!r} (--part all takes all)"
    what = (
        f"mean patterns{' (of stimuli that repeat)' * cross}" if choices.patterns else f"{measure} distances"
    )
    said = [f"{word}: {what} of {len(kept)} stimuli in {len(subjects)} subjects, {n_trials} trials{part}."]
    if len(kept) < len(names):
        said.append(f"{word}: {len(kept)} of {len(names)} stimuli, evenly spread (--conditions).")
    said += sorted({m[3] for m in made if m[3]})
    keys = list(dataset.trials)
    rdm = stack([m[0] for m in made], "subject", keys)
    over_time = (
        None if made[0][1] is None else stack([m[1] for m in made if m[1] is not None], "subject", keys)
    )
    halves = tuple(m[4] for m in made if m[4] is not None)
    return Geometry(word, rdm, over_time, tuple(m[2] for m in made), tuple(said), halves)


def _too_few(word: str, dataset: NeuralDataset, n: int, ids: Sequence[str] | None, cross: bool) -> str:
    """Why there is nothing to compare, and what would change that."""
    fewest, seen = min(
        (len(set(t.table["stimulus_id"].tolist()) - {"unknown"}), key) for key, t in dataset.trials.items()
    )
    also = "" if ids is None else " and the other side has"
    said = f"stimuli that all subjects of {word}{' saw more than once' if cross else ' saw'}{also} must be at least "
    said += f"{FEWEST}, got {n} ({seen} saw {fewest}). Distances are between stimuli, not trials: "
    ways = ["give every picture a stimulus_id of its own where ids are classes"]
    ways += (
        [f"take all parts, not {dataset.part_name!r} (--part all)"] if dataset.part_name is not None else []
    )
    ways += ["--distance correlation needs no repeats"] if cross else []
    return said + "; ".join([*ways, "or compare another dataset."])


def other(word: str, dataset: NeuralDataset | None, ids: Sequence[str], choices: Choices) -> Geometry:
    """Geometry of the same stimuli elsewhere.

    Parameters
    ----------
    word : str
        ``FOLDER[@region]`` of a prepared dataset (mean over its subjects); folder of a saved decoder,
        ``FOLDER[@layer]`` (what it predicts from `dataset`); an ``.npz`` file with ``ids`` and ``values`` or an ``.h5``
        file of cached embeddings; ``column:NAME`` of the stimuli's table; else a feature space,
        ``target[:settings][@layer][!random]``.
    dataset : NeuralDataset or None
        Where pictures, labels and recordings come from.
    ids : sequence of str
        Stimuli.
    choices : Choices
    """
    path = Path(word.partition("@")[0])
    if is_dataset(word):
        found = brain(word, open_dataset(word, choices), choices, ids)
        return Geometry(word, found.rdm.mean("subject"), None, found.patterns, found.said, found.halves)
    if path.suffix in (".npz", ".h5"):
        return of_features(word, *from_file(path), ids)
    if dataset is None:
        raise checks.ConfigError(f"{word!r} is made from a dataset's stimuli; name a prepared dataset first.")
    if word.startswith("column:"):
        return _labels(word, dataset, ids)
    if path.is_dir():
        if choices.part == "auto" and dataset.part_name is None:
            raise checks.ConfigError(
                f"{word} may have been fitted on some of these trials; say --part test where a split holds out others, "
                "or --part all where it has seen none of them."
            )
        return _decoded(word, dataset, ids)
    cache = None if dataset.folder is None else dataset.folder / "embeddings"
    made = feature_spaces([word], dataset, seed=choices.seed, cache=cache)[word]
    return of_features(word, made.ids, made.of(made.ids), ids)


def of_features(name: str, known: Sequence[str], values: np.ndarray, ids: Sequence[str]) -> Geometry:
    """Correlation distances of features (stimulus, ...) of stimuli `known`, for the ones that are in `ids`."""
    row = {key: i for i, key in enumerate(known)}
    kept = [i for i in ids if i in row]
    checks.at_least(f"stimuli that {name} and the reference share", len(kept), FEWEST)
    x = torch.from_numpy(np.asarray(values, dtype=np.float64)).flatten(1)[[row[i] for i in kept]]
    checks.finite(f"features of {name}", x)
    checks.at_least(f"features of {name}", x.shape[1], 2)
    rdm = dissimilarity(x, kept, measure="correlation", conditions=kept)
    return Geometry(name, rdm, None, (x.numpy(),))


def folds_of(trials: Trials) -> tuple[np.ndarray, str]:
    """A number for each trial: trials of a stimulus with different numbers have noise of their own; and a note.

    Runs where every run shows every stimulus; else the how-manieth presentation, dealt into at most four groups.
    """
    stimulus = np.unique(trials.table["stimulus_id"].astype(str), return_inverse=True)[1]
    session, run = (trials.table[c].astype(str) for c in ("session", "run"))
    of_run = np.unique(np.char.add(np.char.add(session, "|"), run), return_inverse=True)[1]
    table = np.zeros((of_run.max() + 1, stimulus.max() + 1), int)
    np.add.at(table, (of_run, stimulus), 1)
    if len(table) > 1 and (table > 0).all():
        return of_run, ""
    order = np.lexsort((np.arange(len(stimulus)), stimulus))
    starts = np.flatnonzero(np.r_[True, np.diff(stimulus[order]) > 0])
    occurrence = np.empty(len(stimulus), int)
    occurrence[order] = np.arange(len(stimulus)) - np.repeat(starts, np.diff(np.r_[starts, len(stimulus)]))
    fold = occurrence % max(2, min(MOST_FOLDS, int(np.bincount(stimulus).min())))
    pairs = set(zip(stimulus.tolist(), of_run.tolist(), strict=True))
    apart = len(pairs) < len(set(zip(stimulus.tolist(), of_run.tolist(), fold.tolist(), strict=True)))
    return fold, (
        "Some stimuli repeat within a run, and their repeats are compared as if their noise were independent."
        if apart else ""
    )  # fmt: skip


def _of_subject(
    trials: Trials, ids: Sequence[str], measure: str, choices: Choices
) -> tuple[RDM, RDM | None, np.ndarray, str, np.ndarray | None]:
    """(RDM, the same over time or None, mean patterns (stimulus, dim), a note, those of half the repeats or None)."""
    kept = trials.take(np.isin(trials.table["stimulus_id"].astype(str), list(ids)))
    x = _within_sessions(np.asarray(kept.responses, dtype=np.float32), kept.table["session"])
    x = x[:, x.reshape(len(x), x.shape[1], -1).std((0, 2)) > 0]
    stimulus = kept.table["stimulus_id"].astype(str)
    fold, note = folds_of(kept)
    crossed = measure == "crossnobis"
    times = kept.times
    if x.ndim == 3 and times is not None:
        x, times = _windows(x, times, choices.n_times)
    found = dissimilarity(
        torch.from_numpy(x), stimulus, measure=measure, run=fold if crossed else None, noise=choices.noise,
        conditions=ids, times=None if times is None else times.tolist(),
    )  # fmt: skip
    means = np.stack([x[stimulus == i].mean(0).ravel() for i in ids])
    halves, note = _halves(x, stimulus, fold, ids), note if crossed else ""
    if times is None:
        return found, None, means, note, halves
    after = [i for i, t in enumerate(times) if t >= 0] or list(range(len(times)))
    static = RDM(found.distances[after].mean(0), found.conditions, found.measure)
    return static, found, means, note, halves


def _halves(x: np.ndarray, stimulus: np.ndarray, fold: np.ndarray, ids: Sequence[str]) -> np.ndarray | None:
    """Mean patterns of even and of odd folds, (2, stimulus, dim); None where a stimulus is missing from either."""
    number = np.unique(fold, return_inverse=True)[1]
    parts = [number % 2 == side for side in (0, 1)]
    if not all(set(ids) <= set(stimulus[part].tolist()) for part in parts):
        return None
    return np.stack([[x[part & (stimulus == i)].mean(0).ravel() for i in ids] for part in parts])


def _within_sessions(x: np.ndarray, session: np.ndarray) -> np.ndarray:
    """Every channel about its mean in the session, in units of its spread there; labels are not looked at."""
    out = np.empty_like(x)
    for one in np.unique(session):
        here = session == one
        axes = (0,) if x.ndim == 2 else (0, 2)
        spread = x[here].std(axes, keepdims=True)
        out[here] = (x[here] - x[here].mean(0, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    return out


def _windows(x: np.ndarray, times: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of neighbouring samples, so that at most n windows are left."""
    width = -(-len(times) // n)
    whole = len(times) // width * width
    shape = (*x.shape[:2], whole // width, width)
    return x[..., :whole].reshape(shape).mean(-1), times[:whole].reshape(-1, width).mean(1)


def from_file(path: Path) -> tuple[list[str], np.ndarray]:
    checks.existing_file(
        path, "Name an .npz file with the arrays 'ids' and 'values', or cached embeddings (.h5)."
    )
    if path.suffix == ".h5":
        stored = store.Stored(path)
        return [str(i) for i in stored.array("ids").tolist()], np.asarray(stored.rows("values")[:])
    with np.load(path, allow_pickle=False) as held:
        missing = {"ids", "values"} - set(held.files)
        if missing:
            raise checks.DataFileError(
                path, f"holds {held.files}, not {sorted(missing)}", "Save both arrays by name."
            )
        ids, values = [str(i) for i in held["ids"].tolist()], held["values"]
    checks.same_length("stimulus", ids=ids, values=values)
    return ids, values


def _labels(word: str, dataset: NeuralDataset, ids: Sequence[str]) -> Geometry:
    labels = label_of(dataset, word.removeprefix("column:"), ids)
    _, number = np.unique(labels, return_inverse=True)
    if number.max() == 0:
        raise checks.ConfigError(f"{word}: all stimuli have one label; nothing is apart.")
    if number.max() == len(number) - 1:
        raise checks.ConfigError(
            f"{word}: all {len(number)} stimuli have labels of their own, so that all are equally far apart and any "
            "comparison is 0; name a column whose labels several stimuli share"
            + (
                "."
                if dataset.part_name is None
                else f", or take all parts, not {dataset.part_name!r} (--part all)."
            )
        )
    apart = (number[:, None] != number[None, :]).astype(np.float64)
    return Geometry(word, from_square(apart, ids, "category"), None, (np.eye(number.max() + 1)[number],))


def label_of(dataset: NeuralDataset, column: str, ids: Sequence[str]) -> np.ndarray:
    """The label of each of these stimuli in a column of trials or stimuli."""
    (trials, *_) = dataset.trials.values()
    values = splits.stimulus_column(trials, dataset.stimuli, column).astype(str)
    row = {key: i for i, key in enumerate(trials.table["stimulus_id"].astype(str))}
    return np.array([values[row[i]] for i in ids])


def _decoded(word: str, dataset: NeuralDataset, ids: Sequence[str]) -> Geometry:
    """What a saved decoder makes of each stimulus: mean over trials, distances averaged over subjects."""
    folder, _, layer = word.partition("@")
    decoder = BrainDecoder.from_pretrained(folder)
    rdms, patterns = [], []
    known = [trials for key, trials in dataset.trials.items() if key in decoder.preprocessing]
    if not known:
        raise checks.ConfigError(f"{word} knows {sorted(decoder.preprocessing)}, not {list(dataset.trials)}.")
    for trials in known:
        kept = trials.take(np.isin(trials.table["stimulus_id"].astype(str), list(ids)))
        predicted = None if layer else decoder.predict(kept)
        made = decoder.activations(layer, kept) if predicted is None else predicted.values
        stimulus = kept.table["stimulus_id"].astype(str) if predicted is None else np.array(predicted.ids)
        values = np.asarray(made, dtype=np.float64).reshape(len(stimulus), -1)
        means = np.stack([values[stimulus == i].mean(0) for i in ids])
        patterns.append(means)
        rdms.append(dissimilarity(means, ids, measure="correlation", conditions=ids))
    said = (
        f"{word} predicts from the recordings of {', '.join(trials.key for trials in known)}: beside these "
        "recordings its likeness holds their noise too, and no ceiling bounds it; judge it beside features.",
    )
    return Geometry(word, stack(rdms, "subject").mean("subject"), None, tuple(patterns), said)


def spread(names: Sequence[str], n: int) -> list[str]:
    """At most n of the names, evenly spread."""
    return [
        names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(n, len(names))).round().astype(int))
    ]


def short(word: str) -> str:
    """A word as figures show it."""
    return re.sub(r"^.*/(?=[^/]+$)", "", word) if "/" in word else word
