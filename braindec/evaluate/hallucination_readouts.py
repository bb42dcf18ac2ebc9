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
NEVER = 1e-9  # how often a class is seen that is not there
N_PARTS = 10  # in which readouts are fitted again without stimuli that they are to be calibrated on
Read = Callable[[np.ndarray], np.ndarray]


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
    without : callable, optional
        ``without(ids) -> read``, fitted without these stimuli: a readout knows its own training stimuli too well to be
        calibrated on them. None where nothing was fitted to labels.
    """

    name: str
    values: tuple[str, ...]
    read: Read
    truth: Mapping[str, float]
    without: Callable[[Sequence[str]], Read] | None = None

    def known(self, ids: Sequence[str]) -> np.ndarray:
        """Whether the truth of each stimulus is known, bool (n,)."""
        return np.array([i in self.truth for i in ids], dtype=bool)

    def of(self, ids: Sequence[str]) -> np.ndarray:
        """The truth of these stimuli: int64 (n,) of classes, float64 (n,) of a number."""
        return np.array([self.truth[i] for i in ids], dtype=np.int64 if self.values else np.float64)

    def readings(self, draws: np.ndarray) -> np.ndarray:
        """What `read` says of embeddings (n_samples, n, n_tokens, n_dims): (n_samples, n, ...)."""
        return _read_all(self.read, draws)

    def unseen_readings(self, ids: Sequence[str], draws: np.ndarray) -> np.ndarray:
        """The same of stimuli with these names (n of them), each read by a readout that it was not fitted on."""
        if self.without is None or len(ids) < 2:
            return self.readings(draws)
        parts = np.array_split(np.arange(len(ids)), min(N_PARTS, len(ids)))
        found = [_read_all(self.without([ids[i] for i in rows]), draws[:, rows]) for rows in parts]
        return np.concatenate(found, axis=1)


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
    classes: tuple[str, ...] = ()
    truth: dict[str, float]
    if all(isinstance(v, str) for v in known.values()):
        classes = tuple(sorted({known[i] for i in ids}))
        place = {value: k for k, value in enumerate(classes)}
        truth = {i: place[v] for i, v in known.items() if v in place}
    else:
        truth = {i: float(v) for i, v in known.items()}
    values = np.array([truth[i] for i in ids])

    without = _Refit(tuple(ids), x, values, len(classes))
    return Attribute(name, classes, without(()), truth, without)


@dataclass(frozen=True, eq=False)
class _Refit:
    """A readout without some of its stimuli; an object, because it travels between processes."""

    ids: tuple[str, ...]
    x: np.ndarray
    values: np.ndarray
    n_classes: int

    def __call__(self, left_out: Sequence[str]) -> Read:
        hidden = set(left_out)
        kept = np.array([i not in hidden for i in self.ids], dtype=bool)
        if not self.n_classes:
            return number_readout(self.x[kept], self.values[kept])
        return class_readout(self.x[kept], self.values[kept], self.n_classes if hidden else None)


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


def latent_attributes(
    model: Dictionary, embeddings: Embeddings, n: int, names: Mapping[int, str] | None = None
) -> tuple[Attribute, ...]:
    """The `n` latents whose activity is least certain beforehand: active in nearly half of all stimuli.

    Parameters
    ----------
    model, embeddings
        See `latent_attribute`.
    n : int
    names : mapping of int to str, optional
        Words of latents.
    """
    flat = torch.from_numpy(np.ascontiguousarray(embeddings.of(embeddings.ids), dtype=np.float32)).mean(1)
    share = (activations(model, flat) > 0).float().mean(0)
    chosen = (share - 0.5).abs().argsort(stable=True)[:n].tolist()
    words = {i: f" ({word})" for i, word in (names or {}).items()}
    return tuple(latent_attribute(f"latent {i}{words.get(i, '')}", model, i, embeddings) for i in chosen)


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


def class_readout(embeddings: np.ndarray, labels: np.ndarray, n_classes: int | None = None) -> LinearReadout:
    """Probabilities of classes from embeddings, by linear discriminant analysis.

    Parameters
    ----------
    embeddings : float array, shape (n, n_tokens, n_dims)
    labels : int array, shape (n,)
        0 .. n_classes - 1, each there at least twice.
    n_classes : int, optional
        Where some classes may have no stimuli left: these are then held impossible.
    """
    counts = np.bincount(labels, minlength=n_classes or 0)
    if n_classes is None:
        checks.at_least("training stimuli of the rarest class", int(counts.min()), MIN_PER_CLASS)
    flat, centre, scale = _standardised(embeddings)
    means = np.stack([flat[labels == k].sum(0) / max(n, 1) for k, n in enumerate(counts.tolist())])
    rest = flat - means[labels]
    common = rest.T @ rest / max(len(flat) - len(counts), 1)
    ridge = SHRINKAGE * np.trace(common) / len(common)
    weight = np.linalg.solve(
        (1 - SHRINKAGE) * common + ridge * np.eye(len(common)), means.T
    )  # (value, class)
    bias = np.log(np.maximum(counts, NEVER) / counts.sum()) - 0.5 * (means * weight.T).sum(1)
    return LinearReadout(centre, scale, weight, bias)


def number_readout(embeddings: np.ndarray, numbers: np.ndarray) -> LinearReadout:
    """A number from embeddings (m, n_tokens, n_dims), by ridge with the penalty of least leave-one-out error."""
    flat, centre, scale = _standardised(embeddings)
    alphas = [share * len(flat) for share in (1e-4, 1e-3, 1e-2, 1e-1, 1.0)]
    target = torch.from_numpy(numbers.astype(np.float64))[:, None]
    fit = fit_ridge(torch.from_numpy(flat), target, alphas, "loo", score="neg_mse")
    return LinearReadout(centre, scale, fit.weights.numpy()[:, 0], float(fit.intercept[0]))


def _read_all(read: Read, draws: np.ndarray) -> np.ndarray:
    found = read(draws.reshape(-1, *draws.shape[2:]))
    return found.reshape(*draws.shape[:2], *found.shape[1:])


def _standardised(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flattened float64 values (n, value) of mean 0 and SD 1, and both."""
    flat = embeddings.reshape(len(embeddings), -1).astype(np.float64)
    centre, spread = flat.mean(0), flat.std(0)
    scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, 1.0)
    return (flat - centre) / scale, centre, scale
