"""Encoding models of stories and films: trials are volumes, features reach back in time, nothing crosses runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from braindec import checks, encoding, seeding
from braindec.data import NeuralDataset
from braindec.data.cifti import runs_of
from braindec.data.preprocessing import Preprocessing
from braindec.decoder.rows import applied, fitted_on
from braindec.encoding.judging import moved
from braindec.evaluate import encode_ceilings
from braindec.evaluate.audit import audited_split
from braindec.evaluate.encode_fits import Pair, Task, run, standardised
from braindec.evaluate.encoded import SETTINGS, Encoded, Settings
from braindec.maths import folds as fold_rules
from braindec.types import Embeddings, Trials

FIR, HRF = "fir", "hrf"


@dataclass(frozen=True)
class Timing:
    """How responses follow a continuous stimulus.

    Parameters
    ----------
    model : {"fir", "hrf"}
        A weight for each of `delays_s`, or one for the features convolved with the canonical response.
    delays_s : tuple of float
        Seconds from a stretch to the volumes that it may move.
    gap_s : float
        Seconds between what is learned from and what is held out, at least the haemodynamic response; pieces of this
        length trade places in tests.
    shift : {"block", "circular"}
        Null orders: pieces of each run trade places, or each run is rotated.
    lag_s : float or None
        Seconds from the begin of a trial's stretch to its volume; None: as the prepared dataset says (``hrf_lag_s``).
    """

    model: str = FIR
    delays_s: tuple[float, ...] = (2.0, 4.0, 6.0, 8.0)
    gap_s: float = 16.0
    shift: str = "block"
    lag_s: float | None = None

    def __post_init__(self) -> None:
        checks.one_of("model", self.model, (FIR, HRF))
        checks.one_of("shift", self.shift, ("block", "circular"))
        checks.unique("delays_s", list(self.delays_s))
        checks.at_least("gap_s", self.gap_s, 0.0, unit="s")


TIMING = Timing()


def encode_continuous(
    dataset: NeuralDataset,
    layers: Mapping[str, Embeddings],
    nuisance: Mapping[str, Embeddings] | None = None,
    *,
    timing: Timing = TIMING,
    preprocessing: Preprocessing | None = None,
    settings: Settings = SETTINGS,
    keys: Sequence[str] | None = None,
) -> dict[str, Encoded]:
    """Encoding models of every subject whose trials are the volumes of stories, films or music.

    Parameters
    ----------
    dataset : NeuralDataset
        With a split; trials of a run are equally spaced in `onset_s`. Runs with the same stretches in the same order
        are averaged.
    layers, nuisance : mapping of str to Embeddings
        Of the stretches, averaged over tokens.
    timing : Timing
    preprocessing : Preprocessing, optional
        Fitted on training trials.
    settings : Settings
    keys : sequence of str, optional

    Returns
    -------
    dict of str to Encoded
        Responses and features are centred in each run of each part. Penalties and layers are chosen by folds that hold
        out a block of every run with a gap around it; training volumes within the gap of a test volume of the same run
        are left out.

    Raises
    ------
    ValueError
        If trials of a run are not equally spaced, or a run is too short for its folds.
    """
    checks.at_least("number of layers", len(layers), 1)
    if dataset.split is None:
        raise ValueError("this dataset has no split; give it one with with_split(...).")
    audited_split(dataset)
    train, test = dataset.part("train"), dataset.part("test")
    chosen = keys or [key for key in train.trials if key in test.trials]
    out = {}
    for key in chosen:
        trials = dataset.trials[key]
        fitted = fitted_on(preprocessing or Preprocessing(), train.trials[key])
        responses = torch.from_numpy(applied(fitted, trials).reshape(trials.n_trials, -1))
        parts = {p: dataset.split.members(trials, dataset.stimuli, p) for p in ("train", "test")}
        film = _timeline(trials, responses, parts, _lag(dataset, timing), timing)
        made = _task(key, film, layers, nuisance or {}, timing, settings)
        ceilings = _ceilings(key, trials, responses, parts, film, settings)
        signal = fitted.signal
        out[key] = run(
            Task(**made, ceilings=ceilings, space=signal.space, shape=tuple(signal.shape), times_s=None),
            settings,
        )
    return out


@dataclass(frozen=True, eq=False)
class _Timeline:
    """Rows in the order of time within each medium: responses averaged over its repeats, and the part of each row."""

    ids: tuple[str, ...]
    y: Tensor
    run: np.ndarray  # number of the medium, one a row
    part: np.ndarray  # "train", "test", or "" of rows that belong to neither or lie in the gap
    averaged: np.ndarray  # runs behind each row
    shifts: tuple[int, ...]  # rows by which a response follows the features of a delay, or of a tap
    taps: Tensor | None
    gap: int
    left_out: int


def _lag(dataset: NeuralDataset, timing: Timing) -> float:
    if timing.lag_s is not None:
        return timing.lag_s
    if dataset.about is None or "hrf_lag_s" not in dataset.about:
        raise ValueError(
            "the dataset does not say by how much its volumes follow their stretches (hrf_lag_s); "
            "give Timing(lag_s=...)."
        )
    return float(dataset.about["hrf_lag_s"])


def _timeline(
    trials: Trials, responses: Tensor, parts: Mapping[str, np.ndarray], lag_s: float, timing: Timing
) -> _Timeline:
    """Runs of one medium become one; a row's part, and its distance from the other part, are then known."""
    media: dict[tuple[str, ...], list[np.ndarray]] = {}
    ids = trials.table["stimulus_id"]
    for rows in runs_of(trials).values():
        media.setdefault(tuple(ids[rows].tolist()), []).append(rows)
    step = _step(trials, [rows for several in media.values() for rows in several])
    gap = int(np.ceil(timing.gap_s / step - 1e-9))
    y, part, run, averaged = [], [], [], []
    for number, several in enumerate(media.values()):
        y.append(torch.stack([responses[rows] for rows in several]).mean(0))
        own = np.full(len(several[0]), "", dtype="<U5")
        for name in ("train", "test"):
            own[np.any([parts[name][rows] for rows in several], axis=0)] = name
        held = np.flatnonzero(own == "test")
        near = np.abs(np.arange(len(own))[:, None] - held).min(1, initial=len(own) + gap + 1) <= gap
        part.append(np.where((own == "train") & near, "", own))
        run.append(np.full(len(own), number))
        averaged.append(np.full(len(own), len(several)))
    shifts, taps = _shifts(step, lag_s, timing)
    kept = np.concatenate(part)
    n_train = sum(
        int(parts["train"][rows].any()) for several in media.values() for rows in several[0][:, None]
    )
    return _Timeline(
        tuple(i for names in media for i in names), torch.cat(y), np.concatenate(run), kept,
        np.concatenate(averaged), shifts, taps, gap,
        n_train - int((kept == "train").sum()),
    )  # fmt: skip


def _step(trials: Trials, runs: Sequence[np.ndarray]) -> float:
    """Seconds from one trial to the next, the same in all runs."""
    onsets = [trials.table["onset_s"][rows].astype(np.float64) for rows in runs]
    steps = np.unique(np.round(np.concatenate([np.diff(o) for o in onsets]), 6))
    if len(steps) != 1 or steps[0] <= 0:
        raise ValueError(
            f"trials of a run must follow each other at one distance, got {steps.tolist()[:5]} s; "
            "encode treats them as separate stimuli."
        )
    return float(steps[0])


def _shifts(step: float, lag_s: float, timing: Timing) -> tuple[tuple[int, ...], Tensor | None]:
    """Rows from a stretch's own trial to those that a delay (tap) moves, and the taps of the canonical response."""
    if timing.model == FIR:
        rows = [round((delay - lag_s) / step) for delay in timing.delays_s]
        return tuple(sorted(set(rows))), None
    taps = encoding.canonical_response(1 / step)
    return tuple(i - round(lag_s / step) for i in range(len(taps))), taps


def _task(
    key: str, film: _Timeline, layers: Mapping[str, Embeddings], nuisance: Mapping[str, Embeddings],
    timing: Timing, settings: Settings,
) -> dict[str, Any]:  # fmt: skip
    """The entries of a `Task` that the time line decides."""
    a, b = (np.flatnonzero(film.part == name) for name in ("train", "test"))
    run_a, run_b = film.run[a], film.run[b]
    length = max(1, film.gap)
    low = [_features(space, film, a, b) for space in nuisance.values()]
    about = {
        "model": timing.model, "shifts": list(film.shifts), "gap_s": timing.gap_s, "left_out": film.left_out,
        "n_training_runs": len(np.unique(run_a)), "n_test_runs": len(np.unique(run_b)),
    }  # fmt: skip
    return {
        "key": key, "layers": {name: _features(space, film, a, b) for name, space in layers.items()},
        "nuisance": None if not low else (torch.cat([x for x, _ in low], 1), torch.cat([x for _, x in low], 1)),
        "y": _centred(film.y[a], run_a), "y_test": _centred(film.y[b], run_b),
        "folds": fold_rules.folds_by_block(len(a), settings.n_folds, film.gap, run_a),
        "reorder": partial(_reordered, run_a, timing.shift, length),
        "test": partial(_tested, settings.n_permutations, run_b, timing.shift, length),
        "blocks": _joined(_pieces(run_b, length), [film.ids[i] for i in b]),
        "test_ids": tuple(film.ids[i] for i in b), "about": about,
    }  # fmt: skip


def _features(space: Embeddings, film: _Timeline, a: np.ndarray, b: np.ndarray) -> Pair:
    """Features of both parts' rows: standardised by the training part, then delayed or convolved within each medium."""
    values = torch.from_numpy(space.of(film.ids)).mean(1)
    x, everything = standardised(values[a], values)
    everything[a] = x
    if film.taps is None:
        late = encoding.delayed(everything, film.shifts, film.run)
    else:
        late = torch.zeros_like(everything)
        for shift, tap in zip(film.shifts, film.taps.tolist()):
            late += tap * encoding.delayed(everything, [shift], film.run)
    return standardised(_centred(late[a], film.run[a]), _centred(late[b], film.run[b]))


def _centred(x: Tensor, run: np.ndarray) -> Tensor:
    """Without the mean of each run: runs differ in level, and no reordering inside of runs would undo that."""
    out = torch.empty_like(x)
    for name in np.unique(run):
        rows = torch.from_numpy(np.flatnonzero(run == name))
        out[rows] = x[rows] - x[rows].mean(0)
    return out


def _pieces(run: np.ndarray, length: int) -> np.ndarray:
    """Number of the piece of `length` neighbouring rows that each row lies in; pieces end with their run."""
    out, first = np.empty(len(run), dtype=np.int64), 0
    for name in np.unique(run):
        rows = np.flatnonzero(run == name)
        out[rows] = first + np.arange(len(rows)) // length
        first = int(out[rows[-1]]) + 1
    return out


def _joined(pieces: np.ndarray, ids: Sequence[str]) -> np.ndarray:
    """Pieces that hold the same stretch are one: a clip that is played again in its run is no new stimulus."""
    stretch = np.unique(ids, return_inverse=True)[1]
    pairs = coo_array((np.ones(len(pieces)), (pieces, stretch))).tocsr()
    return connected_components(pairs @ pairs.T, directed=False)[1][pieces]


def _reordered(run: np.ndarray, shift: str, length: int, generator: np.random.Generator) -> np.ndarray:
    """An order of training rows under which responses belong to other moments of their run."""
    # Pieces may stay where they are: without them the null of centred runs would lie below zero.
    return moved(run, generator, shift, length)


def _tested(
    n: int, run: np.ndarray, shift: str, length: int, prediction: Tensor, truth: Tensor,
    generator: np.random.Generator,
) -> encoding.Significance:  # fmt: skip
    return encoding.significance(
        prediction, truth, n, generator, blocks=run, shift=shift, block_length=length
    )


def _ceilings(
    key: str, trials: Trials, responses: Tensor, parts: Mapping[str, np.ndarray], film: _Timeline,
    settings: Settings,
) -> encode_ceilings.Ceilings | None:  # fmt: skip
    ids, run = trials.table["stimulus_id"], trials.table["run"].astype(str)
    a, b = (np.flatnonzero(parts[name]) for name in ("train", "test"))
    generator = seeding.torch_generator(settings.seed, "encode halves", key)
    averaged = {name: film.averaged[film.part == name] for name in ("train", "test")}
    # As what is predicted is: the level of a run is no signal to repeat, and no noise.
    single, held = (_centred(responses[rows], run[rows]) for rows in (a, b))
    return encode_ceilings.estimate(single, ids[a], held, ids[b], generator, averaged)
