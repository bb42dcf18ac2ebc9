"""Where in the brain conditions can be told apart: a classifier in every neighbourhood, and a null over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks, jobs
from braindec.maths.tensors import Array, as_tensor
from braindec.rdm.neighbourhoods import Neighbourhoods
from braindec.rdm.patterns import labelled
from braindec.stats.permutation import max_statistic_p, permute_within_blocks

NUMBERS_AT_ONCE = (
    1 << 22
)  # values held together: kernels of some centres, or what they say under some permutations


@dataclass(frozen=True, eq=False)
class DecodedPlaces:
    """How well conditions are told apart around each centre.

    Parameters
    ----------
    accuracy : float array, shape (centre,)
        Share of held-out trials whose condition is named, mean over conditions; in [0, 1].
    chance : float
        1 / number of conditions.
    null_mean : float array, shape (centre,)
        Mean accuracy of classifiers that were fitted to permuted conditions.
    p, p_corrected : float array, shape (centre,)
        Of the centre alone, and corrected by the maximum over centres: any false alarm counts.
    limit : float
        What 95 % of the largest accuracies over centres stay below under the null.
    conditions : tuple of str
    centres : int64 Tensor, shape (centre,)
        As in the neighbourhoods.
    n_trials, n_runs, n_permutations : int
    """

    accuracy: np.ndarray
    chance: float
    null_mean: np.ndarray
    p: np.ndarray
    p_corrected: np.ndarray
    limit: float
    conditions: tuple[str, ...]
    centres: Tensor
    n_trials: int
    n_runs: int
    n_permutations: int


class _Labels(NamedTuple):
    """Condition of each trial, observed and permuted, int64 (labelling, trial), and the run of each trial (trial,)."""

    condition: Tensor
    run: Tensor
    n_conditions: int


def decoding_searchlight(
    x: Array,
    neighbourhoods: Neighbourhoods,
    condition: Any,
    *,
    run: Any,
    n_permutations: int = 1000,
    generator: np.random.Generator,
    ridge: float = 1.0,
    conditions: Sequence[str] | None = None,
) -> DecodedPlaces:
    """Whether trials of a run can be named by a classifier that was fitted to the other runs, in each neighbourhood.

    Parameters
    ----------
    x : Tensor or array, shape (trial, channel)
        Floating; without drifts, each channel in one unit over runs.
    neighbourhoods : Neighbourhoods
        Of the channels of `x`.
    condition : sequence, length n_trials
    run : sequence, length n_trials
        One after the other is left out. Every run has every condition.
    n_permutations : int
        At least 1; the smallest p is 1 / (n_permutations + 1).
    generator : numpy Generator
    ridge : float
        > 0; the penalty in units of the mean variance along the axes of a neighbourhood's training patterns.
    conditions : sequence of str, optional
        Their order; sorted by default.

    Returns
    -------
    DecodedPlaces

    Raises
    ------
    ValueError
        If there is one run or condition only, or a run lacks a condition.

    Notes
    -----
    Ridge regression to indicators of the conditions, which is linear discriminant analysis with a shrunken covariance;
    conditions count alike however many trials they have. What it predicts is linear in the labels, so that a classifier
    is refitted for every permutation at the price of a product. Under the null the conditions of trials are exchanged
    within runs, alike for all centres: trials of a run must be exchangeable (random order). That conditions are told
    apart does not say by what: where stimuli repeat over runs, a category can be named from its stimuli alone. Pieces
    of the brain are jobs of their own where `jobs.on` (or `joblib.parallel_config`) asks for several.

    Kriegeskorte et al. 2006, doi:10.1073/pnas.0600244103; Nichols & Holmes 2002, doi:10.1002/hbm.1058.
    """
    values = checks.n_axes("x", as_tensor("x", x, floating=True), ("trial", "channel"))
    checks.finite("x", values)
    checks.at_least("n_permutations", n_permutations, 1)
    checks.at_least("ridge", ridge, 1e-9)
    checks.in_range(
        "largest channel of a neighbourhood", int(neighbourhoods.members.max()), 0, values.shape[1] - 1
    )
    (number, names), (of_run, runs) = labelled(condition, conditions), labelled(run)
    checks.same_length("trial", x=values, condition=number, run=of_run)
    checks.at_least("number of conditions", len(names), 2)
    checks.at_least(
        "number of runs", len(runs), 2, way_out="A classifier is judged on a run that it has not seen."
    )
    table = np.zeros((len(runs), len(names)), dtype=int)
    np.add.at(table, (of_run, number), 1)
    if (table == 0).any():
        lacking, absent = np.argwhere(table == 0)[0]
        raise ValueError(
            f"run {runs[lacking]!r} has no trial of condition {names[absent]!r}; leave one of them out, or join runs."
        )
    orders = [permute_within_blocks(of_run, generator) for _ in range(n_permutations)]
    labels = _Labels(
        torch.from_numpy(np.stack([number, *(number[order] for order in orders)])),
        torch.from_numpy(of_run),
        len(names),
    )
    width = max(len(values) ** 2, neighbourhoods.members.shape[1] * len(values))
    step, n_jobs = max(1, NUMBERS_AT_ONCE // width), jobs.chosen()
    n = len(neighbourhoods.centres)
    step = step if n_jobs == 0 else min(step, -(-n // (2 * n_jobs)))
    parts = jobs.each(
        _piece, ((values, neighbourhoods, some, labels, ridge) for some in torch.arange(n).split(step))
    )
    observed, reached, total = (np.concatenate([part[i] for part in parts]) for i in range(3))
    largest = np.max([part[3] for part in parts], axis=0)
    return DecodedPlaces(
        observed, 1 / len(names), total / n_permutations, (reached + 1) / (n_permutations + 1),
        max_statistic_p(observed, np.broadcast_to(largest[:, None], (n_permutations, n))),
        float(np.quantile(largest, 0.95)), names, neighbourhoods.centres, len(values), len(runs), n_permutations,
    )  # fmt: skip


def _piece(
    x: Tensor, where: Neighbourhoods, some: Tensor, labels: _Labels, ridge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Accuracy, permutations that reach it and their sum (centre,), and their largest (permutation,); a job's work."""
    members, present = (t[some].to(x.device) for t in (where.members, where.present))
    patterns = x[:, members] * present  # (trial, centre, member)
    predictors = _predictors(patterns.movedim(1, 0).double(), present.sum(1), labels.run.to(x.device), ridge)
    n_trials, n_labels = labels.condition.shape[1], len(labels.condition)
    step = max(1, NUMBERS_AT_ONCE // (len(some) * n_trials * labels.n_conditions))
    found = [
        _accuracy(predictors, labels.condition[start : start + step].to(x.device), labels.n_conditions)
        for start in range(0, n_labels, step)
    ]
    observed, null = (part.cpu().numpy() for part in torch.cat(found, 1).split([1, n_labels - 1], 1))
    return observed[:, 0], (null >= observed - 1e-9).sum(1), null.sum(1), null.max(0)


def _predictors(patterns: Tensor, sizes: Tensor, run: Tensor, ridge: float) -> Tensor:
    """What each trial is told from the labels of other runs' trials, (centre, trial, trial): 0 within a run."""
    out = patterns.new_zeros(*patterns.shape[:2], patterns.shape[1])
    for one in run.unique():
        held, rest = (run == one).nonzero()[:, 0], (run != one).nonzero()[:, 0]
        middle = patterns[:, rest].mean(1, keepdim=True)
        train, test = patterns[:, rest] - middle, patterns[:, held] - middle
        kernel = train @ train.mT
        level = kernel.diagonal(dim1=1, dim2=2).sum(1) / sizes.clamp_max(len(rest) - 1)
        # Where nothing varies every trial is told the same: a penalty of 1 keeps the system solvable.
        penalty = torch.where(level > 0, ridge * level, torch.ones_like(level))
        eye = torch.eye(len(rest), dtype=kernel.dtype, device=kernel.device)
        told = torch.linalg.solve(kernel + penalty[:, None, None] * eye, train @ test.mT).mT
        told = told - told.mean(2, keepdim=True)  # labels are centred over the training trials
        out[:, held[:, None], rest[None, :]] = told
    return out


def _accuracy(predictors: Tensor, labels: Tensor, n_conditions: int) -> Tensor:
    """Mean over conditions of the share of trials that are named, (centre, labelling)."""
    indicator = torch.nn.functional.one_hot(labels, n_conditions).to(
        predictors
    )  # (labelling, trial, condition)
    size = indicator.sum(1, keepdim=True)
    told = torch.einsum("cij,ljk->clik", predictors, indicator / size)
    right = (told.argmax(-1) == labels).to(predictors)  # (centre, labelling, trial)
    return torch.einsum("cli,lik->cl", right, indicator / size) / n_conditions
