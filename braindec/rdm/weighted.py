"""Models that are mixtures of RDMs: non-negative weights, fitted where they are not tested."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from braindec import checks
from braindec.maths.tensors import Array, as_tensor
from braindec.rdm import pairs
from braindec.rdm.ceilings import Ceiling, noise_ceiling
from braindec.rdm.comparators import compare
from braindec.rdm.matrix import RDM


class CrossValidated(NamedTuple):
    """Scores of a mixture on conditions and subjects that its weights have not seen.

    Attributes
    ----------
    scores : Tensor, shape (subject,)
        Mean over folds of conditions.
    components : Tensor, shape (subject, component)
        Scores of the components alone, on the same distances.
    weights : Tensor, shape (fold, component)
        >= 0, for components of unit size.
    ceiling : Ceiling or None
        On the same distances.
    """

    scores: Tensor
    components: Tensor
    weights: Tensor
    ceiling: Ceiling | None


def fit_weights(components: Array, target: Array, *, intercept: bool = True) -> Tensor:
    """Non-negative weights of components with the least squared error.

    Parameters
    ----------
    components : Tensor or array, shape (component, pair)
    target : Tensor or array, shape (pair,)
    intercept : bool
        Whether a constant may be added (False where zero distances mean something: cosine).

    Returns
    -------
    Tensor, shape (component,)
        float64, >= 0.
    """
    components, target = as_tensor("components", components), as_tensor("target", target)
    checks.n_axes("components", components, ("component", "pair"))
    checks.n_axes("target", target, ("pair",))
    x, y = components.double().T, target.double()
    if intercept:
        x, y = x - x.mean(0), y - y.mean()
    # The problem in as many rows as components: the same minimum, whatever the number of pairs.
    q, r = torch.linalg.qr(x)
    found, _ = nnls(r.cpu().numpy(), (q.T @ y).cpu().numpy())
    return torch.from_numpy(found).to(target.device)


def cross_validated(
    data: RDM,
    components: RDM,
    *,
    comparator: str = "pearson",
    n_condition_folds: int | None = None,
    n_subject_folds: int | None = None,
    generator: torch.Generator,
) -> CrossValidated:
    """How well a mixture of components predicts distances among other conditions in other subjects.

    Parameters
    ----------
    data : RDM, axis ``"subject"`` or none
    components : RDM, one leading axis
        Of the same conditions in any order.
    comparator : str
        How held-out distances are compared; weights are those of the least squares of standardised RDMs (of unit ones
        for ``"cosine"`` and ``"whitened_cosine"``).
    n_condition_folds : int, optional
        2 below 12 conditions, 3 below 24, 4 below 40, else 5. A fold needs three conditions.
    n_subject_folds : int, optional
        Every subject once by default, at most five; 1 for a single subject, or to keep the subjects in training.
    generator : torch.Generator
        Deals conditions and subjects into folds.

    Returns
    -------
    CrossValidated
        Weights are fitted on pairs of training conditions of training subjects, scores are of pairs of held-out
        conditions of held-out subjects; pairs with one condition in each part are left out.
    """
    n, d = data.n_conditions, data.distances.reshape(-1, data.distances.shape[-1]).double()
    parts = components.reorder(data.conditions).distances.double()
    checks.n_axes("components", parts, ("component", "pair"))
    of_condition = _folds(n, n_condition_folds or _default_folds(n), generator)
    of_subject = _folds(len(d), n_subject_folds or min(5, len(d)), generator)
    checks.at_least("conditions in the smallest fold", int(np.bincount(of_condition).min()), 3)
    first, second = (i.long().numpy() for i in pairs.pair_indices(n))
    scores, alone = (
        torch.zeros(len(d), dtype=torch.float64),
        torch.zeros(len(d), len(parts), dtype=torch.float64),
    )
    lower, upper, weights = torch.zeros_like(scores), torch.zeros_like(scores), []
    n_folds = int(of_condition.max()) + 1
    for fold in range(n_folds):
        held = torch.from_numpy((of_condition[first] == fold) & (of_condition[second] == fold))
        train = torch.from_numpy((of_condition[first] != fold) & (of_condition[second] != fold))
        alone += compare(d[:, held], parts[:, held], comparator) / n_folds
        if len(d) > 1:
            ceiling = noise_ceiling(d[:, held], comparator)
            lower, upper = lower + ceiling.lower / n_folds, upper + ceiling.upper / n_folds
        for s_fold in range(int(of_subject.max()) + 1):
            tested = torch.from_numpy(of_subject == s_fold)
            used = ~tested if bool((~tested).any()) else tested
            mixed, found = _mixture(d[used][:, train], parts[:, train], parts[:, held], comparator)
            scores[tested] += compare(d[tested][:, held], mixed[None], comparator)[:, 0] / n_folds
            weights.append(found)
    limits = Ceiling(lower, upper) if len(d) > 1 else None
    return CrossValidated(scores, alone, torch.stack(weights), limits)


def _mixture(data: Tensor, train: Tensor, held: Tensor, comparator: str) -> tuple[Tensor, Tensor]:
    """The mixture on held-out pairs, and its weights for components that have unit size in training."""
    centred = comparator not in ("cosine", "whitened_cosine")
    middle = data.mean(1, keepdim=True) if centred else torch.zeros_like(data[:, :1])
    target = (data - middle) / (data - middle).norm(dim=1, keepdim=True).clamp_min(1e-300)
    shift = train.mean(1, keepdim=True) if centred else torch.zeros_like(train[:, :1])
    size = (train - shift).norm(dim=1, keepdim=True)
    checks.at_least("smallest spread of a component", float(size.min()), 1e-12)
    weights = fit_weights(train / size, target.mean(0), intercept=centred)
    return weights @ (held / size), weights


def _default_folds(n: int) -> int:
    return next((k for limit, k in ((12, 2), (24, 3), (40, 4)) if n < limit), 5)


def _folds(n: int, n_folds: int, generator: torch.Generator) -> np.ndarray:
    checks.in_range("number of folds", n_folds, 1, n)
    order = torch.randperm(n, generator=generator, device=generator.device).cpu().numpy()
    out = np.empty(n, dtype=np.int64)
    out[order] = np.arange(n) % n_folds
    return out
