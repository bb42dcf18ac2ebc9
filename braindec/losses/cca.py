"""Canonical correlation: predictions shall tell, by any linear map, what the targets tell."""

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
    ridge : float
        Added to every eigenvalue of the covariances, as a share of their mean, > 0. Where a batch has no more trials
        than values, every direction could be predicted without it.
    debiased : bool
        Whether what a trial says about itself is left out, so that unrelated batches cost 1 on average; else noise of
        as many values as there are trials costs nearly nothing.

    Notes
    -----
    The idea of training on canonical correlations is Andrew et al.'s (2013, "Deep canonical correlation analysis");
    the penalty is Vinod's (1976, doi:10.1016/0304-4076(76)90010-5). Squared correlations are summed here, which needs
    no singular vectors, and divided by what either side has with itself. It is CKA of the matrices that project on
    either side's values, and debiased like it. Costs n_trials^3. It is blind to linear maps of the prediction (as far
    as the penalty is small): combine it with a loss that tells where a trial lies.
    """

    ridge: float = 0.1
    debiased: bool = True

    def __post_init__(self) -> None:
        checks.in_range("ridge", self.ridge, 1e-9, 1e6)


class CcaLoss(Loss):
    """1 - sum of squared canonical correlations over its largest possible value; in [0, 2] debiased, else [0, 1]."""

    def __init__(self, config: Config):
        super().__init__()
        self.ridge = config.ridge
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
        x, y = (hat(v, self.ridge) for v in (prediction, wanted))
        if self.debiased:
            x, y = u_centred(x), u_centred(y)
        return misalignment(x, y).to(prediction.dtype)


def hat(embeddings: Tensor, ridge: float) -> Tensor:
    """What ridge regression on centred trials makes of any trials' values: (n_trials, n_trials), float64.

    The inner product of two of these is the sum of squared canonical correlations with that penalty.
    """
    products = gram(embeddings)
    n_trials, n_values = len(embeddings), embeddings[0].numel()
    penalty = ridge * products.diagonal().sum().clamp_min(1.0) / min(n_values, n_trials - 1)
    identity = torch.eye(n_trials, dtype=products.dtype, device=products.device)
    factor = torch.linalg.cholesky(products + penalty * identity)
    return torch.cholesky_solve(products, factor)


def build(config: Config) -> CcaLoss:
    """The loss."""
    return CcaLoss(config)
