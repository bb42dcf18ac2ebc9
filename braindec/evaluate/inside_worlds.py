"""Planted data whose dictionaries are known to absorb, to hold circles, or to miss what is quiet and matters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import seeding
from braindec.sparse.matching import rotation

PARENTS = 1.6  # how many parents there are in a sample, in the mean
CHILD = 0.35  # how often each of its two children is, where the parent is
CIRCLE = 0.3  # how often each circle is there
LINE = 0.1  # how often each feature beside circles is there
MANY = 0.25  # how often each loud or quiet feature is there
NOISE = 0.02  # SD of each dim; a feature's part has length 0.5 to 1.5
QUIET = 0.5  # length of a quiet feature's part, in loud ones'


@dataclass(frozen=True, eq=False)
class Planted:
    """Samples (n, n_dims), the unit atoms (n_features, n_dims) they are sums of, what is present (n, n_features)."""

    values: Tensor
    atoms: Tensor
    present: Tensor


def families(n: int, n_dims: int, n_parents: int, seed: int, *, kept: bool = True) -> Planted:
    """Features in families: parents first, then two children of each, which come alone with the first half's parents.

    Parameters
    ----------
    n, n_dims : int
    n_parents : int
        Even, at least 4. The second half's children are as often there, and wherever: what absorbs nothing.
    seed : int
    kept : bool
        False for all children anywhere: the same features, as often, without families.
    """
    g = seeding.torch_generator(seed, "families", n)
    often = PARENTS / n_parents
    parent = torch.rand(n, n_parents, generator=g) < often
    drawn = torch.rand(n, n_parents, generator=g)
    elsewhere = torch.rand(n, n_parents, generator=g) < often
    with_parent = (
        (torch.arange(n_parents) < n_parents // 2) if kept else torch.zeros(n_parents, dtype=torch.bool)
    )
    there = torch.where(with_parent, parent, elsewhere)
    children = torch.stack([there & (drawn < CHILD), there & (drawn >= CHILD) & (drawn < 2 * CHILD)], 2)
    present = torch.cat([parent, children.flatten(1)], 1)
    return _mixed(present, n_dims, seed, g)


def _mixed(
    present: Tensor, n_dims: int, seed: int, g: torch.Generator, loud: Tensor | None = None
) -> Planted:
    atoms = torch.randn(present.shape[1], n_dims, generator=seeding.torch_generator(seed, "planted atoms"))
    atoms = torch.nn.functional.normalize(atoms, dim=1)
    strength = present * (0.5 + torch.rand(present.shape, generator=g))
    strength = strength if loud is None else strength * loud
    values = strength @ atoms + NOISE * torch.randn(len(present), n_dims, generator=g)
    return Planted(values, atoms, present)


def gaussian(values: Tensor, seed: int) -> Tensor:
    """As many samples of the same mean and covariance in which nothing is sparse."""
    centred = values.double() - values.double().mean(0)
    variance, axes = torch.linalg.eigh(centred.T @ centred / len(values))
    drawn = torch.randn(
        values.shape, generator=seeding.torch_generator(seed, "gaussian"), dtype=torch.float64
    )
    return (drawn * variance.clamp_min(0).sqrt() @ axes.T + values.double().mean(0)).to(values.dtype)


def circles(n: int, n_dims: int, n_circles: int, n_lines: int, seed: int) -> tuple[Planted, Tensor]:
    """Circles and lines: samples whose atoms are the lines', and planes (n_circles, 2, n_dims) of the circles.

    A circle has an angle, drawn anew wherever it is present; a line a strength. Columns of `present` are circles first.
    """
    g = seeding.torch_generator(seed, "circles", n)
    axes = rotation(n_dims, seeding.torch_generator(seed, "planes"))
    planes = axes[: 2 * n_circles].view(n_circles, 2, n_dims)
    round_ = torch.rand(n, n_circles, generator=g) < CIRCLE
    angle = 2 * math.pi * torch.rand(n, n_circles, generator=g)
    points = torch.stack([angle.cos(), angle.sin()], 2) * round_[..., None]
    lines = _mixed(torch.rand(n, n_lines, generator=g) < LINE, n_dims, seed, g)
    values = lines.values + points.flatten(1) @ planes.flatten(0, 1)
    return Planted(values, lines.atoms, torch.cat([round_, lines.present], 1)), planes


def loud_and_quiet(n: int, n_dims: int, n_loud: int, n_quiet: int, seed: int) -> Planted:
    """Features of which the last `n_quiet` are quiet, as often there as the others."""
    g = seeding.torch_generator(seed, "loud and quiet", n)
    present = torch.rand(n, n_loud + n_quiet, generator=g) < MANY
    loud = torch.cat([torch.ones(n_loud), torch.full((n_quiet,), QUIET)])
    return _mixed(present, n_dims, seed, g, loud)


def asks_for(readers: Tensor) -> Callable[[Tensor], Tensor]:
    """A loss of what comes after samples that feels some readings alone: half their squares, where positive."""

    def effect(values: Tensor) -> Tensor:
        return 0.5 * torch.relu(values @ readers.to(values.device).T).square().sum(1)

    return effect


@dataclass(frozen=True, eq=False)
class Circuit:
    """A layer that computes features of features, and everything that is known of it.

    Parameters
    ----------
    inputs : Tensor, shape (n, n_dims)
    before, after : Tensor, shapes (n_before, n_dims), (n_after, n_dims)
        Atoms of inputs and outputs.
    wired : Tensor of bool, shape (n_before, n_after)
        Which feature drives which; the last feature before drives none.
    layer : callable
        From inputs to outputs.
    dormant : Tensor, shape (n_dims,)
        A direction that the layer reads as it reads feature 0, and along which inputs do not vary.
    """

    inputs: Tensor
    before: Tensor
    after: Tensor
    wired: Tensor
    layer: Callable[[Tensor], Tensor]
    dormant: Tensor


def circuit(n: int, n_dims: int, n_before: int, n_after: int, seed: int) -> Circuit:
    """A layer whose output features each say that two input features are there together: (n, n_dims) inputs.

    `n_before` features, orthogonal and fewer than `n_dims`, present in a third of the samples each, with strengths from
    0.5 to 1.5; an output feature is relu of the sum of its two, no two of the same pair, less 1.5.
    """
    g = seeding.torch_generator(seed, "circuit")
    axes = rotation(n_dims, g)
    before, dormant = axes[:n_before], axes[n_before]
    after = rotation(n_dims, g)[:n_after]
    wired = torch.zeros(n_before, n_after, dtype=torch.bool)
    pairs = torch.combinations(torch.arange(n_before - 1))
    others = torch.randperm(len(pairs) - 1, generator=g)[: n_after - 1] + 1
    for j, pair in enumerate([pairs[0], *pairs[others]]):  # the first pair holds feature 0
        wired[pair, j] = True
    weights = wired.float().T @ before + wired[0].float()[:, None] * dormant  # (n_after, n_dims)
    present = torch.rand(n, n_before, generator=g) < 1 / 3
    inputs = (present * (0.5 + torch.rand(n, n_before, generator=g))) @ before
    inputs = inputs + NOISE * torch.randn(n, n_before, generator=g) @ before

    def layer(values: Tensor) -> Tensor:
        return torch.relu(values @ weights.T - 1.5) @ after

    return Circuit(inputs, before, after, wired, layer, dormant)
