"""Which models predict the geometry, how sure that is, and for whom: other subjects, other stimuli, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from braindec import checks
from braindec.rdm.bootstrap import OVER, Draws, bootstrap
from braindec.rdm.ceilings import Ceiling, noise_ceiling
from braindec.rdm.comparators import RANGE, compare
from braindec.rdm.matrix import RDM
from braindec.rdm.permutation import permutation_null
from braindec.stats.corrections import fdr, holm
from braindec.stats.permutation import max_statistic_p, p_value

FEW_SUBJECTS = 5  # below it the spread between subjects is not known well enough to speak of other subjects


class Difference(NamedTuple):
    """Model a minus model b: value, 95 % interval, two-sided p, and p corrected over all pairs (Holm, FDR)."""

    a: str
    b: str
    value: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    p_fdr: float


@dataclass(frozen=True, eq=False)
class Inference:
    """Scores of models with what they need to be believed.

    Parameters
    ----------
    comparator : str
    models : tuple of str
    scores : float array, shape (subject, model)
    value : float array, shape (model,)
        Mean over subjects.
    interval : float array, shape (model, 2)
        95 %, for `over`; within the range of the comparators, [-1, 1].
    half_width : float array, shape (model,)
        Of the interval where that range does not end it.
    null : float array, shape (model,)
        Mean score with permuted conditions.
    p, p_corrected : float array, shape (model,)
        Of the permutation of conditions; corrected by the maximum over models.
    ceiling : Ceiling or None
        Per subject; None for a single one.
    p_below_ceiling : float array, shape (model,), or None
        One-sided: small where a model is reliably below the lower ceiling.
    differences : tuple of Difference
        Of all pairs of models.
    over : str
        What the intervals and p of differences generalise to: ``"both"``, ``"subjects"`` or ``"conditions"``.
    statement : str
        The same in words.
    n_subjects, n_conditions, n_draws, n_permutations : int
    """

    comparator: str
    models: tuple[str, ...]
    scores: np.ndarray
    value: np.ndarray
    interval: np.ndarray
    half_width: np.ndarray
    null: np.ndarray
    p: np.ndarray
    p_corrected: np.ndarray
    ceiling: Ceiling | None
    p_below_ceiling: np.ndarray | None
    differences: tuple[Difference, ...]
    over: str
    statement: str
    n_subjects: int
    n_conditions: int
    n_draws: int
    n_permutations: int

    @property
    def ceiling_range(self) -> tuple[float, float] | None:
        """Mean lower and upper ceiling."""
        return (
            None
            if self.ceiling is None
            else (float(self.ceiling.lower.mean()), float(self.ceiling.upper.mean()))
        )

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        rows = [
            {
                "model": name,
                "value": float(self.value[i]),
                "interval": [float(v) for v in self.interval[i]],
                "null": float(self.null[i]),
                "p": float(self.p[i]),
                "p_corrected": float(self.p_corrected[i]),
                "p_below_ceiling": None if self.p_below_ceiling is None else float(self.p_below_ceiling[i]),
            }
            for i, name in enumerate(self.models)
        ]
        names = ("comparator", "over", "statement", "n_subjects", "n_conditions", "n_draws", "n_permutations")
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        return found | {
            "models": rows,
            "ceiling": self.ceiling_range,
            "differences": [d._asdict() | {"interval": list(d.interval)} for d in self.differences],
        }


def infer(
    data: RDM,
    models: Mapping[str, RDM],
    *,
    comparator: str = "rho_a",
    over: str = "auto",
    n_draws: int = 1000,
    n_permutations: int = 1000,
    generator: torch.Generator,
) -> Inference:
    """Scores of models on subjects' RDMs, with intervals, a null, ceilings and paired differences.

    Parameters
    ----------
    data : RDM
        Axis ``"subject"``, or none for a single one.
    models : mapping of str to RDM
        Of the same conditions in any order, without leading axes.
    comparator : str
        See `comparators.compare`.
    over : str
        What intervals and differences generalise to: ``"both"`` other subjects and other stimuli (the corrected dual
        bootstrap), ``"subjects"``, ``"conditions"``; ``"auto"``: both, or conditions alone below five subjects.
    n_draws, n_permutations : int
    generator : torch.Generator

    Returns
    -------
    Inference
    """
    checks.at_least("number of models", len(models), 1)
    checks.one_of("over", over, ("auto", *OVER))
    if data.axes not in ((), ("subject",)):
        raise ValueError(
            f"data must have the axis ('subject',) or none, got {data.axes}; infer at one time and place."
        )
    names = tuple(models)
    rows = torch.stack([models[name].reorder(data.conditions).distances for name in names]).double()
    rows = rows.to(data.distances.device)
    values = data.distances.reshape(-1, data.distances.shape[-1]).double()
    chosen, statement = _generalises(over, len(values), data.n_conditions)
    scores = compare(values, rows, comparator)
    factors = OVER if chosen == "both" else (chosen,)
    draws = bootstrap(values, rows, comparator, n_draws, generator, factors=factors)
    null = permutation_null(values, rows, comparator, n_permutations, generator).cpu().numpy()
    mean, ceiling = (
        scores.mean(0).cpu().numpy(),
        noise_ceiling(values, comparator) if len(values) > 1 else None,
    )
    dof = {"conditions": data.n_conditions, "subjects": len(values)}.get(
        chosen, min(len(values), data.n_conditions)
    ) - 1
    half = _half_width(_sd(draws, torch.eye(len(names), dtype=torch.float64), chosen), dof)
    return Inference(
        comparator, names, scores.cpu().numpy(), mean,
        _within(mean, half, RANGE), half, null.mean(0),
        np.array([p_value(m, null[:, i]) for i, m in enumerate(mean)]), max_statistic_p(mean, null),
        ceiling, _below(draws, mean, ceiling, chosen, dof), _differences(draws, names, mean, chosen, dof),
        chosen, statement, len(values), data.n_conditions, n_draws, n_permutations,
    )  # fmt: skip


def _generalises(over: str, n_subjects: int, n_conditions: int) -> tuple[str, str]:
    few = n_subjects < FEW_SUBJECTS
    chosen = over if over != "auto" else ("conditions" if few else "both")
    if chosen != "conditions":
        checks.at_least("number of subjects, to generalise over subjects", n_subjects, 2)
    who = f"{n_subjects} subjects"
    within = "this one subject" if n_subjects == 1 else f"these {who}"
    said = {
        "both": f"Intervals and differences hold for other subjects and stimuli ({who}, {n_conditions} conditions).",
        "subjects": f"Intervals and differences hold for other subjects, these {n_conditions} stimuli alone ({who}).",
        "conditions": f"Intervals and differences hold for other stimuli in {within} alone ({n_conditions} conditions)"
        + ("; too few to speak of other subjects." if few else "."),
    }
    return chosen, said[chosen]


def _sd(draws: Draws, contrast: Tensor, over: str) -> np.ndarray:
    return draws.variance(contrast, over).clamp_min(0).sqrt().cpu().numpy()


def _half_width(sd: np.ndarray, dof: int) -> np.ndarray:
    return stats.t.ppf(0.975, dof) * sd


def _within(value: np.ndarray, half: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Intervals (k, 2) that end where no value can be."""
    return np.stack([value - half, value + half], axis=1).clip(*limits)


def _below(draws: Draws, mean: np.ndarray, ceiling: Ceiling | None, over: str, dof: int) -> np.ndarray | None:
    """p of the lower ceiling being no higher than each model."""
    if ceiling is None:
        return None
    n = len(mean)
    contrast = torch.cat([torch.eye(n), -torch.ones(n, 1), torch.zeros(n, 1)], dim=1).double()
    gap = mean - float(ceiling.lower.mean())
    return stats.t.cdf(_quotient(gap, _sd(draws, contrast, over)), dof)


def _differences(
    draws: Draws, names: tuple[str, ...], mean: np.ndarray, over: str, dof: int
) -> tuple[Difference, ...]:
    found = list(combinations(range(len(names)), 2))
    if not found:
        return ()
    contrast = torch.zeros(len(found), len(names), dtype=torch.float64)
    for row, (a, b) in enumerate(found):
        contrast[row, a], contrast[row, b] = 1.0, -1.0
    width = RANGE[1] - RANGE[0]
    value, sd = contrast.numpy() @ mean, _sd(draws, contrast, over)
    p = 2 * stats.t.sf(np.abs(_quotient(value, sd)), dof)
    limits, by_holm, by_fdr = _within(value, _half_width(sd, dof), (-width, width)), holm(p), fdr(p)
    return tuple(
        Difference(names[a], names[b], float(value[i]), (float(limits[i, 0]), float(limits[i, 1])), float(p[i]),
                   float(by_holm[i]), float(by_fdr[i]))
        for i, (a, b) in enumerate(found)
    )  # fmt: skip


def _quotient(value: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """value / sd; 0 where both are 0 (a model against its copy)."""
    safe = np.where(sd > 0, sd, 1.0)
    return np.where(sd > 0, value / safe, np.where(np.abs(value) > 0, np.sign(value) * np.inf, 0.0))
