"""Codes by matching pursuit: atom after atom, each the one that explains most of what the others left."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec.maths import gemm
from braindec.sparse.codes import Code


def encode(centred: Tensor, atoms: Tensor, n_active: int) -> Code:
    """The code of matching pursuit, differentiable in inputs and atoms.

    Parameters
    ----------
    centred : Tensor, shape (n_samples, n_dims)
        Inputs less the bias.
    atoms : Tensor, shape (n_latents, n_dims)
        Of norm 1; they encode and decode.
    n_active : int
        Steps; an atom may be chosen again, so that at most so many latents are active.

    Notes
    -----
    Costa et al. 2025, arXiv:2506.03093, after Mallat and Zhang 1993, doi:10.1109/78.258082: in each step the atom of
    largest product with what is left, that product (at least 0) added to its activation and taken from what is left.
    """
    left, chosen, values = centred, [], []
    for _ in range(n_active):
        with torch.no_grad():
            best = gemm.mm(left, atoms.T).argmax(1)
        atom = atoms[best]
        value = torch.relu((left * atom).sum(1))
        left = left - value[:, None] * atom
        chosen.append(best)
        values.append(value)
    return _merged(torch.stack(chosen, 1), torch.stack(values, 1), len(atoms))


def _merged(chosen: Tensor, values: Tensor, n_latents: int) -> Code:
    """A code from latents and values (n_samples, n_steps); what one latent got in several steps is summed."""
    same = chosen[:, :, None] == chosen[:, None, :]
    summed = (same * values[:, None, :]).sum(2)
    again = same.tril(-1).any(2).flatten()
    offsets = torch.arange(0, chosen.numel(), chosen.shape[1], device=chosen.device)
    return Code(summed.flatten(), chosen.flatten(), offsets, n_latents).where(~again)
