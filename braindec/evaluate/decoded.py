"""Held-out predictions beside their truth, centred as the protocol says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.data import NeuralDataset, Split, leakage, splits
from braindec.decoder import BrainDecoder
from braindec.evaluate.systems import Fitter, System
from braindec.protocols import Protocol
from braindec.types import Embeddings, Table

BRAIN_RETRIEVAL = "brain_retrieval"  # metrics of this beginning look along the responses of one image

# Splits that hold out at least what a protocol says is held out.
ENOUGH = {
    "stimulus": ("stimulus", "concept"),
    "concept": ("concept",),
    "run": ("run", "session", "subject"),
    "session": ("session", "subject"),
    "subject": ("subject",),
}


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
    similarity : Tensor, shape (n, n_candidates)
        The system's own: higher is more similar.
    candidates : tuple of str
        Stimulus ids or class names, the columns of `similarity`; empty where the protocol compares predictions only.
    brain_similarity : Tensor, shape (n, n_candidates), optional
        The system's own for finding the response that belongs to an image, where the protocol measures that.
    """

    key: str
    ids: tuple[str, ...]
    prediction: Tensor
    truth: Tensor
    fold: Tensor
    table: Table
    similarity: Tensor
    candidates: tuple[str, ...]
    brain_similarity: Tensor | None = None


def decode(
    system: System,
    test: NeuralDataset,
    embeddings: Embeddings,
    mean: np.ndarray,
    protocol: Protocol,
    candidates: tuple[tuple[str, ...], np.ndarray],
    fold: int = 0,
) -> dict[str, Decoded]:
    """Predictions for every test trial (or stimulus) of every subject.

    Parameters
    ----------
    mean : array, shape (n_tokens, n_dims)
        Of the training stimuli's embeddings.
    candidates : (names, values)
        Names and embeddings (n_candidates, n_tokens, n_dims) of what a trial is identified among.
    """
    out = {}
    names, values = candidates
    for key, trials in test.trials.items():
        found = system.predict(trials, repeats=protocol.repeats)
        truth = _centred(embeddings.of(found.ids), mean)
        made = _centred(found.values, mean)
        by_image = None
        if not names:
            similarity = torch.zeros(len(found.ids), 0)
        elif protocol.similarity == "own":
            similarity = system.similarity(found, values)
            if any(name.startswith(BRAIN_RETRIEVAL) for name in protocol.metrics):
                by_image = system.similarity(found, values, direction="brain")
        else:
            similarity = -torch.cdist(made.double(), _centred(values, mean).double()).square()
        folds = torch.full((len(found.ids),), fold)
        out[key] = Decoded(key, found.ids, made, truth, folds, found.table, similarity, names, by_image)
    return out


def candidates_of(
    protocol: Protocol,
    dataset: NeuralDataset,
    training: NeuralDataset,
    test: NeuralDataset,
    embeddings: Embeddings,
    label_column: str | None,
) -> tuple[tuple[str, ...], np.ndarray]:
    """(names, embeddings) of what a trial is identified among; a class is the mean of its training stimuli."""
    if protocol.candidates == "test_stimuli":
        return test.stimulus_ids, embeddings.of(test.stimulus_ids)
    if protocol.candidates == "classes":
        if label_column is None:
            raise ValueError(
                "this protocol compares classes; name the column that holds them (label_column)."
            )
        label_of = dataset.unit_labels("stimulus", label_column)
        names = tuple(sorted(set(label_of.values())))
        known = set(training.stimulus_ids)
        members = [[i for i, label in label_of.items() if label == name and i in known] for name in names]
        for name, ids in zip(names, members, strict=True):
            if not ids:
                raise checks.ConfigError(_never_shown(name, label_column, training, test))
        return names, np.stack([embeddings.of(ids).mean(0) for ids in members])
    return (), np.empty((0, 1, 1), np.float32)


def _never_shown(name: str, column: str, training: NeuralDataset, test: NeuralDataset) -> str:
    """That training shows no trial of a class, where it is shown, and the way out."""
    unit = "stimulus" if training.split is None else training.split.unit
    tested = list(test.trials.values())
    n = sum(int((splits.stimulus_column(t, test.stimuli, column).astype(str) == name).sum()) for t in tested)
    return (
        f"class {name!r} of column {column!r} has no trial in training and {n} in the test part, so it cannot be "
        f"learnt. Leave the class out, {splits.without(tested[0], column, [name])}; or hold out {unit}s that leave "
        f"some of its trials to train on: a class must be shown in two {unit}s or more."
    )


def cross_decode(
    fit: Fitter,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    splits: Sequence[Split],
    protocol: Protocol,
    seed: int,
    label_column: str | None = None,
    also: Callable[[System, NeuralDataset], None] | None = None,
) -> dict[str, Decoded]:
    """Fits on each split's train part and predicts its test part; the parts' predictions of a subject are joined.

    Train and test are checked for shared units first. A split of less than the protocol holds out is refused, and so is
    a test part of other stimuli or repeats than its name stands for. `also` sees every fitted system and test part.
    """
    parts: dict[str, list[Decoded]] = {}
    for number, split in enumerate(splits):
        _check_unit(protocol, split)
        whole = dataset.with_split(split)
        training, test = whole.part("train"), whole.part("test")
        leakage.check(training, test)
        check_list(protocol, test)
        mean = embeddings.of(training.stimulus_ids).mean(0)
        system = fit(training, embeddings, seed)
        if isinstance(system, BrainDecoder):
            leakage.check_fitted(training, test, system.preprocessing, system.provenance)
        among = candidates_of(protocol, dataset, training, test, embeddings, label_column)
        for key, decoded in decode(system, test, embeddings, mean, protocol, among, number).items():
            parts.setdefault(key, []).append(decoded)
        if also is not None:
            also(system, test)
    return {key: join(found) for key, found in parts.items()}


def join(parts: Sequence[Decoded]) -> Decoded:
    """Folds of one subject as one set of rows.

    Raises
    ------
    ValueError
        If the folds identified trials among different candidates: their similarities are no one table.
    """
    tables = [p.table for p in parts]
    table = Table({name: np.concatenate([t[name] for t in tables]) for name in tables[0]})
    if any(p.candidates != parts[0].candidates for p in parts):
        raise ValueError(
            f"the folds of {parts[0].key} have different candidates; identify among the stimuli of one test part, or "
            "use a protocol that compares within folds (heldout_stimuli_folds)."
        )
    ids = tuple(i for p in parts for i in p.ids)
    by_image = [p.brain_similarity for p in parts if p.brain_similarity is not None]
    return Decoded(
        parts[0].key,
        ids,
        torch.cat([p.prediction for p in parts]),
        torch.cat([p.truth for p in parts]),
        torch.cat([p.fold for p in parts]),
        table,
        torch.cat([p.similarity for p in parts]),
        parts[0].candidates,
        torch.cat(by_image) if by_image else None,
    )


def check_list(protocol: Protocol, test: NeuralDataset) -> None:
    """Refuses a test part whose stimuli, or repeats of them, are not the ones that the protocol's name stands for.

    An as-published variant is no protocol to run: it is computed beside the one that it departs from.
    """
    if protocol.corrects is not None:
        raise checks.ConfigError(
            f"{protocol.name!r} is computed and shown beside {protocol.corrects!r}; name that protocol instead."
        )
    named = protocol.pool.sha256 is not None and protocol.pool.ids == "concept"
    protocol.check_pool(test.stimulus_ids, test.unit_values("concept") if named else None)
    for trials in test.trials.values():
        ids, counts = np.unique(trials.table["stimulus_id"], return_counts=True)
        protocol.check_repeats(dict(zip(ids.tolist(), counts.tolist(), strict=True)))


def _check_unit(protocol: Protocol, split: Split) -> None:
    enough = checks.known_key("unit of a protocol", protocol.unit, ENOUGH)
    if split.unit not in enough:
        raise checks.LeakageError(
            f"protocol {protocol.name!r} holds out by {' or '.join(enough)}, but split {split.name!r} holds out by "
            f"{split.unit}: training would see what is tested. Use another split or protocol."
        )


def _centred(values: np.ndarray, mean: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32) - mean).flatten(1)
