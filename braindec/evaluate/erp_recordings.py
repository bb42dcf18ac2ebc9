"""Epochs of several subjects and sessions as one tensor, with a code for whoever and whatever each is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.data import NeuralDataset, splits
from braindec.data.preprocessing import Preprocessing
from braindec.decoder.rows import applied, fitted_on
from braindec.evaluate.encode import times_of
from braindec.synthesis import Epochs, Factors
from braindec.types import Space, SubjectSignal, Trials

MICRO = 1e6  # volts are shown as microvolts
NAMES = ("subject", "session", "class")
FEWEST = 3  # held-out trials of a cell: intervals leave out a tenth of all, and some must stay


@dataclass(frozen=True, eq=False)
class Recording:
    """Both parts of a split.

    Parameters
    ----------
    train, test : Epochs
        Codes are (subject, session counted over all subjects, whether it is the target class).
    factors : Factors
    units : array of text, shape (n_train,)
        Unit of the split (run) that each training trial is of.
    times_s : Tensor, shape (n_times,)
    sfreq : float
        Hz.
    space : Space
    unit : str
        Of the values: ``"µV"`` where they were recorded in V.
    subjects : tuple of int
    modality : str
    classes : (str, str)
        The target second.
    sessions : tuple of str
        Names, by code.
    """

    train: Epochs
    test: Epochs
    factors: Factors
    units: np.ndarray
    times_s: Tensor
    sfreq: float
    space: Space
    unit: str
    subjects: tuple[int, ...]
    modality: str
    classes: tuple[str, str]
    sessions: tuple[str, ...]

    def channel(self, number: int) -> str:
        """The name of a channel, or its number where channels have no names."""
        names = getattr(self.space, "names", ())
        return str(names[number]) if len(names) else f"channel {number + 1}"


def recorded(whole: NeuralDataset, label_column: str, target: str, preprocessing: Preprocessing) -> Recording:
    """The two parts of a dataset's split as epochs, preprocessed by what each subject's training trials say.

    Raises
    ------
    ValueError
        If there is no split, there are not two classes, channels differ between subjects, a session is in
        one part alone, or a part of a session has too few trials of a class.
    """
    if whole.split is None:
        raise ValueError("this dataset has no split; give it one with with_split(...).")
    parts = [whole.part(name).trials for name in ("train", "test")]
    keys = [key for key in parts[0] if key in parts[1]]
    kinds = {
        (i, k): splits.stimulus_column(parts[i][k], whole.stimuli, label_column) for k in keys for i in (0, 1)
    }
    classes = np.unique(np.concatenate(list(kinds.values())).astype(str)).tolist()
    if len(classes) != 2:
        raise ValueError(f"two classes are compared, column {label_column!r} has {len(classes)}.")
    checks.one_of("target", target, classes)
    sessions = sorted(
        {(k, s) for part in parts for k in keys for s in part[k].table["session"].astype(str).tolist()}
    )
    fitted = [fitted_on(preprocessing, parts[0][key]) for key in keys]
    signal = _same_channels([one.signal for one in fitted])
    in_volts = {parts[0][key].units for key in keys} == {"V"}
    epochs = []
    for i, part in enumerate(parts):
        values = [
            np.asarray(applied(one, part[key]), np.float32) for one, key in zip(fitted, keys, strict=True)
        ]
        codes = [_codes(part[k], n, sessions, kinds[i, k].astype(str) == target) for n, k in enumerate(keys)]
        both = torch.from_numpy(np.concatenate(values)), torch.from_numpy(np.concatenate(codes))
        epochs.append(Epochs((MICRO if in_volts else 1.0) * both[0], both[1]))
    missing = {tuple(c) for c in epochs[1].codes.tolist()} - {tuple(c) for c in epochs[0].codes.tolist()}
    if missing:
        raise ValueError(
            f"{len(missing)} conditions (subject, session, class) are tested and never trained on, first "
            f"{min(missing)}; split by run, so that every session is in both parts."
        )
    factors = Factors(NAMES, (len(keys), len(sessions), 2))
    names = [f"{s!r} of {key}" for key, s in sessions]
    for words, one, least in zip(("training", "held-out"), epochs, (1, FEWEST), strict=True):
        _check_cells(words, one, names, (next(c for c in classes if c != target), target), least)
    units = [splits.unit_values(parts[0][key], whole.stimuli, whole.split.unit) for key in keys]
    times = times_of(signal)
    return Recording(
        epochs[0], epochs[1], factors, np.concatenate(units),
        torch.from_numpy(np.asarray(times, np.float32)), float(signal.sfreq or 0), signal.space,
        "µV" if in_volts else parts[0][keys[0]].units, tuple(parts[0][k].subject for k in keys), signal.modality,
        (next(c for c in classes if c != target), target), tuple(s for _, s in sessions),
    )  # fmt: skip


def _codes(
    trials: Trials, subject: int, sessions: Sequence[tuple[str, str]], target: np.ndarray
) -> np.ndarray:
    """(n, 3) of one subject's trials."""
    found = [sessions.index((trials.key, s)) for s in trials.table["session"].astype(str).tolist()]
    return np.stack([np.full(trials.n_trials, subject), found, target.astype(int)], 1)


def _check_cells(
    part: str, epochs: Epochs, sessions: Sequence[str], classes: Sequence[str], least: int
) -> None:
    """Refuses a part where a session has fewer trials of a class: its ERP would be a mean of nothing."""
    for session, name in enumerate(sessions):
        for kind, label in enumerate(classes):
            checks.at_least(
                f"{part} trials of class {label!r} in session {name}",
                int(((epochs.codes[:, 1] == session) & (epochs.codes[:, 2] == kind)).sum()),
                least,
                way_out="Split by a run that every session has, so that both parts hold both classes of it.",
            )


def _same_channels(signals: Sequence[SubjectSignal]) -> SubjectSignal:
    """What all subjects' epochs are like; refuses subjects that differ."""
    first = signals[0]
    for one in signals:
        if times_of(one) is None:
            raise ValueError(f"{one.key} has no channels and times after preprocessing, but {one.shape}.")
        names = [getattr(s.space, "names", None) for s in (first, one)]
        if one.shape != first.shape or names[0] != names[1]:
            raise ValueError(
                f"{one.key} has {one.shape[0]} channels and {one.shape[1]} times, {first.key} {first.shape[0]} and "
                f"{first.shape[1]}, or their channels have other names; prepare subjects with the same ones."
            )
    return first
