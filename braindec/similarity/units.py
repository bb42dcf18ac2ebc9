"""Units: whether single features of one side are features of the other, matched on some stimuli, judged on others."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.assignment import assign
from braindec.maths.correlation import pearson, standardise
from braindec.similarity import Measure
from braindec.similarity._clusters import spectral_labels
from braindec.similarity._halves import both_ways, halves

LIKE = "Li et al. 2016, arXiv:1511.07543"
PURSUED = 5  # units of one side that together may stand for one of the other
LARGEST = 8192  # units a side that are paired one to one or grouped: both need all correlations at once
AT_ONCE = 2**24  # correlations held at once


class Matched(NamedTuple):
    """Pairs of units (k,), int64, with the correlations that they were chosen by (k,) and those on other rows (k,)."""

    x_units: Tensor
    y_units: Tensor
    chosen_by: Tensor
    correlation: Tensor


class Universality(NamedTuple):
    """Of every unit: its likest unit elsewhere, their correlation on new rows (p,), that of rotated features (p,)."""

    unit: Tensor
    correlation: Tensor
    rotated: Tensor

    @property
    def excess(self) -> Tensor:
        """Correlation beyond what features without an own basis reach, (p,)."""
        return self.correlation - self.rotated


def correlations(x: Tensor, y: Tensor) -> Tensor:
    """Correlation of every unit of x with every unit of y over rows, (p, q); 0 where either is constant."""
    checks.same_length("row", x=x, y=y)
    return standardise(x, 0).T @ standardise(y, 0)


def match_one_to_one(x: Tensor, y: Tensor, held_out: tuple[Tensor, Tensor]) -> Matched:
    """Every unit of the smaller side with one unit of the other so that the correlations add up to the most.

    Parameters
    ----------
    x, y : Tensor, shapes (n, p) and (n, q)
        Rows that the pairs are chosen on.
    held_out : (Tensor, Tensor), shapes (m, p) and (m, q)
        Other rows, that the correlations are measured on.

    Notes
    -----
    Li et al. 2016, arXiv:1511.07543, section 3.2 (bipartite matching).
    """
    checks.in_range("number of units", max(x.shape[1], y.shape[1]), 1, LARGEST)
    table = correlations(x, y)
    rows, columns = assign(table)
    fresh = pearson(held_out[0][:, rows], held_out[1][:, columns], 0)
    return Matched(rows, columns, table[rows, columns], fresh)


def match_nearest(x: Tensor, y: Tensor, held_out: tuple[Tensor, Tensor]) -> Matched:
    """For every unit of y the likest one of x, which may be taken several times (semi-matching, same source)."""
    values, rows = _nearest(x, y)
    columns = torch.arange(y.shape[1], device=y.device)
    return Matched(rows, columns, values, pearson(held_out[0][:, rows], held_out[1], 0))


def match_sparse(x: Tensor, y: Tensor, n_units: int = PURSUED) -> tuple[Tensor, Tensor]:
    """Few units of x whose weighted sum is most like each unit of y.

    Parameters
    ----------
    x, y : Tensor, shapes (n, p) and (n, q)
        Features of the same rows, about their means.
    n_units : int
        At most so many for each unit of y, >= 1.

    Returns
    -------
    units : int64 Tensor, shape (q, n_units)
    weights : Tensor, shape (q, n_units)
        Of the features as they are.

    Notes
    -----
    Orthogonal matching pursuit of all units at once (Pati et al. 1993, doi:10.1109/ACSSC.1993.342465) in place of the
    lasso of Li et al. 2016, section 4: the same question with a stated number of units.
    """
    checks.in_range("n_units", n_units, 1, min(x.shape))
    atoms, aims = standardise(x, 0), y - y.mean(0)
    gram, products = atoms.T @ atoms, atoms.T @ aims  # (p, p), (p, q)
    eye = torch.eye(n_units, dtype=x.dtype, device=x.device)
    taken = torch.zeros(y.shape[1], 0, dtype=torch.int64, device=x.device)
    left, weights = products.clone(), products.new_zeros(y.shape[1], 0)
    for step in range(1, n_units + 1):
        score = left.abs().scatter(0, taken.T, -1.0) if step > 1 else left.abs()
        taken = torch.cat([taken, score.argmax(0)[:, None]], 1)  # (q, step)
        inner = gram[taken[:, :, None], taken[:, None, :]]
        # Equal units make the system singular; a trace of ridge shares the weight between them.
        inner = inner + 1e-5 * eye[:step, :step]
        weights = torch.linalg.solve(inner, products.T.gather(1, taken)[..., None]).squeeze(-1)
        left = products - _weighted(gram, taken, weights)
    spread = (x - x.mean(0)).norm(dim=0)
    return taken, weights / spread[taken].clamp_min(torch.finfo(x.dtype).tiny)


def match_groups(x: Tensor, y: Tensor, n_groups: int) -> tuple[Tensor, Tensor]:
    """Groups of units on both sides that go together: a label for each unit of x (p,) and of y (q,), int64.

    Notes
    -----
    Spectral co-clustering of the absolute correlations (Dhillon 2001, doi:10.1145/502512.502550) as in Li et al. 2016,
    section 5 (many-to-many).
    """
    checks.in_range("number of units", max(x.shape[1], y.shape[1]), 1, LARGEST)
    return spectral_labels(correlations(x, y).abs(), n_groups)


def universality(x: Tensor, others: list[Tensor], generator: torch.Generator) -> Universality:
    """How far every unit of x is found again, on average over other systems.

    Parameters
    ----------
    x : Tensor, shape (n, p)
    others : list of Tensor, shape (n, q_i)
        Other systems on the same rows.
    generator : torch.Generator
        Rotates the others' features at random: what is left then is due to shared geometry, not to shared units.

    Returns
    -------
    Universality
        `unit` is of the first of the others. Units are chosen by absolute correlation on half of the rows, correlations
        keep the sign they were chosen with and are measured on the other half, both ways.

    Notes
    -----
    Gurnee et al. 2024, arXiv:2401.12181, section 3: excess correlation over a random rotation.
    """
    checks.at_least("number of other systems", len(others), 1)
    own, rotated = [], []
    for y in others:
        own.append(_found_again(x, y))
        matrix = torch.randn(y.shape[1], y.shape[1], generator=generator, dtype=torch.float64)
        rotated.append(_found_again(x, y @ torch.linalg.qr(matrix).Q.to(y)))
    likest = _nearest(others[0], x, signed=False)[1]
    return Universality(likest, torch.stack(own).mean(0), torch.stack(rotated).mean(0))


def _found_again(x: Tensor, y: Tensor) -> Tensor:
    made = []
    for learn, judge in halves(len(x)):
        values, units = _nearest(y[learn], x[learn], signed=False)
        made.append(pearson(y[judge][:, units], x[judge], 0) * values.sign())
    return torch.stack(made).mean(0)


def _nearest(x: Tensor, y: Tensor, *, signed: bool = True) -> tuple[Tensor, Tensor]:
    """Of every unit of y the correlation with its likest unit of x, and which one, some units of y at a time."""
    atoms, values, units = standardise(x, 0).T, [], []
    for some in standardise(y, 0).split(max(1, AT_ONCE // x.shape[1]), 1):
        table = atoms @ some
        best = (table if signed else table.abs()).argmax(0)
        units.append(best)
        values.append(table.gather(0, best[None])[0])
    return torch.cat(values), torch.cat(units)


def _weighted(gram: Tensor, taken: Tensor, weights: Tensor) -> Tensor:
    """gram[:, taken] weights of every aim, (p, q)."""
    full = torch.zeros(len(taken), len(gram), dtype=gram.dtype, device=gram.device).scatter_(
        1, taken, weights
    )
    return gram @ full.T


def _one_to_one(xa: Tensor, ya: Tensor, xb: Tensor, yb: Tensor) -> Tensor:
    return match_one_to_one(xa, ya, (xb, yb)).correlation.mean()


def _nearest_unit(xa: Tensor, ya: Tensor, xb: Tensor, yb: Tensor) -> Tensor:
    return match_nearest(xa, ya, (xb, yb)).correlation.mean()


def _one_to_many(xa: Tensor, ya: Tensor, xb: Tensor, yb: Tensor) -> Tensor:
    units, weights = match_sparse(xa - xa.mean(0), ya, min(PURSUED, *xa.shape))
    made = (xb[:, units] * weights).sum(-1)
    return pearson(made, yb, 0).mean()


def _many_to_many(xa: Tensor, ya: Tensor, xb: Tensor, yb: Tensor) -> Tensor:
    """Correlation on new rows of what both sides of a group have most in common, weighted by its units."""
    x_groups, y_groups = match_groups(xa, ya, max(2, min(8, min(xa.shape[1], ya.shape[1]) // 2)))
    total, weight = xa.new_zeros((), dtype=torch.float64), 0
    for group in torch.unique(torch.cat([x_groups, y_groups])).tolist():
        own, other = x_groups == group, y_groups == group
        n_units = int(own.sum() + other.sum())
        weight += n_units
        if bool(own.any()) and bool(other.any()):
            u, _, vh = torch.linalg.svd(correlations(xa[:, own], ya[:, other]).double(), full_matrices=False)
            first = (xb[:, own] / _spread(xa[:, own])) @ u[:, 0].to(xb)
            second = (yb[:, other] / _spread(ya[:, other])) @ vh[0].to(yb)
            total = total + n_units * pearson(first, second)
    return total / max(1, weight)


def _spread(x: Tensor) -> Tensor:
    found = x.std(0)
    return torch.where(found > 0, found, torch.ones_like(found))


def _universality(xa: Tensor, ya: Tensor, xb: Tensor, yb: Tensor) -> Tensor:
    values, units = _nearest(ya, xa, signed=False)
    return (pearson(yb[:, units], xb, 0) * values.sign()).mean()


JUDGED = "matched on every other stimulus, judged on the rest, both ways"
OWN_SCALE = ("scale", "shift", "unit_scale")
MEASURES = {
    "one_to_one": Measure(
        "one_to_one", both_ways(_one_to_one), True, "permuted_stimuli", f"{LIKE}, bipartite matching; {JUDGED}",
        unchanged_by=OWN_SCALE, fewest=8,
    ),
    "nearest_unit": Measure(
        "nearest_unit", both_ways(_nearest_unit), True, "permuted_stimuli",
        f"{LIKE}, the likest unit of the first side for every unit of the second; {JUDGED}",
        symmetric=False, unchanged_by=OWN_SCALE, fewest=8,
    ),
    "one_to_many": Measure(
        "one_to_many", both_ways(_one_to_many), True, "permuted_stimuli",
        f"{LIKE}, every unit of the second side from at most {PURSUED} of the first, by matching pursuit; {JUDGED}",
        symmetric=False, unchanged_by=OWN_SCALE, fewest=12,
    ),
    "many_to_many": Measure(
        "many_to_many", both_ways(_many_to_many), True, "permuted_stimuli",
        f"{LIKE}, groups by spectral co-clustering (Dhillon 2001, doi:10.1145/502512.502550); {JUDGED}",
        unchanged_by=OWN_SCALE, fewest=12,
    ),
    "universality": Measure(
        "universality", both_ways(_universality), True, "random_rotation",
        f"Gurnee et al. 2024, arXiv:2401.12181: absolute correlation of the first side's units; {JUDGED}",
        symmetric=False, unchanged_by=OWN_SCALE, fewest=8,
    ),
}  # fmt: skip
