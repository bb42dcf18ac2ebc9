"""How well any model could do, given how much subjects differ: leave-one-out ceilings of each subject."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.ranks import average_ranks
from braindec.maths.tensors import Array, as_tensor
from braindec.rdm.comparators import compare, named


class Ceiling(NamedTuple):
    """Per subject (subject,): comparison with the mean of the others, and with the mean of all, itself included.

    The true ceiling lies between their means over subjects: the mean of the others is one model that could be had, the
    mean of all is fitted to each subject.
    """

    lower: Tensor
    upper: Tensor


def noise_ceiling(data: Array, comparator: str = "rho_a") -> Ceiling:
    """The range in which the best possible model would score.

    Parameters
    ----------
    data : Tensor or array, shape (subject, pair)
        At least two subjects.
    comparator : str
        See `comparators.compare`.

    Returns
    -------
    Ceiling

    Notes
    -----
    Nili et al. 2014, doi:10.1371/journal.pcbi.1003553. Subjects are averaged in the form in which they are compared:
    ranked, standardised or whitened. For ranks with ties no closed form is the best model, so that the upper limit is
    that of the mean ranks, as usual.
    """
    data = as_tensor("data", data)
    checks.n_axes("data", data, ("subject", "pair"))
    checks.at_least("number of subjects", len(data), 2)
    chosen = named(comparator)
    if chosen.prepare is None or chosen.ranks:
        ranks = average_ranks(data.double())
        whole = ranks.sum(0)
        upper = compare(data, whole[None], comparator)[:, 0]
        lower = torch.stack(
            [compare(d, (whole - r)[None], comparator)[0] for d, r in zip(data, ranks, strict=True)]
        )
        return Ceiling(lower, upper)
    prepared = chosen.prepare(data.double())
    return ceiling_of_products(prepared @ prepared.T)


def ceiling_of_products(products: Tensor, counts: Tensor | None = None) -> Ceiling:
    """Ceilings from nothing but how subjects compare with each other.

    Parameters
    ----------
    products : Tensor, shape (..., subject, subject)
        Inner products of the subjects' unit vectors: their correlations.
    counts : Tensor, shape (..., subject), optional
        How often each subject occurs (in a bootstrap draw); its copies are left out together.

    Returns
    -------
    Ceiling
        (..., subject); the lower is NaN for a subject without others.
    """
    c = torch.ones_like(products[..., 0]) if counts is None else counts.to(products)
    with_all = (products * c[..., None, :]).sum(-1)
    total = (with_all * c).sum(-1, keepdim=True)
    own = products.diagonal(dim1=-2, dim2=-1)
    left = total - 2 * c * with_all + c.square() * own  # squared length of the sum without the subject
    alone = c.sum(-1, keepdim=True) - c <= 0
    lower = ((with_all - c * own) / left.clamp_min(0).sqrt()).masked_fill(alone, torch.nan)
    return Ceiling(lower, with_all / total.sqrt())
