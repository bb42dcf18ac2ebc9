"""Principal components of the training rows as a preprocessing step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from braindec import checks, seeding
from braindec.data.step import State, Step
from braindec.data.unit_steps import blocks
from braindec.maths.principal import principal_components
from braindec.types import ArraySpace, SubjectSignal, Table


@dataclass(frozen=True)
class Pca(Step):
    """Features replaced by their first principal components; for epochs, channels by components of channels.

    Parameters
    ----------
    n_components : int or float
        How many, or the share of the training variance in (0, 1) that they reach together. When a decoder holds out
        folds of its training data, every fold keeps as many as all of it asked for.
    whiten : bool
        True gives every component variance 1 in the training rows.
    scope : str
        Only ``"train"``.
    """

    n_components: int | float = 0.9
    whiten: bool = False
    scope: str = "train"

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, ("train",))
        if isinstance(self.n_components, int):
            checks.at_least("n_components", self.n_components, 1)
        elif not 0 < self.n_components < 1:
            raise checks.ConfigError(
                f"n_components must be a whole number, or a share of variance in (0, 1), got {self.n_components}."
            )

    def fit(self, x: np.ndarray, table: Table, signal: SubjectSignal) -> State:
        generator = seeding.torch_generator(0, "principal components")
        found = principal_components(torch.from_numpy(x), self.n_components, generator)
        basis = found.directions.T / (found.variance.sqrt() if self.whiten else 1.0)  # (feature, component)
        explained = found.variance / found.total
        return {"mean": found.mean.numpy(), "basis": basis.float().numpy(), "explained": explained.numpy()}

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        return project(x, state["mean"], state["basis"])

    def output(self, signal: SubjectSignal, state: State) -> SubjectSignal:
        return projected(signal, state["basis"])

    def sized(self, state: State) -> Step:
        return replace(self, n_components=state["basis"].shape[1])


def project(x: np.ndarray, mean: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Rows minus a mean in another basis of axis 1, float32 (n_trials, n_kept, ...).

    Parameters
    ----------
    x : array, shape (n_trials, n_features, ...)
    mean : array, shape (n_features,)
    basis : array, shape (n_features, n_kept)
    """
    out = np.empty((len(x), basis.shape[1], *x.shape[2:]), dtype=np.float32)
    for rows in blocks(x):
        centred = (np.moveaxis(x[rows], 1, -1) - mean).astype(np.float32)
        out[rows] = np.moveaxis(centred @ basis, -1, 1)
    return out


def projected(signal: SubjectSignal, basis: np.ndarray) -> SubjectSignal:
    """The signal in a basis of its features: their places are forgotten."""
    n = int(basis.shape[1])
    return replace(signal, shape=(n, *signal.shape[1:]), space=ArraySpace(n))
