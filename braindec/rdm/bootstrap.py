"""Variances of model scores over other subjects, other stimuli, and both: three bootstraps from one set of draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.ranks import average_ranks
from braindec.rdm.ceilings import ceiling_of_products
from braindec.rdm.comparators import compare, named
from braindec.rdm.pairs import n_conditions
from braindec.rdm.rank_resampling import rank_ceilings, rank_draws
from braindec.rdm.resampling import draw_counts, weighted_inner
from braindec.rdm.slow_resampling import gathered_draws, tau_ceilings

OVER = ("both", "subjects", "conditions")


class Draws(NamedTuple):
    """Scores of models, and then of the lower and upper ceiling (where there are any), in each bootstrap draw.

    Attributes
    ----------
    both, subjects, conditions : Tensor, shape (draw, model) or (draw, model + 2), or None
        Resampled over both, over subjects alone, over conditions alone; None where it was not asked for.
    n_subjects, n_conditions : int
    """

    both: Tensor | None
    subjects: Tensor | None
    conditions: Tensor | None
    n_subjects: int
    n_conditions: int

    def variance(self, contrast: Tensor, over: str) -> Tensor:
        """Sampling variance of contrasts of models, corrected for the size of the bootstrap's own variance.

        Parameters
        ----------
        contrast : Tensor, shape (k, model) or (k, model + 2)
            E.g. 1 and -1 for a difference.
        over : str
            ``"subjects"``, ``"conditions"`` or ``"both"``.

        Notes
        -----
        Drawing both factors counts the noise of single measurements twice; the corrected dual bootstrap takes it out:
        Schuett et al. 2023, doi:10.7554/eLife.82566.
        """
        checks.one_of("over", over, OVER)
        n_s, n_c = self.n_subjects, self.n_conditions
        if over == "conditions":
            return n_c / (n_c - 1) * _variance(self.conditions, contrast)
        checks.at_least("number of subjects", n_s, 2)
        s_subjects = _variance(self.subjects, contrast)
        by_subjects = n_s / (n_s - 1) * s_subjects
        if over == "subjects":
            return by_subjects
        s_both, s_conditions = _variance(self.both, contrast), _variance(self.conditions, contrast)
        by_conditions = n_c / (n_c - 1) * s_conditions
        shared = n_s * n_c / ((n_s - 1) * (n_c - 1)) * (s_both - s_subjects - s_conditions)
        corrected = by_subjects + by_conditions - shared
        return torch.minimum(torch.maximum(corrected, torch.maximum(by_subjects, by_conditions)), s_both)


def _variance(draws: Tensor | None, contrast: Tensor) -> Tensor:
    if draws is None:
        raise ValueError("these draws do not resample what the variance is to generalise to.")
    return (draws[:, : contrast.shape[1]] @ contrast.to(draws).T).var(0)


def bootstrap(
    data: Tensor,
    models: Tensor,
    comparator: str,
    n_draws: int,
    generator: torch.Generator,
    *,
    ceilings: bool = True,
    factors: Sequence[str] = OVER,
    counts: tuple[Tensor, Tensor] | None = None,
) -> Draws:
    """Scores under resampled subjects and conditions.

    Parameters
    ----------
    data : Tensor, shape (subject, pair)
    models : Tensor, shape (model, pair)
    comparator : str
    n_draws : int
    generator : torch.Generator
    ceilings : bool
        Whether the ceilings are resampled too, so that models can be tested against them; for two subjects or more.
    factors : sequence of str
        Which bootstraps are made, out of ``"both"``, ``"subjects"``, ``"conditions"``; the corrected variance over both
        needs all three.
    counts : (condition counts (draw, condition), subject counts (draw, subject)), optional
        Draws made before, instead of new ones.
    """
    n, n_subjects = n_conditions(data.shape[1]), len(data)
    if counts is None:
        counts = draw_counts(n, n_draws, generator), draw_counts(n_subjects, n_draws, generator)
    of_conditions, of_subjects = (c.to(data.device) for c in counts)
    for factor in factors:
        checks.one_of("factor", factor, OVER)
    limits = ceilings and n_subjects > 1
    ones = torch.ones_like(of_subjects)
    parts: dict[str, Tensor] = {}
    if "both" in factors or "conditions" in factors:
        needed = [c for f, c in (("conditions", ones), ("both", of_subjects)) if f in factors]
        scores, found = _resampled(data, models, comparator, of_conditions, needed if limits else [])
        for factor, counted in (("conditions", ones), ("both", of_subjects)):
            if factor in factors:
                mean = _mean(scores, counted)
                parts[factor] = torch.cat([mean, found.pop(0)], 1) if limits else mean
    if "subjects" in factors:
        mean = _mean(compare(data, models, comparator).double().expand(len(of_subjects), -1, -1), of_subjects)
        more = [_fixed_conditions(data, comparator, of_subjects)] if limits else []
        parts["subjects"] = torch.cat([mean, *more], 1)
    kept = torch.stack([one.isfinite().all(1) for one in parts.values()]).all(0)
    checks.at_least("draws with more than one condition and subject", int(kept.sum()), 2)
    made = {factor: one[kept] for factor, one in parts.items()}
    return Draws(made.get("both"), made.get("subjects"), made.get("conditions"), n_subjects, n)


def _resampled(
    data: Tensor, models: Tensor, comparator: str, of_conditions: Tensor, limits: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Scores (draw, subject, model), and mean ceilings (draw, 2) for each of the counts of subjects in `limits`."""
    if comparator in ("pearson", "cosine"):
        found = weighted_inner(data, models, of_conditions, centred=comparator == "pearson")
        return found.scores, [_ceiling_means(ceiling_of_products(found.products, c), c) for c in limits]
    make = rank_draws if comparator in ("rho_a", "spearman") else gathered_draws
    found_draws = make(data, models, of_conditions, comparator, limits)
    return found_draws.scores, [
        _ceiling_means(pair, c) for pair, c in zip(found_draws.ceilings, limits, strict=True)
    ]


def _fixed_conditions(data: Tensor, comparator: str, of_subjects: Tensor) -> Tensor:
    """Mean ceilings (draw, 2) when only subjects are resampled."""
    chosen = named(comparator)
    if chosen.prepare is not None and not chosen.ranks:
        prepared = chosen.prepare(data.double())
        products = (prepared @ prepared.T).expand(len(of_subjects), -1, -1)
        return _ceiling_means(ceiling_of_products(products, of_subjects), of_subjects)
    if chosen.prepare is None:
        found = [tau_ceilings(data, c) for c in of_subjects]
    else:
        ranks = average_ranks(data.double())
        ranks -= (ranks.shape[1] + 1) / 2
        one = torch.ones_like(ranks[0])
        found = [rank_ceilings(ranks, one, c, comparator) for c in of_subjects]
    lower, upper = (torch.stack(side) for side in zip(*found, strict=True))
    return _ceiling_means((lower, upper), of_subjects)


def _mean(scores: Tensor, counts: Tensor) -> Tensor:
    """Mean over the subjects of each draw: (draw, subject, model) -> (draw, model)."""
    return torch.einsum("dsm,ds->dm", scores.double(), counts) / counts.sum(1, keepdim=True)


def _ceiling_means(ceiling: tuple[Tensor, Tensor], counts: Tensor) -> Tensor:
    """Mean lower and upper ceiling over the subjects of each draw, (draw, 2)."""
    weight = counts / counts.sum(1, keepdim=True)
    # A subject that was not drawn counts nothing, whatever its ceiling; one that was drawn alone has none: NaN.
    counted = [torch.where(weight > 0, one, torch.zeros_like(one)) * weight for one in ceiling]
    return torch.stack([one.sum(1) for one in counted], dim=1)
