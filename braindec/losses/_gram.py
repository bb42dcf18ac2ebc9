"""What losses that compare geometries share: how the trials of a batch lie to each other."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec.losses._contrast import exactly, flat

FEWEST = 4  # trials of a batch: the debiased product divides by n - 3
SMALLEST = 1e-12  # of a matrix whose entries are about 1: below it there is no geometry to align


def gram(embeddings: Tensor) -> Tensor:
    """Inner products of centred trials over their mean square: (n_trials, n_trials), float64, trace n_trials.

    Zero for trials that are all alike. Products are made in the precision of the embeddings, single at least.
    """
    values = flat(embeddings)
    values = values - values.mean(0)
    with exactly(values):
        products = (values @ values.T).double()
    power = products.diagonal().mean()
    return products / torch.where(power > 0, power, 1.0)


def u_centred(products: Tensor) -> Tensor:
    """Rows and columns (n, n) of mean zero without their diagonal, which is zero.

    Inner products of such matrices are unbiased, so that the norm of one is never negative (Szekely & Rizzo 2014,
    doi:10.1214/14-AOS1255, section 2); over n (n - 3) it is the HSIC of Song et al. 2012.
    """
    n = len(products)
    apart = products - torch.diag(products.diagonal())
    rows = apart.sum(1)
    centred = apart - (rows[:, None] + rows) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    return centred - torch.diag(centred.diagonal())


def misalignment(x: Tensor, y: Tensor) -> Tensor:
    """1 - cosine of two symmetric matrices (n_trials, n_trials), scalar; 1 where one of them is zero."""
    power = (x * x).sum().clamp_min(SMALLEST) * (y * y).sum().clamp_min(SMALLEST)
    return 1 - (x * y).sum() / power.sqrt()
