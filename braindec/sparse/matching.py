"""Which atoms of two dictionaries belong together, and what such numbers are where nothing is shared.

Whoever pairs thousands of directions by their similarity finds similar ones. So every number stands beside that of
dictionaries that share nothing: turned at random, or with partners exchanged among latents that are as often active.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec.maths import gemm
from braindec.maths.assignment import assign
from braindec.sparse.autoencoder import SparseAutoencoder

N_BINS = 10  # of firing frequency, equally many latents in each


@dataclass(frozen=True, eq=False)
class Matched:
    """Pairs of latents of two dictionaries.

    Parameters
    ----------
    first, second : Tensor of int64, shape (n_pairs,)
        Latents of each; `first` ascends.
    similarity : Tensor, shape (n_pairs,)
        Of each pair.
    """

    first: Tensor
    second: Tensor
    similarity: Tensor

    @property
    def mean(self) -> float:
        """Mean over pairs."""
        return float(self.similarity.mean())


@dataclass(frozen=True, eq=False)
class Nulled:
    """A number, or one at each of several thresholds, with what it is where nothing is shared.

    Parameters
    ----------
    value : Tensor, shape (...)
    nulls : mapping from the null's name to Tensor, shape (n_draws, ...)
    """

    value: Tensor
    nulls: Mapping[str, Tensor]

    @property
    def null(self) -> Tensor:
        """The largest of the nulls' means (...)."""
        return torch.stack([n.mean(0) for n in self.nulls.values()]).amax(0)

    @property
    def p(self) -> Tensor:
        """Chance of as large a value, (count + 1) / (n_draws + 1), in the null where it is largest (...)."""
        each = [
            ((n >= self.value - 1e-9).sum(0) + 1) / (len(n) + 1)  # the margin is rounding's
            for n in self.nulls.values()
        ]
        return torch.stack(each).amax(0)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of every row of `a` (n_a, n_dims) with every row of `b` (n_b, n_dims): (n_a, n_b)."""
    left, right = (torch.nn.functional.normalize(x.detach(), dim=1) for x in (a, b.to(a)))
    return gemm.mm(left, right.T)


def match(similarity: Tensor) -> Matched:
    """The one-to-one pairing of largest total similarity (n_a, n_b); of the larger side some latents stay alone."""
    rows, columns = assign(similarity)
    return Matched(rows, columns, similarity[rows, columns])


def mcc(a: Tensor, b: Tensor, *, signed: bool = True) -> float:
    """Mean cosine of atoms (n_a, n_dims), (n_b, n_dims) paired one to one, in [-1, 1]; min(n_a, n_b) pairs.

    Parameters
    ----------
    a, b : Tensor
        Rows are atoms.
    signed : bool
        An activation that is never negative has a sign: the default. False takes an atom and its opposite for the same
        and flatters every dictionary, chance included.
    """
    similarity = cosines(a, b)
    return match(similarity if signed else similarity.abs()).mean


def recovery(planted: Tensor, found: Tensor) -> float:
    """Signed mean cosine over planted atoms (n_atoms, n_dims) of their partners among found ones, in [-1, 1].

    A planted atom without a partner counts 0: a dictionary with fewer atoms did not find it, where `mcc` asks only
    after pairs. Chance is far above 0; see `baselines.fit` with ``"random"``.
    """
    pairs = match(cosines(planted, found))
    return float(pairs.similarity.sum()) / len(planted)


def mmcs(a: Tensor, b: Tensor) -> float:
    """Mean over rows of `a` of the largest cosine with a row of `b`; partners are shared, so `b` may be larger."""
    return float(cosines(a, b).amax(1).mean())


# ------------------------------------------------------------------------------------------------------- nulls


def rotation(n_dims: int, generator: torch.Generator) -> Tensor:
    """An orthogonal matrix (n_dims, n_dims), all equally likely; float32, drawn on the CPU."""
    q, r = torch.linalg.qr(torch.randn(n_dims, n_dims, generator=generator, dtype=torch.float64))
    return (q * r.diagonal().sign()).float()  # without the signs some orthogonal matrices would be likelier


def rotated(model: SparseAutoencoder, generator: torch.Generator) -> SparseAutoencoder:
    """The autoencoder whose encoder and atoms are turned together at random: as good a dictionary of other inputs."""
    out = copy.deepcopy(model)
    turn = rotation(model.n_dims, generator).to(model.atoms)
    with torch.no_grad():
        out.encoder.copy_(model.encoder @ turn)
        out.atoms.copy_(model.atoms @ turn)
    return out


def exchanged(frequency: Tensor, generator: torch.Generator, n_bins: int = N_BINS) -> Tensor:
    """For each latent another one that is about as often active: a permutation without fixed points, (n_latents,).

    Parameters
    ----------
    frequency : Tensor, shape (n_latents,)
    generator : torch.Generator
        On the CPU.
    n_bins : int
        Bins of equally many latents, of which only those of one bin are exchanged; fewer where latents are few.
    """
    ordered = torch.argsort(frequency.cpu(), stable=True)
    out = torch.empty(len(frequency), dtype=torch.int64)
    for bin_ in ordered.tensor_split(max(1, min(n_bins, len(frequency) // 4))):
        circle = bin_[torch.randperm(len(bin_), generator=generator)]
        out[circle] = circle.roll(1)
    return out.to(frequency.device)
