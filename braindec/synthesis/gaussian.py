"""The baseline of made epochs: each cell's mean, and noise of the covariance that its subject's trials have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.covariance import ledoit_wolf
from braindec.synthesis.conditions import Epochs, cell_means, within_cells

JITTER = 1e-9  # of the mean variance: an average reference leaves directions without any


@dataclass(frozen=True, eq=False)
class GaussianEpochs:
    """Draws epochs of cells that were met; make one with `fit_gaussian`.

    Parameters
    ----------
    means : Tensor, shape (n_cells, n_channels, n_times)
    codes : Tensor, shape (n_cells, n_factors)
    roots : mapping of int to Tensor, shape (n_values, n_values)
        By code of the first factor (the subject): a lower triangle whose product with white noise is a trial's noise.
    """

    means: Tensor
    codes: Tensor
    roots: dict[int, Tensor]

    def sample(self, codes: Tensor, generator: torch.Generator, *, noise: float = 1.0) -> Tensor:
        """Epochs (n, n_channels, n_times) of these conditions (n, n_factors); `noise` 0 gives their means.

        Raises
        ------
        ValueError
            If there was no trial of such a cell.
        """
        same = (codes[:, None] == self.codes[None]).all(2)  # (trial, cell)
        if not same.any(1).all():
            missing = codes[~same.any(1)][0].tolist()
            raise ValueError(f"codes hold {missing}, of which no training epoch was seen.")
        made = self.means[same.int().argmax(1)].flatten(1)
        white = torch.randn(made.shape, generator=generator, dtype=made.dtype)
        for subject in codes[:, 0].unique().tolist():
            rows = codes[:, 0] == subject
            made[rows] += noise * white[rows] @ self.roots[subject].T
        return made.unflatten(1, self.means.shape[1:])


def fit_gaussian(epochs: Epochs) -> GaussianEpochs:
    """Means of cells, and the shrunken covariance of every subject's trials about them (Ledoit & Wolf 2004)."""
    checks.at_least("number of epochs", len(epochs.values), 2)
    means, codes, _ = cell_means(epochs)
    roots = {}
    for subject in epochs.codes[:, 0].unique().tolist():
        left = within_cells(epochs.take(epochs.codes[:, 0] == subject))
        if left is None:
            raise ValueError(
                f"every cell of {subject} has one epoch: what its trials vary by cannot be told."
            )
        matrix = ledoit_wolf(left.flatten(1), centred=True).matrix
        level = JITTER * matrix.diagonal().mean()
        eye = torch.eye(len(matrix), dtype=matrix.dtype)
        roots[subject] = torch.linalg.cholesky(matrix + level * eye).to(epochs.values.dtype)
    return GaussianEpochs(means, codes, roots)
