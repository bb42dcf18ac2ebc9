"""Variances of model scores over other subjects, other stimuli, and both: three bootstraps from one set of draws."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.ranks import average_ranks
from braindec.rdm.ceilings import ceiling_of_products
from braindec.rdm.comparators import compare, named
from braindec.rdm.pairs import n_conditions
from braindec.rdm.rank_resampling import rank_draws
from braindec.rdm.resampling import draw_counts, weighted_inner
from braindec.rdm.slow_resampling import gathered_draws

OVER = ("both", "subjects", "conditions")


class Draws(NamedTuple):
    """Scores of models, and then of the lower and upper ceiling (where there are any), in each bootstrap draw.

    Parameters
    ----------
    both, subjects, conditions : Tensor, shape (draw, model) or (draw, model + 2)
        Resampled over both, over subjects alone, over conditions alone.
    n_subjects, n_conditions : int
    """

    both: Tensor
    subjects: Tensor
    conditions: Tensor
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
        draws = (self.both, self.subjects, self.conditions)
        s_both, s_subjects, s_conditions = (
            (d[:, : contrast.shape[1]] @ contrast.to(d).T).var(0) for d in draws
        )
        n_s, n_c = self.n_subjects, self.n_conditions
        if over == "conditions":
            return n_c / (n_c - 1) * s_conditions
        checks.at_least("number of subjects", n_s, 2)
        by_subjects = n_s / (n_s - 1) * s_subjects
        if over == "subjects":
            return by_subjects
        by_conditions = n_c / (n_c - 1) * s_conditions
        shared = n_s * n_c / ((n_s - 1) * (n_c - 1)) * (s_both - s_subjects - s_conditions)
        corrected = by_subjects + by_conditions - shared
        return torch.minimum(torch.maximum(corrected, torch.maximum(by_subjects, by_conditions)), s_both)


def bootstrap(
    data: Tensor,
    models: Tensor,
    comparator: str,
    n_draws: int,
    generator: torch.Generator,
    *,
    ceilings: bool = True,
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
    counts : (condition counts (draw, condition), subject counts (draw, subject)), optional
        Draws made before, instead of new ones.
    """
    n, n_subjects = n_conditions(data.shape[1]), len(data)
    if counts is None:
        counts = draw_counts(n, n_draws, generator), draw_counts(n_subjects, n_draws, generator)
    of_conditions, of_subjects = (c.to(data.device) for c in counts)
    whole = compare(data, models, comparator).double()
    scores, at_conditions, at_both = _resampled(
        data, models, comparator, of_conditions, of_subjects, ceilings
    )
    ones = torch.ones_like(of_subjects)
    parts = [
        (_mean(scores, of_subjects), at_both),
        (_mean(whole.expand(len(of_subjects), -1, -1), of_subjects), None),
        (_mean(scores, ones), at_conditions),
    ]
    if ceilings and n_subjects > 1:
        parts[1] = (parts[1][0], _fixed_conditions(data, comparator, of_subjects))
    joined = [value if more is None else torch.cat([value, more], 1) for value, more in parts]
    kept = torch.stack([one.isfinite().all(1) for one in joined]).all(0)
    checks.at_least("draws with more than one condition and subject", int(kept.sum()), 2)
    return Draws(joined[0][kept], joined[1][kept], joined[2][kept], n_subjects, n)


def _resampled(
    data: Tensor, models: Tensor, comparator: str, of_conditions: Tensor, of_subjects: Tensor, ceilings: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Scores (draw, subject, model), and mean ceilings (draw, 2) with all subjects and with those of the draw."""
    wanted = ceilings and len(data) > 1
    ones = torch.ones_like(of_subjects)
    if comparator in ("pearson", "cosine"):
        found = weighted_inner(data, models, of_conditions, centred=comparator == "pearson")
        if not wanted or found.products is None:
            return found.scores, None, None
        limits = [_ceiling_means(ceiling_of_products(found.products, c), c) for c in (ones, of_subjects)]
        return found.scores, limits[0], limits[1]
    make = rank_draws if comparator in ("rho_a", "spearman") else gathered_draws
    if not wanted:
        return make(data, models, of_conditions, comparator, None).scores, None, None
    first = make(data, models, of_conditions, comparator, ones)
    second = make(data, models[:1], of_conditions, comparator, of_subjects)
    return (
        first.scores,
        _ceiling_means((first.lower, first.upper), ones),
        _ceiling_means((second.lower, second.upper), of_subjects),
    )


def _fixed_conditions(data: Tensor, comparator: str, of_subjects: Tensor) -> Tensor:
    """Mean ceilings (draw, 2) when only subjects are resampled."""
    chosen = named(comparator)
    if chosen.prepare is not None and not chosen.ranks:
        prepared = chosen.prepare(data.double())
        products = (prepared @ prepared.T).expand(len(of_subjects), -1, -1)
        return _ceiling_means(ceiling_of_products(products, of_subjects), of_subjects)
    # The mean ranks are those of the subjects that were drawn, copies included.
    out = []
    for c in of_subjects:
        drawn = torch.repeat_interleave(torch.arange(len(data), device=data.device), c.long())
        if len(drawn.unique()) < 2:
            out.append(torch.full((2,), torch.nan, dtype=torch.float64, device=data.device))
            continue
        out.append(_without_copies(data, comparator, drawn))
    return torch.stack(out)


def _without_copies(data: Tensor, comparator: str, drawn: Tensor) -> Tensor:
    ranks = average_ranks(data.double())
    names, counts = drawn.unique(return_counts=True)
    whole = ranks.index_select(0, drawn).sum(0)
    pools = torch.stack([whole - ranks[s] * c for s, c in zip(names, counts, strict=True)])
    lower = torch.stack(
        [compare(data[s][None], pool[None], comparator)[0, 0] for s, pool in zip(names, pools, strict=True)]
    )
    upper = compare(data.index_select(0, names), whole[None], comparator)[:, 0]
    weight = counts.double() / counts.sum()
    return torch.stack([lower.double() @ weight, upper.double() @ weight])


def _mean(scores: Tensor, counts: Tensor) -> Tensor:
    """Mean over the subjects of each draw: (draw, subject, model) -> (draw, model)."""
    return torch.einsum("dsm,ds->dm", scores.double(), counts) / counts.sum(1, keepdim=True)


def _ceiling_means(ceiling: tuple[Tensor | None, Tensor | None], counts: Tensor) -> Tensor:
    lower, upper = (one for one in ceiling if one is not None)
    weight = counts / counts.sum(1, keepdim=True)
    # A subject that was not drawn counts nothing, whatever its ceiling; one that was drawn alone has none: NaN.
    counted = [torch.where(weight > 0, one, torch.zeros_like(one)) * weight for one in (lower, upper)]
    return torch.stack([one.sum(1) for one in counted], dim=1)
