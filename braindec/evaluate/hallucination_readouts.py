"""Attributes of pictures: how each is read from an embedding, and what is true of the stimuli."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from braindec import checks
from braindec.data import NeuralDataset
from braindec.maths.ridge import fit_ridge
from braindec.sparse.dictionary import Dictionary, activations
from braindec.types import Embeddings

SHRINKAGE = 0.02  # of the classes' common covariance towards a multiple of the identity
MIN_PER_CLASS = 2
ACTIVE = ("silent", "active")


@dataclass(frozen=True, eq=False)
class Attribute:
    """One thing that a picture shows.

    Parameters
    ----------
    name : str
        E.g. ``"colour"``.
    values : tuple of str
        Names of the classes; empty for a number.
    read : callable
        ``read(embeddings) -> probabilities (n, n_classes)``, or numbers (n,); embeddings (n, n_tokens, n_dims).
    truth : mapping of str to int or float
        By stimulus: position in `values`, or the number; stimuli of which it is not known are not there.
    """

    name: str
    values: tuple[str, ...]
    read: Callable[[np.ndarray], np.ndarray]
    truth: Mapping[str, float]

    def known(self, ids: Sequence[str]) -> np.ndarray:
        """Whether the truth of each stimulus is known, bool (n,)."""
        return np.array([i in self.truth for i in ids], dtype=bool)

    def of(self, ids: Sequence[str]) -> np.ndarray:
        """The truth of these stimuli: int64 (n,) of classes, float64 (n,) of a number."""
        return np.array([self.truth[i] for i in ids], dtype=np.int64 if self.values else np.float64)

    def readings(self, draws: np.ndarray) -> np.ndarray:
        """What `read` says of embeddings (n_samples, n, n_tokens, n_dims): (n_samples, n, ...)."""
        found = self.read(draws.reshape(-1, *draws.shape[2:]))
        return found.reshape(*draws.shape[:2], *found.shape[1:])


def attributes_of(
    part: NeuralDataset, dataset: NeuralDataset, embeddings: Embeddings, columns: Mapping[str, str]
) -> tuple[Attribute, ...]:
    """Attributes named by columns of the stimulus table, each read by a readout of the training stimuli alone.

    Parameters
    ----------
    part : NeuralDataset
        The training part: readouts are fitted on its stimuli and no others.
    dataset : NeuralDataset
        All stimuli: what is true of them, to judge verdicts by.
    embeddings : Embeddings
    columns : mapping of str to str
        Column of the stimulus table by name of the attribute. Texts are classes (an empty one is not known), numbers
        numbers (NaN is not known).
    """
    table = dataset.stimuli.table
    if table is None:
        raise ValueError("the stimuli of this dataset have no table; attributes are its columns.")
    training = list(part.stimulus_ids)
    out = []
    for name, column in columns.items():
        values = checks.known_key("column", column, table)
        out.append(
            attribute(
                name, dict(zip(dataset.stimuli.ids, values.tolist(), strict=True)), training, embeddings
            )
        )
    return tuple(out)


def attribute(
    name: str, labels: Mapping[str, Any], training: Sequence[str], embeddings: Embeddings
) -> Attribute:
    """An attribute whose readout is fitted on training stimuli: classes where labels are texts, else a number."""
    known = {i: v for i, v in labels.items() if v != "" and v == v}
    ids = [i for i in training if i in known]
    x = embeddings.of(ids)
    if not all(isinstance(v, str) for v in known.values()):
        truth = {i: float(v) for i, v in known.items()}
        return Attribute(name, (), number_readout(x, np.array([truth[i] for i in ids])), truth)
    classes = tuple(sorted({known[i] for i in ids}))
    place = {value: k for k, value in enumerate(classes)}
    truth = {i: place[v] for i, v in known.items() if v in place}
    return Attribute(name, classes, class_readout(x, np.array([truth[i] for i in ids])), truth)


def latent_attribute(name: str, model: Dictionary, latent: int, embeddings: Embeddings) -> Attribute:
    """Whether a latent of a sparse autoencoder is active: read, and true, by definition.

    Parameters
    ----------
    name : str
        What the latent is called.
    model : Dictionary
        Of embeddings whose tokens are averaged, (n, n_dims); fitted on training stimuli.
    latent : int
    embeddings : Embeddings
        Of all stimuli.
    """

    read = LatentReadout(model, latent)
    found = read(embeddings.of(embeddings.ids))[:, 1].astype(int)
    return Attribute(name, ACTIVE, read, dict(zip(embeddings.ids, found.tolist(), strict=True)))


@dataclass(frozen=True, eq=False)
class LatentReadout:
    """Whether a latent is silent or active, as probabilities 0 and 1."""

    model: Dictionary
    latent: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(n, n_tokens, n_dims) to (n, 2)."""
        flat = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).mean(1)
        active = (activations(self.model, flat)[:, self.latent] > 0).numpy().astype(np.float64)
        return np.stack([1 - active, active], axis=1)


@dataclass(frozen=True, eq=False)
class LinearReadout:
    """What an affine map of flattened, standardised embeddings says: numbers, or probabilities of classes.

    Parameters
    ----------
    centre, scale : ndarray, shape (n_values,)
    weight : ndarray, shape (n_values,) or (n_values, n_classes)
    bias : float or ndarray, shape (n_classes,)
    """

    centre: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: Any

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(n, n_tokens, n_dims) to numbers (n,), or to (n, n_classes) whose rows sum to 1."""
        found: np.ndarray = (
            values.reshape(len(values), -1) - self.centre
        ) / self.scale @ self.weight + self.bias
        if found.ndim == 1:
            return found
        odds = np.exp(found - found.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)


def class_readout(embeddings: np.ndarray, labels: np.ndarray) -> LinearReadout:
    """Probabilities of classes from embeddings, by linear discriminant analysis.

    Parameters
    ----------
    embeddings : float array, shape (n, n_tokens, n_dims)
    labels : int array, shape (n,)
        0 .. n_classes - 1, each there at least twice.

    """
    counts = np.bincount(labels)
    checks.at_least("training stimuli of the rarest class", int(counts.min()), MIN_PER_CLASS)
    flat, centre, scale = _standardised(embeddings)
    means = np.stack([flat[labels == k].mean(0) for k in range(len(counts))])
    rest = flat - means[labels]
    common = rest.T @ rest / max(len(flat) - len(counts), 1)
    ridge = SHRINKAGE * np.trace(common) / len(common)
    weight = np.linalg.solve(
        (1 - SHRINKAGE) * common + ridge * np.eye(len(common)), means.T
    )  # (value, class)
    bias = np.log(counts / counts.sum()) - 0.5 * (means * weight.T).sum(1)
    return LinearReadout(centre, scale, weight, bias)


def number_readout(embeddings: np.ndarray, numbers: np.ndarray) -> LinearReadout:
    """A number from embeddings (m, n_tokens, n_dims), by ridge with the penalty of least leave-one-out error."""
    flat, centre, scale = _standardised(embeddings)
    alphas = [share * len(flat) for share in (1e-4, 1e-3, 1e-2, 1e-1, 1.0)]
    target = torch.from_numpy(numbers.astype(np.float64))[:, None]
    fit = fit_ridge(torch.from_numpy(flat), target, alphas, "loo", score="neg_mse")
    return LinearReadout(centre, scale, fit.weights.numpy()[:, 0], float(fit.intercept[0]))


def _standardised(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flattened float64 values (n, value) of mean 0 and SD 1, and both."""
    flat = embeddings.reshape(len(embeddings), -1).astype(np.float64)
    centre, spread = flat.mean(0), flat.std(0)
    scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, 1.0)
    return (flat - centre) / scale, centre, scale
