"""From raw outputs to calibrated embeddings: the linear map that out-of-fold predictions ask for, and its error.

A contrastive loss leaves length and shear of its outputs free. Regressing the truth on what encoders predicted for
stimuli they never saw gives the best linear estimate of the embedding; the covariance of its error says how far a
candidate may lie from it in each direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.maths import covariance, folds, nearest, ridge
from braindec.maths.factors import factorise

ALPHAS = tuple(float(a) for a in torch.logspace(-2, 6, 17))
SHRINKAGES = (0.05, 0.1, 0.2, 0.4, 0.7)  # of the covariances towards a multiple of the identity


class Option(NamedTuple):
    """One way to calibrate.

    mapped: outputs are mapped linearly, not only scaled. share: shrinkage of the covariances; None compares by cosine.
    borrowed: the error's shape is that of other subjects with more data.
    """

    mapped: bool
    share: float | None
    borrowed: bool = False


# Of equals the first, simplest one is taken.
OPTIONS = tuple(Option(mapped, share) for mapped in (False, True) for share in (None, *reversed(SHRINKAGES)))
BORROWED = tuple(Option(mapped, share, True) for mapped in (False, True) for share in (0.2, 0.05))
QUICK = (Option(False, None), Option(True, None), Option(True, 0.2))  # enough to compare encoders by
MAX_DIMS = 4096  # a covariance of more would cost over 128 MiB and minutes
MIN_ROWS = 20


class Calibration(nn.Module):
    """Calibration of one subject's flattened outputs (n, dim).

    Attributes
    ----------
    weight, bias : Tensor, shapes (dim, dim), (dim,)
        Raw output to embedding.
    error, prior : Tensor, shape (dim, dim)
        Covariance of the error of a calibrated embedding, and of the embeddings themselves; shrunken alike.
    uses_evidence : bool Tensor, shape ()
        Whether candidates are compared by evidence; by cosine where that told left-out training stimuli apart better.
    """

    weight: Tensor
    bias: Tensor
    error: Tensor
    prior: Tensor
    uses_evidence: Tensor

    def __init__(self, n_dims: int):
        super().__init__()
        self.check(n_dims)
        self.register_buffer("weight", torch.eye(n_dims))
        self.register_buffer("bias", torch.zeros(n_dims))
        for name in ("error", "prior"):
            self.register_buffer(name, torch.eye(n_dims))
        self.register_buffer("uses_evidence", torch.tensor(False))

    @staticmethod
    def check(n_dims: int) -> None:
        """Refuses embeddings of more values than a covariance is made of."""
        if n_dims > MAX_DIMS:
            raise checks.ConfigError(
                f"calibrate takes embeddings of at most {MAX_DIMS} values, got {n_dims}; set calibrate=false."
            )

    def compare_(
        self,
        raw: Tensor,
        truth: Tensor,
        generator: torch.Generator,
        options: Sequence[Option] = OPTIONS,
        others: Sequence[Calibration] = (),
    ) -> list[float]:
        """Mean reciprocal rank, with each option, of stimuli left out of the calibration itself (which it changes)."""
        n = checks.same_length("stimulus", raw=raw, truth=truth)
        checks.at_least("stimuli to calibrate with", n, MIN_ROWS)
        parts = folds.folds_by_count(n, 3, generator)
        ranks = []
        for held in parts:
            kept = folds.complement(n, held)
            ranks.append(
                self._compared(raw[kept], truth[kept], raw[held], truth[held], generator, options, others)
            )
        return [sum(column) / len(parts) for column in zip(*ranks, strict=True)]

    def fit_(
        self, raw: Tensor, truth: Tensor, generator: torch.Generator, others: Sequence[Calibration] = ()
    ) -> None:
        """Takes map and error from out-of-fold outputs and their truth, each (n, dim), one row a stimulus.

        Whether outputs are mapped or only scaled, and how far covariances are shrunken, or not used at all, is chosen
        by how well stimuli left out of the calibration itself are told apart. `others` are calibrations of subjects
        with more data, whose error may be borrowed in shape.
        """
        options = (*OPTIONS, *BORROWED) if others else OPTIONS
        ranks = self.compare_(raw, truth, generator, options, others)
        best = options[ranks.index(max(ranks))]
        self._solve_(raw, truth, generator, mapped=best.mapped)
        self._compare_by_(best, others)

    def forward(self, raw: Tensor) -> Tensor:
        """Calibrated embeddings (n, dim)."""
        return raw @ self.weight.T + self.bias

    def similarity(self, embedding: Tensor, candidates: Tensor) -> Tensor:
        """How well each candidate fits each embedding, (n, m), higher is better: evidence or cosine, as was chosen.

        Parameters
        ----------
        embedding : Tensor, shape (n, dim)
            Calibrated, centred.
        candidates : Tensor, shape (m, dim)
            Centred.
        """
        if bool(self.uses_evidence):
            return evidence(embedding, candidates, self.error, self.prior)
        return nearest.similarity(embedding, candidates)

    def _solve_(self, raw: Tensor, truth: Tensor, generator: torch.Generator, *, mapped: bool) -> None:
        x, y = raw.double(), truth.double()
        if mapped:
            factors = factorise(x, folds.folds_by_count(len(x), 5, generator))
            fit = ridge.solve(factors, y, ALPHAS, score="neg_mse")
            left = y - ridge.held_out_predictions(factors, y, fit.alpha)
            self.weight.copy_(fit.weights.T)
            self.bias.copy_(fit.intercept)
        else:
            gain = (x * y).sum() / x.square().sum().clamp_min(1e-12)
            left = y - gain * x
            self.weight.copy_(gain * torch.eye(x.shape[1]))
            self.bias.zero_()
        self.error.copy_(left.T @ left / len(left))
        self.prior.copy_(y.T.cov(correction=0))

    def _compare_by_(self, option: Option, others: Sequence[Calibration]) -> None:
        """Turns the covariances just solved for into those an option compares by."""
        if option.borrowed:
            error = torch.stack([other.error for other in others]).mean(0)
            self.error.copy_(error * (self.error.trace() / error.trace()))
            self.prior.copy_(torch.stack([other.prior for other in others]).mean(0))
        self._shrink_(option.share)

    def _shrink_(self, share: float | None) -> None:
        """Shrinks both covariances; None leaves them out of comparisons."""
        self.uses_evidence.fill_(share is not None)
        for name in ("error", "prior"):
            shrunken = covariance.shrink(
                self.get_buffer(name).double(), SHRINKAGES[0] if share is None else share
            )
            self.get_buffer(name).copy_(shrunken)

    def _compared(
        self, raw: Tensor, truth: Tensor, held_raw: Tensor, held_truth: Tensor, generator: torch.Generator,
        options: Sequence[Option], others: Sequence[Calibration],
    ) -> list[float]:  # fmt: skip
        """Mean reciprocal rank of held-out rows with each option."""
        gallery, own = held_truth.unique(dim=0, return_inverse=True)
        solved = {}
        for mapped in sorted({option.mapped for option in options}):
            self._solve_(raw, truth, generator, mapped=mapped)
            solved[mapped] = {name: values.clone() for name, values in self.state_dict().items()}
        ranks = []
        for option in options:
            self.load_state_dict(solved[option.mapped])
            self._compare_by_(option, others)
            ranks.append(_reciprocal_rank(self.similarity(self(held_raw), gallery), own))
        return ranks


def evidence(embedding: Tensor, candidates: Tensor, error: Tensor, prior: Tensor) -> Tensor:
    """log p(candidate | embedding) - log p(candidate) for every pair, up to one constant: (n, m).

    Error and embeddings are taken as Gaussian, zero mean, with covariances `error` and `prior` (dim, dim). Comparable
    along both axes: of candidates for one response, and of responses for one candidate.
    """
    precision = torch.linalg.inv(error.double())
    x, z = embedding.double(), candidates.double()
    cross = x @ precision @ z.T
    own = 0.5 * ((x @ precision) * x).sum(1)
    candidate = 0.5 * ((z @ (precision - torch.linalg.inv(prior.double()))) * z).sum(1)
    return (cross - own[:, None] - candidate[None]).float()


def _reciprocal_rank(similarity: Tensor, truth: Tensor) -> float:
    better, tied = nearest.ranks_in(similarity, truth)
    return float((1 / (1 + nearest.mid_ranks(better, tied))).mean())


def held_out_rank(raw: Tensor, truth: Tensor, generator: torch.Generator) -> float:
    """How well flattened outputs (n, dim) tell stimuli apart once calibrated: mean reciprocal rank."""
    return max(Calibration(truth.shape[1]).compare_(raw, truth, generator, QUICK))
