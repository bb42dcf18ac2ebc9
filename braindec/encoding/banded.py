"""Banded ridge: every feature space with a penalty of its own, chosen for every voxel.

Minimises |y - sum_i x_i w_i|^2 + sum_i (alpha / gamma_i) |w_i|^2 with gamma on the simplex. Which gammas are tried is
shared by all voxels, so that a try costs one eigendecomposition a fold and the algebra of plain ridge: on (p, p)
matrices, or on sums of kernels where there are more features than samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.encoding.model import VoxelwiseEncoding
from braindec.encoding.voxelwise import ALPHAS
from braindec.maths import folds as fold_rules
from braindec.maths import ridge
from braindec.maths.correlation import is_constant
from braindec.maths.factors import RidgeFactors, factorise
from braindec.maths.folds import Folds, parts_of
from braindec.maths.kernel_ridge import factorise_kernel
from braindec.maths.tensors import Array, as_tensor, as_tensors

CONCENTRATIONS = (0.1, 1.0)  # nearly one space alone, and anything: both are likely, so both are tried


@dataclass(frozen=True, eq=False)
class BandedEncoding:
    """A banded encoding model.

    Parameters
    ----------
    model : VoxelwiseEncoding
        Weights of all features side by side, in the order of `names`.
    names : tuple of str
        Feature spaces.
    sizes : tuple of int
        Features of each.
    gamma : Tensor, shape (n_spaces, n_voxels)
        Share of each space in a voxel's kernel, >= 0, sum 1; the penalty of space i is model.alpha / gamma_i.
    """

    model: VoxelwiseEncoding
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    gamma: Tensor

    def predict(self, features: Mapping[str, Array]) -> Tensor:
        """Responses (n, n_voxels) to features by name."""
        given = as_tensors("features", features)
        return self.model.predict(
            torch.cat([checks.known_key("feature space", n, given) for n in self.names], 1)
        )

    def predict_split(self, features: Mapping[str, Array]) -> Tensor:
        """What each space adds to the prediction, (n_spaces, n, n_voxels); the intercept is in none of them."""
        parts = self.model.weights.split(self.sizes)
        given = as_tensors("features", features)
        found = [checks.known_key("feature space", n, given).to(w) for n, w in zip(self.names, parts)]
        return torch.stack([x @ w for x, w in zip(found, parts)])


def random_gammas(n_spaces: int, n_iter: int, generator: torch.Generator) -> Tensor:
    """Points of the simplex, float64 (n_iter, n_spaces): equal shares first, then Dirichlet of both concentrations."""
    checks.at_least("n_iter", n_iter, 1)
    draws = [torch.full((n_spaces,), 1 / n_spaces, dtype=torch.float64)]
    for number in range(1, n_iter):
        shape = torch.full((n_spaces,), CONCENTRATIONS[number % 2], dtype=torch.float64)
        draws.append(torch._sample_dirichlet(shape[None], generator)[0])
    return torch.stack(draws)


def fit_banded(
    features: Mapping[str, Array],
    responses: Array,
    *,
    gammas: Array,
    alphas: ridge.Alphas = ALPHAS,
    folds: Folds | int = 5,
    score: str = "r2",
    refine_steps: int = 0,
) -> BandedEncoding:
    """The best of the given shares and penalties for every voxel.

    Parameters
    ----------
    features : mapping of str to Tensor or array, shape (n_samples, n_features of the space)
        Feature spaces by name; standardised beforehand, or else gamma also makes up for their units.
    responses : Tensor or array, shape (n_samples, n_voxels)
    gammas : Tensor or array, shape (n_candidates, n_spaces)
        Each row >= 0 with sum 1; `random_gammas` draws some.
    alphas, folds, score
        As in `encoding.fit`.
    refine_steps : int
        Steps of gradient descent on the held-out error from the gammas that won, shared by the voxels that chose them;
        kept for those voxels only that then score better.

    Returns
    -------
    BandedEncoding

    Notes
    -----
    Dupre la Tour et al. 2022, doi:10.1016/j.neuroimage.2022.119728; equal to himalaya's random search with the same
    gammas, folds and score. Its hyper-gradient descends for each voxel by itself, which is more exact and slower.
    """
    given, responses, gammas = (
        as_tensors("features", features),
        as_tensor("responses", responses),
        as_tensor("gammas", gammas),
    )
    checks.same_length("sample", responses=responses, **given)
    names, n = tuple(given), len(responses)
    rules = fold_rules.folds_by_count(n, folds) if isinstance(folds, int) else folds
    spaces = _Spaces(list(given.values()))
    checks.n_axes("gammas", gammas, ("candidate", "space"))
    if gammas.shape[1] != len(names) or bool((gammas < 0).any()):
        raise ValueError(f"gammas must be >= 0 of shape (n, {len(names)}), got shape {tuple(gammas.shape)}.")
    search = _Search(spaces, responses, alphas, rules, score)
    for gamma in gammas:
        search.attempt(gamma)
    if refine_steps:
        for which in search.chosen.unique().tolist():
            search.attempt(_descend(spaces, responses, search, which, refine_steps))
    return search.result(names)


class _Spaces:
    """Feature spaces, centred where they are summed as kernels."""

    def __init__(self, parts: Sequence[Tensor]):
        self.parts = [p if p.dtype in (torch.float32, torch.float64) else p.float() for p in parts]
        self.sizes = tuple(p.shape[1] for p in self.parts)
        self.n = len(self.parts[0])
        self.means = [p.mean(0) for p in self.parts]
        self.dual = sum(self.sizes) > self.n
        self.kernels: list[Tensor] = []
        if self.dual:
            self.kernels = [_kernel(p - m) for p, m in zip(self.parts, self.means)]

    def factors(self, gamma: Tensor, folds: Folds = ()) -> RidgeFactors:
        """Of the features scaled by sqrt(gamma), or of the kernels weighted by gamma."""
        if self.dual:
            total = sum(
                (g * k for g, k in zip(gamma.tolist(), self.kernels)), torch.zeros_like(self.kernels[0])
            )
            return factorise_kernel(total, folds, dtype=self.parts[0].dtype)
        scaled = [p * g**0.5 for p, g in zip(self.parts, gamma.tolist())]
        return factorise(torch.cat(scaled, 1), folds or None)

    def weights(self, gamma: Tensor, fitted: Tensor) -> Tensor:
        """Weights (all features, q) from those of scaled features, or from dual coefficients."""
        shares = gamma.tolist()
        if self.dual:
            return torch.cat([g * ((p - m).T @ fitted) for p, m, g in zip(self.parts, self.means, shares)])
        return torch.cat([w * g**0.5 for w, g in zip(fitted.split(self.sizes), shares)])


class _Search:
    """The best candidate of every voxel so far."""

    def __init__(self, spaces: _Spaces, y: Tensor, alphas: ridge.Alphas, folds: Folds, score: str):
        self.spaces, self.y, self.folds, self.score = spaces, y, folds, score
        self.alphas = torch.as_tensor(alphas, dtype=spaces.parts[0].dtype, device=y.device).flatten()
        q = y.shape[1]
        self.best = torch.full((q,), -torch.inf, dtype=self.alphas.dtype, device=y.device)
        self.alpha = torch.zeros_like(self.best)
        self.chosen = torch.zeros(q, dtype=torch.int64, device=y.device)
        self.gammas: list[Tensor] = []

    def attempt(self, gamma: Tensor) -> None:
        """Scores one gamma at every penalty and keeps it where it is better than all before."""
        factors = self.spaces.factors(gamma, self.folds)
        scores = ridge.cross_validate(factors, self.y, self.alphas, score=self.score)
        alpha = ridge.choose_alpha(self.alphas, scores, per_target=True)
        found = scores.amax(0)
        better = found > self.best
        self.best = torch.where(better, found, self.best)
        self.alpha = torch.where(better, alpha, self.alpha)
        self.chosen[better] = len(self.gammas)
        self.gammas.append(gamma)

    def result(self, names: tuple[str, ...]) -> BandedEncoding:
        """Refits every voxel at its choice, on all rows."""
        y, spaces = self.y, self.spaces
        weights = torch.zeros(sum(spaces.sizes), y.shape[1], dtype=self.alphas.dtype, device=y.device)
        intercept = torch.zeros_like(self.best)
        for which in self.chosen.unique().tolist():
            members = (self.chosen == which).nonzero().flatten()
            factors = spaces.factors(self.gammas[which])
            for alpha in self.alpha[members].unique():
                some = members[self.alpha[members] == alpha]
                fit = ridge.solve(factors, y[:, some], alpha[None])
                weights[:, some] = spaces.weights(self.gammas[which], fit.weights)
        mean = torch.cat(spaces.means)
        intercept = y.to(weights.dtype).mean(0) - mean @ weights
        model = VoxelwiseEncoding(
            weights, intercept, self.alpha, self.best, self.score, spaces.n, None, {"spaces": list(names)}
        )
        gamma = torch.stack(self.gammas).to(weights)[self.chosen].T.contiguous()
        return BandedEncoding(model, names, spaces.sizes, gamma)


def _descend(spaces: _Spaces, y: Tensor, search: _Search, which: int, n_steps: int) -> Tensor:
    """Gammas after gradient descent on the held-out error of the voxels that chose this one."""
    members = search.chosen == which
    kernels = spaces.kernels or [_kernel(p - m) for p, m in zip(spaces.parts, spaces.means)]
    stacked, targets = torch.stack(kernels).double(), y[:, members].double()
    alpha = search.alpha[members].double().log().mean().exp().clamp_min(1e-12)
    start = search.gammas[which].double().clamp_min(1e-4)
    log_share = (start / start.sum()).log().requires_grad_(True)
    optimiser = torch.optim.LBFGS([log_share], max_iter=n_steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        kernel = (log_share.softmax(0)[:, None, None] * stacked).sum(0)
        loss = torch.stack(
            [_held_out_error(kernel, targets, alpha, *parts_of(len(y), f)) for f in search.folds]
        ).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    return log_share.detach().softmax(0)


def _held_out_error(kernel: Tensor, y: Tensor, alpha: Tensor, test: Tensor, train: Tensor) -> Tensor:
    """Mean over voxels of the held-out error over the variance, in float64 and differentiable."""
    inner, outer = kernel[train][:, train], kernel[test][:, train]
    column = inner.mean(0)
    centred = inner - column - column[:, None] + column.mean()
    mean = y[train].mean(0)
    ridged = centred + alpha * torch.eye(len(train), dtype=kernel.dtype, device=kernel.device)
    dual = torch.linalg.solve(ridged, y[train] - mean)
    across = outer - outer.mean(1, keepdim=True) - column + column.mean()
    left = y[test] - mean - across @ dual
    spread = y[test] - y[test].mean(0)
    norm = spread.norm(dim=0, keepdim=True)
    known = ~is_constant(y[test], norm, 0)[0]  # the rest scores 0 whatever is predicted
    return (left[:, known].square().sum(0) / norm[0, known].square()).sum() / y.shape[1]


def _kernel(x: Tensor) -> Tensor:
    wide = x.double()
    return wide @ wide.T
