"""Under which conditions an epoch was recorded, as codes: of each factor, and of the cell that all factors make."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from braindec import checks


class Factors(NamedTuple):
    """What distinguishes epochs: names (``"subject"``, ``"session"``, ``"class"``), and how many values each has."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]


class Epochs(NamedTuple):
    """Epochs (n, n_channels, n_times), and the code of each factor (n, n_factors), int64, from 0."""

    values: Tensor
    codes: Tensor

    def take(self, rows: Tensor) -> Epochs:
        """These rows, by position or by a bool tensor (n,)."""
        return Epochs(self.values[rows], self.codes[rows])


def check_epochs(name: str, epochs: Epochs, factors: Factors) -> None:
    """Refuses epochs whose axes, lengths or codes do not fit.

    Raises
    ------
    ValueError
        With the argument, what was found, and what is allowed.
    """
    checks.n_axes(f"{name} values", epochs.values, ("trial", "channel", "time"))
    checks.same_length("trial", values=epochs.values, codes=epochs.codes)
    checks.finite(f"{name} values", epochs.values)
    check_codes(epochs.codes, factors)


def check_codes(codes: Tensor, factors: Factors) -> None:
    """Refuses codes (n, n_factors) that these factors do not have."""
    checks.n_axes("codes", codes, ("trial", "factor"))
    if codes.shape[1] != len(factors.sizes):
        raise ValueError(f"codes have {codes.shape[1]} factors, expected {list(factors.names)}.")
    for i, (name, size) in enumerate(zip(*factors, strict=True)):
        if len(codes) and not 0 <= int(codes[:, i].min()) <= int(codes[:, i].max()) < size:
            lowest, highest = int(codes[:, i].min()), int(codes[:, i].max())
            raise ValueError(f"codes of {name!r} must lie in 0 to {size - 1}, got {lowest} to {highest}.")


def cells(codes: Tensor, factors: Factors) -> Tensor:
    """One number for all factors together, int64 (n,), below the product of their sizes."""
    out = torch.zeros(len(codes), dtype=torch.int64)
    for i, size in enumerate(factors.sizes):
        out = out * size + codes[:, i]
    return out


def design(codes: Tensor, factors: Factors) -> Tensor:
    """Columns of 0 and 1 for every value of each factor, then for every cell: float32 (n, n_columns)."""
    n_cells = int(torch.tensor(factors.sizes).prod())
    parts = [functional.one_hot(codes[:, i], size) for i, size in enumerate(factors.sizes)]
    return torch.cat([*parts, functional.one_hot(cells(codes, factors), n_cells)], 1).float()


def cell_means(epochs: Epochs) -> tuple[Tensor, Tensor, Tensor]:
    """The event-related potential of every cell that occurs.

    Returns
    -------
    means : Tensor, shape (n_cells, n_channels, n_times)
    codes : Tensor, shape (n_cells, n_factors)
        Sorted.
    cell : int tensor, shape (n,)
        Which of them each epoch belongs to.
    """
    found, cell = epochs.codes.unique(dim=0, return_inverse=True)
    total = epochs.values.new_zeros(len(found), *epochs.values.shape[1:]).index_add_(0, cell, epochs.values)
    return total / cell.bincount(minlength=len(found)).to(total)[:, None, None], found, cell


def within_cells(epochs: Epochs) -> Tensor | None:
    """Trials about the means of their cells, float64 (n, n_channels, n_times), scaled to the variance of the noise.

    Every mean takes a degree of freedom: of two trials a cell, what is left has half of the variance. None where no
    cell has a second trial.
    """
    means, _, cell = cell_means(epochs)
    free = len(cell) - len(means)
    return (epochs.values - means[cell]).double() * (len(cell) / free) ** 0.5 if free else None
