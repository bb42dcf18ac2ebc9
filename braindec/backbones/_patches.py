"""Patches of shared values, and what a backbone must offer to be pretrained on masked ones."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from braindec.backbones import Backbone


@dataclass(frozen=True)
class Patches:
    """How (n_rows, n_columns) shared values fall into patches; a vector is one row.

    Parameters
    ----------
    shape : tuple of int
        (n_rows, n_columns).
    height, width : int
        Rows and columns a patch. The last ones are filled up with zeros where the shape is no multiple.
    """

    shape: tuple[int, int]
    height: int
    width: int

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along rows and along columns."""
        return -(-self.shape[0] // self.height), -(-self.shape[1] // self.width)

    @property
    def n(self) -> int:
        """Number of patches."""
        return math.prod(self.grid)

    @property
    def size(self) -> int:
        """Values a patch."""
        return self.height * self.width

    def cut(self, shared: Tensor) -> Tensor:
        """(n_trials, *shared_shape) to (n_trials, n, size), row of patches after row of patches."""
        (rows, columns), (down, across) = self.shape, self.grid
        x = shared.reshape(len(shared), rows, columns)
        x = nn.functional.pad(x, (0, across * self.width - columns, 0, down * self.height - rows))
        x = x.unflatten(2, (across, self.width)).unflatten(1, (down, self.height))
        return x.transpose(2, 3).flatten(3).flatten(1, 2)

    def filled(self) -> Tensor:
        """True where a patch holds a shared value and no padding: bool (n, size)."""
        return self.cut(torch.ones(1, *self.shape))[0] > 0


class Positions(nn.Module):
    """A learned vector for each row and each column of patches; a patch has the sum of both.

    Parameters
    ----------
    grid : tuple of int
        Patches along rows and along columns.
    width : int
    """

    def __init__(self, grid: tuple[int, int], width: int):
        super().__init__()
        down, across = grid
        self.columns = nn.Parameter(0.02 * torch.randn(across, width))
        self.rows = nn.Parameter(0.02 * torch.randn(down, width)) if down > 1 else None

    def forward(self) -> Tensor:
        """(n_patches, width)."""
        if self.rows is None:
            return self.columns
        return (self.rows[:, None] + self.columns).flatten(0, 1)


class PatchBackbone(Backbone):
    """A backbone whose trunk makes tokens of patches, and can be shown only some of them.

    Attributes
    ----------
    patches : Patches
    width : int
        Values a token.
    """

    patches: Patches
    width: int

    @abstractmethod
    def tokens(self, shared: Tensor, kept: Tensor | None = None) -> Tensor:
        """What the trunk makes of the patches that it is shown.

        Parameters
        ----------
        shared : Tensor, shape (n_trials, *shared_shape)
        kept : int Tensor, shape (n_trials, n_kept), optional
            Numbers of the patches that are shown; all by default.

        Returns
        -------
        Tensor, shape (n_trials, n_leading + n_kept, width)
            Tokens of no patch (a class token) come first.
        """

    @abstractmethod
    def trunk(self) -> dict[str, Tensor]:
        """Weights of what makes tokens, by their names in this backbone: what pretraining teaches."""
