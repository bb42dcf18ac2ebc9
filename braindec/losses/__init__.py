"""Losses: how a predicted embedding is drawn to its target.

A member `braindec/losses/<name>.py` defines a frozen dataclass `Config` and `build(config) -> Loss`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Mix:
    """Which trials of a batch were mixed into which: row i became `weight[i] * x[i] + (1 - weight[i]) * x[partner[i]]`.

    Parameters
    ----------
    partner : int tensor, shape (n_trials,)
        Rows of the same batch; a row that is not mixed is its own partner.
    weight : float tensor, shape (n_trials,)
        In [0, 1]; 1 where a row is not mixed.
    drawn : int tensor, shape (n_trials,), optional
        Partners as each subject drew them, counted from its own first row, also of rows that are not mixed: what
        published labels were (wrongly) made of.
    """

    partner: Tensor
    weight: Tensor
    drawn: Tensor | None = None

    def apply(self, values: Tensor) -> Tensor:
        """The mixed rows of any tensor (n_trials, ...), on its device and in its dtype."""
        weight = self.weight.to(values).reshape(-1, *[1] * (values.ndim - 1))
        return weight * values + (1 - weight) * values[self.partner.to(values.device)]


def join(mixes: list[Mix]) -> Mix:
    """One Mix for the concatenated batch of several subjects; partners are offset: nobody mixes across subjects."""
    offsets = [sum(len(earlier.partner) for earlier in mixes[:i]) for i in range(len(mixes))]
    partner = torch.cat([mix.partner + offset for mix, offset in zip(mixes, offsets, strict=True)])
    drawn = [mix.drawn for mix in mixes if mix.drawn is not None]
    return Mix(
        partner,
        torch.cat([mix.weight for mix in mixes]),
        torch.cat(drawn) if len(drawn) == len(mixes) else None,
    )


class Loss(nn.Module, ABC):
    """A scalar from predicted and true embeddings of one batch.

    Attributes
    ----------
    own_space : bool
        Whether it needs targets as they are (probabilities); else they come centred and at unit scale.
    n_pieces : int
        Where a step is divided for want of memory: in how many pieces a loss that compares all rows may do so.
    """

    own_space: bool = False
    n_pieces: int = 1

    def rows_at_once(self, asked: int, n_trials: int) -> int:
        """How many rows are compared with all others at a time; 0 is all. `asked` goes before `n_pieces`."""
        return asked if asked or self.n_pieces == 1 else -(-n_trials // self.n_pieces)

    @abstractmethod
    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> Mix | None:
        """How to mix one subject's rows at this point of training (`progress` in [0, 1]); None to leave them alone."""

    @abstractmethod
    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss.

        Parameters
        ----------
        prediction, target : Tensor, shape (n_trials, n_tokens, n_dims)
            The target is not mixed; the loss does that where it must.
        ids : int tensor, shape (n_trials,)
            Equal where two rows show the same stimulus, so that a repeat is no negative.
        progress : float
            In [0, 1].
        mix : Mix or None
            How the signals of this batch were mixed.
        """
