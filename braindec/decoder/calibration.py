"""From raw outputs to calibrated embeddings: the linear map that out-of-fold predictions ask for, and its error.

A contrastive loss leaves length and shear of its outputs free. Regressing the truth on what encoders predicted for
stimuli they never saw gives the best linear estimate of the embedding; the covariance of its error says how far a
candidate may lie from it in each direction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.maths import covariance, folds, ridge
from braindec.maths.factors import factorise

ALPHAS = tuple(float(a) for a in torch.logspace(-2, 6, 17))
MAX_DIMS = 4096  # a covariance of more would cost over 128 MiB and minutes
MIN_ROWS = 20


class Calibration(nn.Module):
    """Calibration of one subject's flattened outputs (n, dim).

    Attributes
    ----------
    weight, bias : Tensor, shapes (dim, dim), (dim,)
        Raw output to embedding.
    error, prior : Tensor, shape (dim, dim)
        Covariance of the error of a calibrated embedding, and of the embeddings themselves; shrunken (Ledoit-Wolf).
    """

    weight: Tensor
    bias: Tensor
    error: Tensor
    prior: Tensor

    def __init__(self, n_dims: int):
        super().__init__()
        checks.in_range("values of an embedding that is calibrated", n_dims, 1, MAX_DIMS)
        self.register_buffer("weight", torch.eye(n_dims))
        self.register_buffer("bias", torch.zeros(n_dims))
        for name in ("error", "prior"):
            self.register_buffer(name, torch.eye(n_dims))

    def fit_(self, raw: Tensor, truth: Tensor, generator: torch.Generator) -> None:
        """Takes map and error from out-of-fold outputs and their truth, each (n, dim), one row a stimulus."""
        n = checks.same_length("stimulus", raw=raw, truth=truth)
        checks.at_least("stimuli to calibrate with", n, MIN_ROWS)
        parts = folds.folds_by_count(n, 5, generator)
        factors = factorise(raw.double(), parts)
        fit = ridge.solve(factors, truth.double(), ALPHAS, score="neg_mse")
        error = truth - ridge.held_out_predictions(factors, truth.double(), fit.alpha)
        self.weight.copy_(fit.weights.T)
        self.bias.copy_(fit.intercept)
        self.error.copy_(covariance.ledoit_wolf(error).matrix)
        self.prior.copy_(covariance.ledoit_wolf(truth.double()).matrix)

    def forward(self, raw: Tensor) -> Tensor:
        """Calibrated embeddings (n, dim)."""
        return raw @ self.weight.T + self.bias

    def evidence(self, embedding: Tensor, candidates: Tensor) -> Tensor:
        """log p(candidate | embedding) - log p(candidate) for every pair, up to one constant.

        Parameters
        ----------
        embedding : Tensor, shape (n, dim)
            Calibrated, centred.
        candidates : Tensor, shape (m, dim)
            Centred.

        Returns
        -------
        Tensor, shape (n, m)
            Higher is more similar; comparable along both axes: error and embeddings are taken as Gaussian.
        """
        precision = torch.linalg.inv(self.error.double())
        prior = torch.linalg.inv(self.prior.double())
        x, z = embedding.double(), candidates.double()
        cross = x @ precision @ z.T
        own = 0.5 * ((x @ precision) * x).sum(1)
        candidate = 0.5 * ((z @ (precision - prior)) * z).sum(1)
        return (cross - own[:, None] - candidate[None]).float()
