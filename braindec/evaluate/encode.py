"""Encoding models of prepared data: every layer to every voxel, beside nuisance features, ceilings and nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, encoding, seeding
from braindec.data import NeuralDataset
from braindec.data.preprocessing import AverageTime, Preprocessing, Standardise
from braindec.decoder import average_groups, group_repeats
from braindec.decoder.rows import applied, fitted_on
from braindec.evaluate import encode_ceilings
from braindec.evaluate.audit import audited_split
from braindec.evaluate.encode_fits import Pair, Task, run, standardised
from braindec.evaluate.encoded import SETTINGS, Encoded, Settings
from braindec.types import UNKNOWN, Embeddings, SubjectSignal, Trials

__all__ = ["PREPROCESSING", "SETTINGS", "Encoded", "Part", "Settings", "averaged", "encode", "times_of"]

# Sessions differ in scale, which no feature of a stimulus explains; epochs are thinned to what a model can tell apart.
PREPROCESSING = {
    "fmri": Preprocessing((Standardise(unit="session", scope="unit_train_rows"),)),
    "eeg": Preprocessing((AverageTime(3),)),
    "meg": Preprocessing((AverageTime(3),)),
}


def encode(
    dataset: NeuralDataset,
    layers: Mapping[str, Embeddings],
    nuisance: Mapping[str, Embeddings] | None = None,
    *,
    preprocessing: Mapping[str, Preprocessing] | Preprocessing | None = None,
    settings: Settings = SETTINGS,
    keys: Sequence[str] | None = None,
) -> dict[str, Encoded]:
    """Encoding models of every subject: fitted on the train part of the dataset's split, judged on its test part.

    Parameters
    ----------
    dataset : NeuralDataset
        With a split; repeats of a stimulus are averaged in both parts.
    layers : mapping of str to Embeddings
        Feature spaces in order, from early to late.
    nuisance : mapping of str to Embeddings, optional
        Low-level features and random networks: they stand beside every layer with a penalty of their own, and alone.
    preprocessing : Preprocessing, or mapping of such by modality, optional
        Fitted on training trials.
    settings : Settings
    keys : sequence of str, optional
        Subjects; all by default.

    Returns
    -------
    dict of str to Encoded
        By subject. Nothing is averaged over subjects here.

    Raises
    ------
    LeakageError
        If training and test part share what they must not: found before anything is fitted.
    """
    checks.at_least("number of layers", len(layers), 1)
    audited_split(dataset, preprocessing)
    train, test = dataset.part("train"), dataset.part("test")
    chosen = keys or [key for key in train.trials if key in test.trials]
    return {
        key: run(
            _task(key, train.trials[key], test.trials[key], layers, nuisance or {}, preprocessing, settings),
            settings,
        )
        for key in chosen
    }


def times_of(signal: SubjectSignal) -> np.ndarray | None:
    """Seconds from onset of an epoch's samples, (n_times,); None where the signal has no time axis."""
    if len(signal.shape) != 2 or signal.sfreq is None:
        return None
    return (signal.tmin or 0.0) + np.arange(signal.shape[1]) / signal.sfreq


@dataclass(frozen=True, eq=False)
class Part:
    """Mean responses (n, n_voxels) of the stimuli of one part."""

    ids: tuple[str, ...]
    y: Tensor


def _task(
    key: str, train: Trials, test: Trials, layers: Mapping[str, Embeddings], nuisance: Mapping[str, Embeddings],
    preprocessing: Any, settings: Settings,
) -> Task:  # fmt: skip
    steps = preprocessing.get(train.modality) if isinstance(preprocessing, Mapping) else preprocessing
    fitted = fitted_on(steps or Preprocessing(), train)
    single, held = (torch.from_numpy(applied(fitted, t).reshape(t.n_trials, -1)) for t in (train, test))
    a, b = averaged(train, single), averaged(test, held)
    order = torch.randperm(len(a.ids), generator=seeding.torch_generator(settings.seed, "encode folds", key))
    halves = seeding.torch_generator(settings.seed, "encode halves", key)
    ids = train.table["stimulus_id"], test.table["stimulus_id"]
    return Task(
        key=key, layers={name: _pair(space, a, b) for name, space in layers.items()},
        nuisance=_side_by_side([_pair(space, a, b) for space in nuisance.values()]), y=a.y, y_test=b.y,
        folds=tuple(part.sort().values for part in order.tensor_split(min(settings.n_folds, len(a.ids)))),
        reorder=partial(_shuffled, len(a.ids)), test=partial(_tested, settings.n_permutations),
        blocks=np.arange(len(b.ids)), test_ids=b.ids,
        ceilings=encode_ceilings.estimate(single, ids[0], held, ids[1], halves),
        space=fitted.signal.space, shape=tuple(fitted.signal.shape), times_s=times_of(fitted.signal), about={},
    )  # fmt: skip


def _shuffled(n: int, generator: np.random.Generator) -> np.ndarray:
    return generator.permutation(n)


def _tested(
    n: int, prediction: Tensor, truth: Tensor, generator: np.random.Generator
) -> encoding.Significance:
    return encoding.significance(prediction, truth, n, generator)


def averaged(trials: Trials, y: Tensor) -> Part:
    """Mean responses of stimuli over their trials; trials of unknown stimuli are left out.

    Parameters
    ----------
    trials : Trials
    y : Tensor, shape (n_trials, n_voxels)
        Their responses, prepared.
    """
    ids = trials.table["stimulus_id"]
    known = np.flatnonzero(ids != UNKNOWN)
    group, first = group_repeats(ids[known])
    mean = average_groups(y.numpy(), group, len(first), known)
    return Part(tuple(ids[known][first].tolist()), torch.from_numpy(mean))


def _pair(space: Embeddings, a: Part, b: Part) -> Pair:
    x, x_test = (torch.from_numpy(space.of(part.ids)).flatten(1) for part in (a, b))
    return standardised(x, x_test)


def _side_by_side(pairs: Sequence[Pair]) -> Pair | None:
    if not pairs:
        return None
    return torch.cat([x for x, _ in pairs], 1), torch.cat([x for _, x in pairs], 1)
