"""How nearly orthogonal atoms are, and whether activations are as large, and as many, as that says they must be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec.sparse.absorption import origin
from braindec.sparse.dictionary import BLOCK, Dictionary, coded
from braindec.sparse.matching import cosines


@dataclass(frozen=True, eq=False)
class Coherence:
    """Cosines of pairs of atoms.

    Parameters
    ----------
    largest : float
        Of absolute cosines: atoms are quasi-orthogonal to within this much.
    root_mean_square : float
    welch : float
        What no set of as many directions in as many dims can be below; 0 where they fit orthogonally.
    random : Tensor, shape (n_draws,)
        `largest` of as many directions drawn at random.
    """

    largest: float
    root_mean_square: float
    welch: float
    random: Tensor


def coherence(atoms: Tensor, *, generator: torch.Generator, n_draws: int = 19) -> Coherence:
    """How nearly orthogonal atoms (n_latents, n_dims) are, beside the best there can be and beside chance.

    Parameters
    ----------
    atoms : Tensor, shape (n_latents, n_dims)
        At least two.
    generator : torch.Generator
        On the CPU.
    n_draws : int

    Notes
    -----
    Welch 1974, doi:10.1109/TIT.1974.1055219: sqrt((n - d) / (d (n - 1))).
    """
    n, dims = atoms.shape
    if n < 2:
        raise ValueError(f"atoms must be at least 2 to have an angle, got {n}.")
    off = _pairs(atoms)
    drawn = [_pairs(torch.randn(n, dims, generator=generator)).max() for _ in range(n_draws)]
    welch = math.sqrt(max(0, n - dims) / (dims * (n - 1)))
    return Coherence(float(off.max()), float(off.square().mean().sqrt()), welch, torch.stack(drawn))


def _pairs(atoms: Tensor) -> Tensor:
    rows, columns = torch.triu_indices(len(atoms), len(atoms), offset=1)
    return cosines(atoms, atoms).detach().cpu()[rows, columns].abs()


@dataclass(frozen=True, eq=False)
class Norms:
    """Length of each input and of its code.

    Parameters
    ----------
    dense : Tensor, shape (n_samples,)
        Of the input less the dictionary's bias.
    sparse : Tensor, shape (n_samples,)
        Of the code, activations in units of what their atoms add. Were atoms orthogonal and nothing left out, it would
        be `dense`; smaller says that too little is active, larger too much.
    least : Tensor, shape (n_samples,)
        The smallest cosine that some pair of atoms must have if the code tells the input fully,
        |dense^2 - sparse^2| / (|f|_1^2 - |f|_2^2); NaN where fewer than two latents are active. Above the atoms' own
        largest cosine, the code does not tell the input.
    """

    dense: Tensor
    sparse: Tensor
    least: Tensor


@torch.no_grad()
def norms(model: Dictionary, inputs: Tensor, *, block: int = BLOCK) -> Norms:
    """Whether codes are as long as their inputs, inputs (n_samples, n_dims).

    Notes
    -----
    Lee et al. 2025, arXiv:2503.24277 (ZF plot and the bound on epsilon). With x = sum f_i d_i,
    |x|^2 - |f|_2^2 = sum over i != j of f_i f_j d_i.d_j, at most epsilon (|f|_1^2 - |f|_2^2).
    """
    centre, length = origin(model, inputs), model.atoms.norm(dim=1)
    dense, sparse, summed = [], [], []
    for part, code in coded(model, inputs, block=block):
        weights = code.values.abs() * length[code.latents]
        places = code.samples
        dense.append((part - centre).norm(dim=1))
        sparse.append(part.new_zeros(len(part)).index_add(0, places, weights.square()).sqrt())
        summed.append(part.new_zeros(len(part)).index_add(0, places, weights))
    z, f, total = torch.cat(dense), torch.cat(sparse), torch.cat(summed)
    room = total.square() - f.square()
    several = room > 1e-4 * total.square()  # less is rounding's
    least = (z.square() - f.square()).abs() / torch.where(several, room, torch.ones_like(room))
    return Norms(z, f, torch.where(several, least, torch.nan))


@torch.no_grad()
def n_needed(model: Dictionary, inputs: Tensor, *, block: int = BLOCK) -> Tensor:
    """How many latents each input takes by its length alone, int64 (n_samples,): nobody sets the number.

    Parameters
    ----------
    model : Dictionary
        In eval mode; its own rule of what is active is not used.
    inputs : Tensor, shape (n_samples, n_dims)
    block : int
        Samples at a time.

    Notes
    -----
    The rule of top-AFA (Lee et al. 2025): latents from the largest on, as many as bring the length of the code nearest
    to that of the input.
    """
    centre, length = origin(model, inputs), model.atoms.norm(dim=1)
    found = []
    for part in inputs.split(block):
        weights = model.pre_activations(part).relu() * length
        grown = weights.sort(dim=1, descending=True).values.square().cumsum(1).sqrt()
        grown = torch.cat([grown.new_zeros(len(part), 1), grown], 1)  # none at all may be nearest
        wanted = (part - centre).norm(dim=1, keepdim=True)
        off = (grown - wanted).abs()
        nearest = (
            off <= off.amin(1, keepdim=True) + 1e-5 * wanted
        )  # more latents that add nothing are not needed
        found.append(nearest.int().argmax(1))  # the first
    return torch.cat(found)
