"""Representational alignment: trials of a batch shall lie to each other as their targets do (1 - debiased CKA)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.losses import Loss, Mix
from braindec.losses._contrast import check_batch
from braindec.losses._gram import FEWEST, gram, misalignment, u_centred


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    debiased : bool
        Whether a batch's alignment is on average that of the whole set; else a small batch looks aligned whatever it
        holds (two unrelated sets of many values reach a CKA near 1).

    Notes
    -----
    Kornblith et al. 2019, arXiv:1905.00414; debiased for minibatches Nguyen et al. 2020, arXiv:2010.15327. A rotated
    or stretched prediction costs as much as the right one: combine it with a loss that tells where a trial lies.
    """

    debiased: bool = True


class CkaLoss(Loss):
    """1 - centred kernel alignment under linear kernels; in [0, 2] debiased, else in [0, 1]."""

    def __init__(self, config: Config):
        super().__init__()
        self.debiased = config.debiased

    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> None:
        """Nothing is mixed."""

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`."""
        check_batch(prediction, target, ids)
        checks.at_least("number of trials of a batch", len(ids), FEWEST)
        wanted = target if mix is None else mix.apply(target)
        return away(prediction, wanted, debiased=self.debiased)


def away(x: Tensor, y: Tensor, *, debiased: bool = True) -> Tensor:
    """1 - CKA of two sets of features of the same rows: a scalar in the dtype of x, with gradients.

    Parameters
    ----------
    x, y : Tensor, shapes (row, ...)
        At least four rows; as many features as there are, on either side.
    debiased : bool
        As in `Config`.
    """
    checks.at_least("number of rows", checks.same_length("row", x=x, y=y), FEWEST)
    a, b = (u_centred(gram(v)) if debiased else gram(v) for v in (x, y))
    return misalignment(a, b).to(x.dtype)


def build(config: Config) -> CkaLoss:
    """The loss."""
    return CkaLoss(config)
