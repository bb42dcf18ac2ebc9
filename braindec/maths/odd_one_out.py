"""Odd-one-out judgements: what a representation chooses, how far people agree, which metric explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from braindec import checks

KEPT = (
    (1, 2),
    (0, 2),
    (0, 1),
)  # positions of the pair that stays where the first, second, third is the odd one
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, float("inf"))
LARGEST_LOG_SCALE = 12.0  # of a metric that is a multiple of the identity
SMALLEST_SCALE = 1e-4  # that a fit begins from: at zero every gradient is zero
MAX_STEPS = 100


@dataclass(frozen=True, eq=False)
class Judgements:
    """Which of three stimuli was called the odd one out; a triplet that was judged several times has several rows.

    Parameters
    ----------
    triplets : int64 tensor, shape (judgement, 3)
        Rows of the stimuli; three different ones, in the order in which `odd` counts.
    odd : int64 tensor, shape (judgement,)
        Position in the triplet, 0 to 2.
    """

    triplets: Tensor
    odd: Tensor

    def __post_init__(self) -> None:
        checks.same_length("judgement", triplets=self.triplets, odd=self.odd)
        checks.n_axes("triplets", self.triplets, ("judgement", "stimulus"))
        checks.at_least("judgements", len(self.odd), 1)
        t = self.triplets
        if t.shape[1] != 3 or bool(
            ((t[:, 0] == t[:, 1]) | (t[:, 0] == t[:, 2]) | (t[:, 1] == t[:, 2])).any()
        ):
            raise ValueError("a triplet must name three different stimuli.")
        for limit in (int(self.odd.min()), int(self.odd.max())):
            checks.in_range("odd", limit, 0, 2)

    def __len__(self) -> int:
        return len(self.odd)

    def take(self, rows: Tensor) -> Judgements:
        """These rows (numbers, or a mask)."""
        return Judgements(self.triplets[rows], self.odd[rows])

    def within(self, kept: Tensor) -> Tensor:
        """Mask (judgement,) of judgements all of whose stimuli are kept; `kept` is bool (stimulus,)."""
        return kept[self.triplets].all(1)

    def renamed(self, order: Tensor) -> Judgements:
        """The same judgements of other stimuli: stimulus i becomes ``order[i]``."""
        return Judgements(order[self.triplets], self.odd)


class Agreement(NamedTuple):
    """What the best predictor of single judgements reaches at least and at most, and triplets judged repeatedly."""

    lower: float
    upper: float
    n: int


@dataclass(frozen=True, eq=False)
class Metric:
    """A linear map of embeddings after which inner products explain judgements: ``(x - mean) / std @ weight``.

    Parameters
    ----------
    mean : Tensor, shape (dim,)
    std : float
        One number: features keep their variances relative to each other.
    weight : Tensor, shape (dim, dim)
        Symmetric and positive semidefinite: of all roots of the metric the one that turns nothing.
    penalty : float
    """

    mean: Tensor
    std: float
    weight: Tensor
    penalty: float

    def apply(self, x: Tensor) -> Tensor:
        """Embeddings (..., dim) as people place them, in the dtype of x."""
        return ((x.double() - self.mean) / self.std @ self.weight).to(x.dtype)


def pair_similarities(x: Tensor, triplets: Tensor) -> Tensor:
    """Inner product (judgement, 3) of the pair that stays where the first, second or third is the odd one."""
    return torch.stack([(x[triplets[:, a]] * x[triplets[:, b]]).sum(1) for a, b in KEPT], 1)


def choose(x: Tensor, triplets: Tensor) -> Tensor:
    """Odd one (judgement,) of each triplet: the one that the two most similar leave alone."""
    return pair_similarities(x, triplets).argmax(1)


def right(x: Tensor, judged: Judgements) -> Tensor:
    """Whether the most similar pair is the one that was kept, float64 (judgement,); ties count as their share."""
    scores = pair_similarities(x.double(), judged.triplets)
    best = (scores == scores.max(1, keepdim=True).values).double()
    return best[torch.arange(len(judged)), judged.odd] / best.sum(1)


def agreement(judged: Judgements) -> Agreement:
    """How well judgements can be predicted at all, from triplets that were judged more than once.

    Returns
    -------
    Agreement
        `lower` predicts each judgement by what most of the others said of its triplet (ties by their share), `upper` by
        what most said, itself among them. The share that the most probable choice of every triplet reaches lies between
        the two in expectation: the first may name another choice, the second is fitted to what it predicts.

    Raises
    ------
    ValueError
        If no triplet was judged twice.
    """
    order = judged.triplets.argsort(1)
    same, triplet = torch.unique(judged.triplets.gather(1, order), dim=0, return_inverse=True)
    said = (order == judged.odd[:, None]).double().argmax(1)  # position in the sorted triplet
    votes = torch.zeros(len(same), 3, dtype=torch.float64)
    votes.index_put_((triplet, said), torch.ones(len(said), dtype=torch.float64), accumulate=True)
    kept = votes.sum(1)[triplet] > 1
    if not bool(kept.any()):
        raise ValueError("no triplet was judged twice; how far people agree is not known.")
    mine, all_of_it = said[kept], votes[triplet[kept]]
    others = all_of_it - torch.nn.functional.one_hot(mine, 3)
    best = (others == others.max(1, keepdim=True).values).double()
    lower = best[torch.arange(len(mine)), mine] / best.sum(1)
    upper = all_of_it.max(1).values / all_of_it.sum(1)
    return Agreement(float(lower.mean()), float(upper.mean()), int((votes.sum(1) > 1).sum()))


def log_likelihood(x: Tensor, judged: Judgements) -> Tensor:
    """Mean log probability of the judgements, the softmax of the three inner products; a scalar."""
    scores = pair_similarities(x, judged.triplets)
    return torch.log_softmax(scores, 1)[torch.arange(len(judged)), judged.odd].mean()


def fit_metric(x: Tensor, judged: Judgements, penalty: float, *, n_components: int | None = None) -> Metric:
    """The linear map whose inner products make the judgements most probable.

    Parameters
    ----------
    x : Tensor, shape (stimulus, dim)
        Embeddings; mean and spread are those of the stimuli that were judged.
    judged : Judgements
    penalty : float
        > 0; ``inf`` keeps the geometry of x and finds the multiple of it that says how decided people are.
    n_components : int, optional
        Principal axes of the judged stimuli that are weighed and mixed; the others keep their weights relative to each
        other. All axes if not given.

    Returns
    -------
    Metric

    Notes
    -----
    With M = W W^T, minus the log likelihood of all judgements plus penalty dim^2 ||M - c I||^2 is minimal, c the mean
    of the diagonal (over those axes): a posterior mode, if what M changes of a similarity has variance 1 / (2 penalty)
    beforehand, of stimuli that vary alike along all axes. It is convex in M, so there is one answer. Likelihood and
    form are those of Muttenthaler et al. 2023 (arXiv:2211.01201, arXiv:2306.04507), who penalise W.
    """
    if not penalty > 0:
        raise ValueError(f"penalty must be above 0, got {penalty}.")
    z, mean, std = _prepared(x, judged)
    dim = z.shape[1]
    scale = _scale(z, judged)
    identity = torch.eye(dim, dtype=torch.float64)
    if np.isinf(penalty):
        return Metric(mean, std, scale**0.5 * identity, penalty)
    kept = dim if n_components is None else min(n_components, dim)
    checks.at_least("n_components", kept, 1)
    axes = _axes(z, judged, kept)
    metric = _within_axes(z, axes, judged, penalty, max(scale, SMALLEST_SCALE))
    values, turned = torch.linalg.eigh(metric)
    inside, common = (turned * values.clamp_min(0).sqrt()) @ turned.T, float(metric.diagonal().mean())
    return Metric(mean, std, axes @ inside @ axes.T + common**0.5 * (identity - axes @ axes.T), penalty)


def fit_chosen(
    x: Tensor,
    judged: Judgements,
    units: np.ndarray,
    generator: torch.Generator,
    *,
    penalties: Sequence[float] = PENALTIES,
    n_components: int | None = None,
    n_folds: int = 3,
) -> Metric:
    """`fit_metric` with the penalty under which judgements among left-out units are most probable.

    Parameters
    ----------
    x : Tensor, shape (stimulus, dim)
    judged : Judgements
    units : array, shape (stimulus,)
        What is left out together: the concept, or the stimulus itself.
    generator : torch.Generator
        Deals units into folds.
    penalties : sequence of float
    n_components : int, optional
        As in `fit_metric`.
    n_folds : int
        Few: what is learnt from and what is predicted share no stimulus, so either has a power of three fewer triplets.
    """
    if len(penalties) == 1:
        return fit_metric(x, judged, penalties[0], n_components=n_components)
    totals = np.zeros(len(penalties))
    for train, test in disjoint(judged, units, n_folds, generator):
        learnt, asked = judged.take(train), judged.take(test)
        for i, penalty in enumerate(penalties):
            made = fit_metric(x, learnt, penalty, n_components=n_components).apply(x.double())
            totals[i] += float(log_likelihood(made, asked)) * len(asked)
    return fit_metric(x, judged, penalties[int(totals.argmax())], n_components=n_components)


def disjoint(
    judged: Judgements, units: np.ndarray, n_folds: int, generator: torch.Generator
) -> list[tuple[Tensor, Tensor]]:
    """(learnt from, asked) masks (judgement,) of each fold: no unit is in both; triplets across folds are in neither.

    Raises
    ------
    ValueError
        If a fold has no judgement on either side.
    """
    codes = torch.from_numpy(np.unique(np.asarray(units), return_inverse=True)[1])
    checks.in_range("stimuli that are judged", int(judged.triplets.max()), 0, len(codes) - 1)
    fold = (torch.randperm(int(codes.max()) + 1, generator=generator) % n_folds)[codes]
    made = [(judged.within(fold != f), judged.within(fold == f)) for f in range(n_folds)]
    if not all(bool(a.any()) and bool(b.any()) for a, b in made):
        raise ValueError(f"too few judgements for {n_folds} folds that share no stimulus.")
    return made


def _prepared(x: Tensor, judged: Judgements) -> tuple[Tensor, Tensor, float]:
    """Embeddings about the mean of the judged stimuli at unit mean variance, float64; that mean, that spread."""
    checks.finite("x", checks.n_axes("x", x, ("stimulus", "dim")))
    seen = x.double()[torch.unique(judged.triplets)]
    mean = seen.mean(0)
    std = float((seen - mean).square().mean().sqrt())
    if not std > 0:
        raise ValueError("the embeddings of all judged stimuli are equal; no metric can tell them apart.")
    return (x.double() - mean) / std, mean, std


def _scale(z: Tensor, judged: Judgements) -> float:
    """The multiple of the identity that makes the judgements most probable."""
    scores = pair_similarities(z, judged.triplets)
    rows = torch.arange(len(judged))

    def loss(log_scale: float) -> float:
        return -float(torch.log_softmax(np.exp(log_scale) * scores, 1)[rows, judged.odd].mean())

    limits = (-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)
    return float(np.exp(minimize_scalar(loss, bounds=limits, method="bounded").x))


def _axes(z: Tensor, judged: Judgements, n: int) -> Tensor:
    """Leading principal axes (dim, n) of the judged stimuli; all of the space where as many are asked for."""
    if n == z.shape[1]:
        return torch.eye(n, dtype=torch.float64)
    seen = z[torch.unique(judged.triplets)]
    return torch.linalg.svd(seen, full_matrices=len(seen) < n).Vh[:n].T


def _within_axes(z: Tensor, axes: Tensor, judged: Judgements, penalty: float, scale: float) -> Tensor:
    """The metric (axis, axis); it is the square of a square matrix, which leaves no minimum but the global one."""
    seen, row = torch.unique(judged.triplets, return_inverse=True)
    inside = z[seen] @ axes
    rest = z[seen] - inside @ axes.T
    pairs, odd = [(row[:, a], row[:, b]) for a, b in KEPT], judged.odd[:, None]
    crowded = 3 * len(judged) > len(seen) ** 2  # every pair once, or only those that somebody judged
    aside = pair_similarities(rest, row)  # what the other axes add, at the common weight
    n, dim, strength = len(judged), axes.shape[1], penalty * z.shape[1] ** 2
    factor = (scale**0.5 * torch.eye(dim, dtype=torch.float64)).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [factor], max_iter=MAX_STEPS, history_size=20, line_search_fn="strong_wolfe", tolerance_grad=1e-6,
        tolerance_change=1e-9,
    )  # fmt: skip

    def closure() -> Tensor:
        optimiser.zero_grad()
        metric = factor @ factor.T
        common = metric.diagonal().mean()
        moved = inside @ metric
        if crowded:
            products = moved @ inside.T
            mixed = [products[a, b] for a, b in pairs]
        else:
            mixed = [(moved[a] * inside[b]).sum(1) for a, b in pairs]
        scores = torch.stack(mixed, 1) + common * aside
        likely = torch.log_softmax(scores, 1).gather(1, odd).sum()
        away = metric.square().sum() - dim * common.square()
        loss = (strength * away - likely) / n
        loss.backward()
        return loss

    optimiser.step(closure)
    return (factor @ factor.T).detach()
