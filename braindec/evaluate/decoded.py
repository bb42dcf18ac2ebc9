"""Held-out predictions beside their truth, centred as the protocol says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec.data import NeuralDataset, Split, leakage
from braindec.evaluate.systems import Fitter, System
from braindec.protocols import Protocol
from braindec.types import Embeddings, Table


@dataclass(frozen=True, eq=False)
class Decoded:
    """Held-out predictions of one subject.

    Parameters
    ----------
    key : str
    ids : tuple of str
        Stimulus of each row.
    prediction, truth : Tensor, shape (n, n_tokens * n_dims)
        The training stimuli's mean removed.
    fold : int Tensor, shape (n,)
        Which fit predicted the row.
    table : Table
        Trial table of the rows.
    candidates : Tensor, shape (n_candidates, n_tokens * n_dims)
        What the rows are identified among (of the last fold where folds differ), its ids beside it.
    candidate_ids : tuple of str
    """

    key: str
    ids: tuple[str, ...]
    prediction: Tensor
    truth: Tensor
    fold: Tensor
    table: Table
    candidates: Tensor
    candidate_ids: tuple[str, ...]


def decode(
    system: System,
    test: NeuralDataset,
    embeddings: Embeddings,
    mean: np.ndarray,
    protocol: Protocol,
    fold: int = 0,
) -> dict[str, Decoded]:
    """Predictions for every test trial (or stimulus) of every subject.

    Parameters
    ----------
    mean : array, shape (n_tokens, n_dims)
        Of the training stimuli's embeddings.
    """
    out = {}
    candidate_ids = test.stimulus_ids
    candidates = _centred(embeddings.of(candidate_ids), mean)
    for key, trials in test.trials.items():
        found = system.predict(trials, repeats=protocol.repeats)  # type: ignore[arg-type]  # checked by Protocol
        truth = _centred(embeddings.of(found.ids), mean)
        folds = torch.full((len(found.ids),), fold)
        out[key] = Decoded(
            key, found.ids, _centred(found.values, mean), truth, folds, found.table, candidates, candidate_ids
        )
    return out


def cross_decode(
    fit: Fitter,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    splits: Sequence[Split],
    protocol: Protocol,
    seed: int,
) -> dict[str, Decoded]:
    """Fits on each split's train part and predicts its test part; the parts' predictions of a subject are joined.

    Train and test are checked for shared units first.
    """
    parts: dict[str, list[Decoded]] = {}
    for number, split in enumerate(splits):
        whole = dataset.with_split(split)
        training, test = whole.part("train"), whole.part("test")
        leakage.check(training, test)
        mean = embeddings.of(training.stimulus_ids).mean(0)
        system = fit(training, embeddings, seed)
        for key, decoded in decode(system, test, embeddings, mean, protocol, number).items():
            parts.setdefault(key, []).append(decoded)
    return {key: join(found) for key, found in parts.items()}


def join(parts: Sequence[Decoded]) -> Decoded:
    """Folds of one subject as one set of rows."""
    tables = [p.table for p in parts]
    table = Table({name: np.concatenate([t[name] for t in tables]) for name in tables[0]})
    return Decoded(
        parts[0].key,
        tuple(i for p in parts for i in p.ids),
        torch.cat([p.prediction for p in parts]),
        torch.cat([p.truth for p in parts]),
        torch.cat([p.fold for p in parts]),
        table,
        parts[-1].candidates,
        parts[-1].candidate_ids,
    )


def _centred(values: np.ndarray, mean: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32) - mean).flatten(1)
