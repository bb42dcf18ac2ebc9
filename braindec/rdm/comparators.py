"""How alike two RDMs are: correlations of distances, of their ranks, and of distances whitened by their covariance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import standardise
from braindec.maths.ranks import average_ranks
from braindec.maths.tensors import Array, as_tensor
from braindec.rdm import whitening
from braindec.rdm.discordance import tau_a
from braindec.rdm.matrix import RDM


@dataclass(frozen=True)
class Comparator:
    """A way to compare RDMs that is an inner product of prepared distances, or counts pairs.

    Parameters
    ----------
    name : str
    prepare : callable or None
        Distances (..., pair) to vectors whose inner products are the comparison; None for tau-a.
    ranks : bool
        Whether only the order of distances counts.
    source : str
    """

    name: str
    prepare: Callable[[Tensor], Tensor] | None
    ranks: bool
    source: str


def unit(x: Tensor) -> Tensor:
    """Rows of length one; a row of zeros stays zero, because it is like nothing."""
    length = x.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, x / length.clamp_min(torch.finfo(x.dtype).tiny), torch.zeros_like(x))


def _ranks(x: Tensor) -> Tensor:
    return average_ranks(x.double())


def _rho_a(x: Tensor) -> Tensor:
    """Centred ranks whose inner product is rho-a: the expected Spearman correlation after ties are broken at random."""
    n = x.shape[-1]
    return (_ranks(x) - (n + 1) / 2) * (12.0 / (float(n) ** 3 - n)) ** 0.5


def _whitened_correlation(x: Tensor) -> Tensor:
    return unit(whitening.whitened(x - x.mean(-1, keepdim=True)))


RANGE = (-1.0, 1.0)  # of every comparator, and so of means over subjects
_KRIEGESKORTE = "Kriegeskorte et al. 2008, doi:10.3389/neuro.06.004.2008"
_DIEDRICHSEN = "Diedrichsen et al. 2021, arXiv:2007.02789"
_SCHUETT = "Schuett et al. 2023, doi:10.7554/eLife.82566"
COMPARATORS = {
    c.name: c
    for c in (
        Comparator("rho_a", _rho_a, True, _SCHUETT),
        Comparator("spearman", lambda x: standardise(_ranks(x)), True, _KRIEGESKORTE),
        Comparator("pearson", standardise, False, _KRIEGESKORTE),
        Comparator("cosine", unit, False, "Walther et al. 2016, doi:10.1016/j.neuroimage.2015.12.012"),
        Comparator("tau_a", None, True, "Nili et al. 2014, doi:10.1371/journal.pcbi.1003553"),
        Comparator("whitened_cosine", lambda x: unit(whitening.whitened(x)), False, _DIEDRICHSEN),
        Comparator("whitened_correlation", _whitened_correlation, False, _DIEDRICHSEN),
    )
}  # fmt: skip


def named(name: str) -> Comparator:
    """The comparator of this name; a ConfigError that lists them else."""
    return checks.known_key("comparator", name, COMPARATORS)


def compare(a: Array, b: Array, comparator: str = "rho_a") -> Tensor:
    """Every set of distances of `a` against every one of `b`.

    Parameters
    ----------
    a : Tensor or array, shape (..., pair)
    b : Tensor or array, shape (model, pair)
    comparator : str
        ``"rho_a"`` (default: fair to models with ties, such as categories), ``"spearman"``, ``"pearson"``, ``"cosine"``
        (of cross-validated distances, whose zero means something), ``"tau_a"``, ``"whitened_cosine"``,
        ``"whitened_correlation"``.

    Returns
    -------
    Tensor, shape (..., model)
        In [-1, 1]; rho-a and tau-a of tied distances stay below 1 even with themselves.
    """
    chosen = named(comparator)
    a, b = _floating("a", a), _floating("b", b)
    checks.n_axes("b", b, ("model", "pair"))
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"a has {a.shape[-1]} along axis 'pair' but b has {b.shape[-1]}; they must match.")
    if chosen.prepare is None:
        return torch.stack([tau_a(a, model) for model in b], dim=-1)
    return _inner(chosen.prepare(a), chosen.prepare(b))


def _floating(name: str, values: Array) -> Tensor:
    """Distances as a tensor; whole numbers and bools (which labels differ) as float64."""
    found = as_tensor(name, values)
    return found if found.is_floating_point() else found.double()


def _inner(a: Tensor, b: Tensor) -> Tensor:
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype) @ b.to(dtype).mT


def compare_rdms(a: RDM, b: RDM, comparator: str = "rho_a") -> Tensor:
    """`compare` after the conditions of `b` are brought into the order of `a`.

    Parameters
    ----------
    a : RDM, axes (...)
    b : RDM, axes () or one axis
        Of the same conditions in any order.
    comparator : str

    Returns
    -------
    Tensor, shape (...) or (..., model)
    """
    other = b.reorder(a.conditions).distances
    found = compare(a.distances, other.reshape(-1, other.shape[-1]), comparator)
    return found[..., 0] if other.ndim == 1 else found


def partial(a: Array, b: Array, nuisance: Array, *, ranks: bool = True) -> Tensor:
    """Correlation of distances after what nuisance RDMs explain linearly is taken from both.

    Parameters
    ----------
    a : Tensor or array, shape (..., pair)
    b : Tensor or array, shape (model, pair)
    nuisance : Tensor or array, shape (k, pair)
        Order, time distance, run (see `nuisances`), low-level features.
    ranks : bool
        Of ranks (partial Spearman), else of the distances.

    Returns
    -------
    Tensor, shape (..., model)
        In [-1, 1]; 0 for a model that the nuisances explain fully.
    """
    a, b, nuisance = _floating("a", a), _floating("b", b), _floating("nuisance", nuisance)
    checks.n_axes("nuisance", nuisance, ("nuisance", "pair"))
    basis = _basis(_prepared(nuisance, ranks))
    left, right = (_without(_prepared(x, ranks), basis) for x in (a, b))
    return _inner(left, right).clamp(-1.0, 1.0)


def _prepared(x: Tensor, ranks: bool) -> Tensor:
    return standardise(_ranks(x)) if ranks else standardise(x.double())


def _basis(rows: Tensor) -> Tensor:
    """Orthonormal rows that span these."""
    _, values, vectors = torch.linalg.svd(rows, full_matrices=False)
    return vectors[values > 1e-9 * values.max().clamp_min(1e-300)]


def _without(x: Tensor, basis: Tensor) -> Tensor:
    rest = x - (x @ basis.mT) @ basis
    length = rest.norm(dim=-1, keepdim=True)
    # What is left of a unit vector inside the span is rounding, whose direction means nothing.
    return torch.where(length > 1e-7, rest / length.clamp_min(1e-300), torch.zeros_like(rest))
