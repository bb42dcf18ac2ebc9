"""The directions that several subjects' closed-form maps have in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def common_basis(weights: Sequence[Tensor], n_directions: int) -> Tensor:
    """Orthonormal directions of the output: the identity where everything fits, else the strongest common ones.

    Parameters
    ----------
    weights : sequence of Tensor, each shape (n_outputs, n_signal_values)
        One map a subject.
    n_directions : int
        At most n_outputs.

    Returns
    -------
    Tensor, shape (n_outputs, n_directions)
    """
    n_outputs = weights[0].shape[0]
    if n_directions == n_outputs:
        return torch.eye(n_outputs).to(weights[0])
    stacked = torch.cat(list(weights), dim=1).double()
    if stacked.shape[0] > stacked.shape[1]:
        left = torch.linalg.svd(stacked, full_matrices=False).U
        if left.shape[1] < n_directions:  # fewer signal values than directions: any others complete the basis
            left = torch.linalg.qr(torch.cat([left, torch.eye(n_outputs).to(left)], dim=1)).Q
        return left[:, :n_directions].to(weights[0])
    # Wide: the same left vectors come from the small Gram matrix; float64, because it squares the condition number.
    return torch.linalg.eigh(stacked @ stacked.T).eigenvectors.flip(1)[:, :n_directions].to(weights[0])
