"""Features of two dimensions: planes of latents that no two one-dimensional features could have made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from braindec import checks
from braindec.sparse.dictionary import Dictionary, activations, rebuilt
from braindec.sparse.matching import cosines

LOUD = 0.3  # of the 95th percentile of a group's part: below, the sample is taken not to have the feature
N_BINS = 16  # of each axis of a plane, for mutual information
N_ANGLES = 36  # rotations tried
N_OFFSETS = 41  # places of a line tried, for the mixture index
WIDTH = 0.1  # of such a line, in units of root mean squares; epsilon of Engels et al.


@dataclass(frozen=True, eq=False)
class Plane:
    """What a group of latents says in two dimensions, in the samples in which it says much.

    Parameters
    ----------
    latents : tuple of int
    points : Tensor, shape (n_samples_active, 2)
        Inputs less what all other latents rebuild, along the first two principal axes of the group's own part: what
        the group stands for, and not how coarsely its few latents tile it.
    rows : Tensor of int64, shape (n_samples_active,)
        Which samples.
    share : float
        Of the part's variance that lies in this plane, in [0, 1].
    separability : float
        Bits that one coordinate tells of the other, in the rotation that makes them fewest, above the same with
        partners shuffled; 0 where two independent features made the plane.
    mixture : float
        Largest share of the samples that lie within a thin line; at least 0.5 where it is a mixture, one of two
        features at a time.
    """

    latents: tuple[int, ...]
    points: Tensor
    rows: Tensor
    share: float
    separability: float
    mixture: float

    @property
    def irreducible(self) -> float:
        """separability * (1 - 2 mixture), at least 0: large where the plane is no sum and no mixture of two features.

        Of two features of which one is active at a time, one has half of the samples, and they lie on its line.
        """
        return self.separability * max(0.0, 1 - 2 * self.mixture)


def groups(atoms: Tensor, *, least: float = 0.5) -> list[tuple[int, ...]]:
    """Latents whose atoms lie near each other: those of one circle tile it.

    Parameters
    ----------
    atoms : Tensor, shape (n_latents, n_dims)
    least : float
        Cosine from which two atoms are neighbours; chains of neighbours make a group.

    Returns
    -------
    list of tuple of int
        Groups of at least two, the largest first.
    """
    checks.in_range("least", least, -1.0, 1.0)
    near = (cosines(atoms, atoms) >= least).cpu().numpy()
    _, label = connected_components(csr_matrix(near), directed=False)
    members: dict[int, list[int]] = {}
    for latent, one in enumerate(label.tolist()):
        members.setdefault(one, []).append(latent)
    return sorted((tuple(m) for m in members.values() if len(m) > 1), key=lambda m: (-len(m), m))


@torch.no_grad()
def crowded(atoms: Tensor, *, within: float = 0.9, least: int = 3) -> list[tuple[int, ...]]:
    """Latents whose atoms lie in one plane, more of them than two dims need: few can tell a circle too, and far apart.

    Parameters
    ----------
    atoms : Tensor, shape (n_latents, n_dims)
    within : float
        Share of an atom's squared length that must lie in the plane of two others.
    least : int
        Members of a group.

    Returns
    -------
    list of tuple of int
        Disjoint groups, the largest plane first. All planes of two latents are tried: n_latents cubed times n_dims
        operations, a second at 256.
    """
    unit = torch.nn.functional.normalize(atoms.detach().double(), dim=1)
    free = torch.ones(len(unit), dtype=torch.bool, device=unit.device)
    inside = torch.stack([_planes_of(unit, i) >= within for i in range(len(unit))])  # (first, second, member)
    found: list[tuple[int, ...]] = []
    while True:
        sizes = (inside & free & free[:, None] & free[:, None, None]).sum(2)
        best = int(sizes.argmax())
        members = inside[best // len(unit), best % len(unit)] & free
        if int(sizes.flatten()[best]) < least:
            return found
        found.append(tuple(torch.nonzero(members).squeeze(1).tolist()))
        free &= ~members


def _planes_of(unit: Tensor, first: int) -> Tensor:
    """Share of each atom in the planes of one atom and each other, (n_others, n_latents); 0 where these are alike."""
    along = unit @ unit[first]
    second = unit - along[:, None] * unit[first]
    length = second.norm(dim=1)
    second = second / length.clamp_min(1e-9)[:, None]
    share = along.square()[None] + (second @ unit.T).square()
    return share * (length > 0.2)[:, None]  # nearly one direction spans no plane


@torch.no_grad()
def planes(
    model: Dictionary, inputs: Tensor, of: Sequence[Sequence[int]], *, generator: torch.Generator, least: int = 50
) -> list[Plane]:  # fmt: skip
    """The plane of each group of latents, with what says whether simpler features made it.

    Parameters
    ----------
    model : Dictionary
        In eval mode.
    inputs : Tensor, shape (n_samples, n_dims)
    of : sequence of groups of latents
        Of `groups`, or by hand.
    generator : torch.Generator
        On the CPU; shuffles partners.
    least : int
        Samples in which a group must say at least 0.3 of what it says at most (95th percentile); groups of fewer are
        left out.

    Notes
    -----
    Engels et al. 2024, arXiv:2405.14860: features are irreducible where they are neither separable (independent in
    some rotation) nor a mixture (often on a line). They take the group's part alone.
    """
    codes, left = activations(model, inputs), inputs - rebuilt(model, inputs)
    found = []
    for latents in of:
        part = (codes[:, list(latents)] @ model.atoms[list(latents)]).double()
        length = part.norm(dim=1)
        enough = LOUD * float(length[length > 0].quantile(0.95)) if bool((length > 0).any()) else 0.0
        rows = torch.nonzero(length > enough).squeeze(1)
        if len(rows) < max(least, 3):
            continue
        part = part[rows]
        axes, share = _first_two(part)
        points = (part + left[rows].double()) @ axes.T
        found.append(Plane(
            tuple(latents), points, rows, share, separability(points, generator), mixture(points)
        ))  # fmt: skip
    return found


def _first_two(part: Tensor) -> tuple[Tensor, float]:
    _, singular, axes = torch.linalg.svd(part - part.mean(0), full_matrices=False)
    total = float(singular.square().sum().clamp_min(1e-300))
    return axes[:2], float(singular[:2].square().sum()) / total


def separability(
    points: Tensor, generator: torch.Generator, *, n_bins: int = N_BINS, n_angles: int = N_ANGLES
) -> float:  # fmt: skip
    """Bits that a coordinate tells of the other in the rotation that makes them fewest, above shuffled partners.

    Parameters
    ----------
    points : Tensor, shape (n, 2)
        Whitened first: a circle and an ellipse are alike, and two independent features whose atoms are not orthogonal
        are still independent in some rotation.
    generator : torch.Generator
        On the CPU.
    n_bins, n_angles : int
        Equal bins of each axis over its range, and rotations over a quarter of a turn, after which they repeat.

    Returns
    -------
    float
        At least 0. Finite samples in many bins make any two variables look dependent; what shuffled partners give is
        subtracted in each rotation.
    """
    checks.n_axes("points", points, ("sample", "dim"))
    scaled = _whitened(points)
    other = scaled[torch.randperm(len(points), generator=generator).to(points.device)]
    least = math.inf
    for turn in range(n_angles):
        angle = math.pi / 2 * turn / n_angles
        rotation = scaled.new_tensor(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        )
        a, b = (scaled @ rotation).unbind(1)
        shuffled = (other @ rotation)[:, 1]
        least = min(least, _information(a, b, n_bins) - _information(a, shuffled, n_bins))
    return max(0.0, least)


def _whitened(points: Tensor) -> Tensor:
    centred = points.double() - points.double().mean(0)
    variance, axes = torch.linalg.eigh(centred.T @ centred / len(points))
    return centred @ axes / variance.clamp_min(1e-12 * float(variance.max()) + 1e-300).sqrt()


def _information(a: Tensor, b: Tensor, n_bins: int) -> float:
    """Mutual information of two variables (n,) in equal bins, bits."""
    places = [_binned(x, n_bins) for x in (a, b)]
    joint = torch.bincount(places[0] * n_bins + places[1], minlength=n_bins**2).double().view(n_bins, n_bins)
    joint = joint / joint.sum()
    product = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return float(torch.special.xlogy(joint, joint / product.clamp_min(1e-300)).sum() / math.log(2))


def _binned(x: Tensor, n_bins: int) -> Tensor:
    low, high = x.min(), x.max()
    return ((x - low) / (high - low).clamp_min(1e-300) * n_bins).long().clamp(0, n_bins - 1)


def mixture(
    points: Tensor, *, width: float = WIDTH, n_angles: int = N_ANGLES, n_offsets: int = N_OFFSETS
) -> float:
    """Largest share of points (n, 2) that lie within a thin line, over directions and places of the line.

    Parameters
    ----------
    points : Tensor, shape (n, 2)
    width : float
        Points within `width` root mean squares of the distance from the line count; a Gaussian has 0.08 of them.
    n_angles, n_offsets : int
        Directions over half a turn, and places between -1 and 1 standard deviation.

    Notes
    -----
    Engels et al. 2024, arXiv:2405.14860, section 4: the largest P(|v.f + c| < epsilon sqrt(E (v.f + c)^2)), found there
    by descent and here by trying.
    """
    checks.n_axes("points", points, ("sample", "dim"))
    centred = points.double() - points.double().mean(0)
    angles = torch.arange(n_angles, dtype=torch.float64, device=points.device) * (math.pi / n_angles)
    along = centred @ torch.stack([angles.cos(), angles.sin()])  # (sample, angle)
    along = along / along.square().mean(0).sqrt().clamp_min(1e-300)
    best = 0.0
    for offset in torch.linspace(-1, 1, n_offsets, dtype=torch.float64):
        inside = (along + offset).abs() < width * math.sqrt(
            1 + float(offset) ** 2
        )  # the mean of `along` is 0
        best = max(best, float(inside.double().mean(0).max()))
    return best
