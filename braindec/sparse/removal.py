"""Concepts taken out of activations while something is made of them: which latents hold one, and the edit of them.

Activations are (picture, step, position, channel): of one block of a network that draws in steps. A dictionary codes
each position for itself. What is picked is picked from pictures of which it is known whether they have the concept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from braindec import checks
from braindec.sparse.dictionary import Dictionary, activations

N_LIKE = 10  # latents nearest in mean activation, of which a control is drawn


@torch.no_grad()
def mean_activations(model: Dictionary, values: Tensor) -> Tensor:
    """Mean of each latent over positions: (picture, step, position, channel) to (picture, step, latent).

    Parameters
    ----------
    model : Dictionary
        In eval mode.
    values : Tensor, shape (n, n_steps, n_positions, n_channels)
    """
    checks.n_axes("values", values, ("picture", "step", "position", "channel"))
    _, n_steps, n_positions, n_channels = values.shape
    rows = [activations(model, one.reshape(-1, n_channels)) for one in values]  # a picture at a time
    return torch.stack([r.reshape(n_steps, n_positions, -1).mean(1) for r in rows])


def scores(means: Tensor, has: Tensor) -> Tensor:
    """How much of what is active is a latent's, in pictures with a concept more than in others: (n_steps, n_latents).

    Parameters
    ----------
    means : Tensor, shape (n, n_steps, n_latents)
        Of `mean_activations`, >= 0.
    has : Tensor of bool, shape (n,)
        Whether a picture has the concept.

    Returns
    -------
    Tensor
        In [-1, 1]; sums to 0 over latents.

    Raises
    ------
    ValueError
        If no picture has the concept, or all have.

    Notes
    -----
    Share of the latent in the sum of all latents' means, with the concept minus without, at each step: Cywinski and
    Deja 2025 ("SAeUron"), arXiv:2501.18052.
    """
    checks.same_length("picture", means=means, has=has)
    checks.in_range("pictures with the concept", int(has.sum()), 1, len(has) - 1)
    tiny = torch.finfo(means.dtype).tiny
    of, others = (means[rows].mean(0) for rows in (has, ~has))
    return of / of.sum(1, keepdim=True).clamp_min(tiny) - others / others.sum(1, keepdim=True).clamp_min(tiny)


@dataclass(frozen=True, eq=False)
class Removal:
    """An edit of activations: some latents, where they are more active than usual, times a factor.

    What the dictionary cannot rebuild stays as it is, and so does every other latent. With a factor of 1 nothing
    changes, not a bit. SAeUron multiplies also by the latent's mean activation in pictures with the concept, which
    depends on the scale of activations; here the factor stands alone.

    Parameters
    ----------
    model : Dictionary
    levels : tuple of float
        Noise levels of the steps, in their order.
    latents : Tensor of int64, shape (n_steps, n_latents)
        Edited at each step.
    floors : Tensor, shape (n_steps, n_latents)
        Mean activation over all pictures: a latent is left alone where it is not above.
    factor : float
        0 takes a concept away, a negative one turns it round.
    """

    model: Dictionary
    levels: tuple[float, ...]
    latents: Tensor
    floors: Tensor
    factor: float = -1.0

    def times(self, factor: float) -> Removal:
        """The same latents, times another factor."""
        return replace(self, factor=factor)

    @torch.no_grad()
    def __call__(self, rows: Tensor, level: float) -> Tensor:
        """Activations (row, position, channel) at a noise level, edited.

        Raises
        ------
        ValueError
            At a level that the latents were not picked at.
        """
        step = _step(self.levels, level)
        flat = rows.reshape(-1, rows.shape[-1])
        latents = self.latents[step]
        found = self.model.encode(flat).dense()[:, latents]
        change = (self.factor - 1.0) * found * (found > self.floors[step])
        return (flat + change @ self.model.atoms[latents]).view(rows.shape)


def removal(
    model: Dictionary,
    means: Tensor,
    has: Tensor,
    levels: Sequence[float],
    n_latents: int = 2,
    factor: float = -1.0,
) -> Removal:
    """The edit of a concept's latents: at each step those of the largest `scores`.

    Parameters
    ----------
    model : Dictionary
    means, has : Tensor
        See `scores`; of training pictures.
    levels : sequence of float, length n_steps
    n_latents : int
    factor : float

    Raises
    ------
    ValueError
        If at some step fewer latents are more active in pictures with the concept: then it has none here.
    """
    checks.same_length("step", levels=levels, means=means[0])
    checks.in_range("n_latents", n_latents, 1, means.shape[2])
    best = scores(means, has).topk(n_latents, dim=1)
    if bool((best.values <= 0).any()):
        step = int((best.values <= 0).any(1).nonzero()[0])
        raise ValueError(
            f"the concept has {int((best.values[step] > 0).sum())} latents at noise level {levels[step]:g}, fewer than "
            f"n_latents {n_latents}: no other is more active in the {int(has.sum())} pictures that have it than in "
            "those that have not. Ask for fewer, record another block or train a wider autoencoder."
        )
    return Removal(model, tuple(levels), best.indices, means.mean(0).gather(1, best.indices), factor)


def others(chosen: Removal, means: Tensor, generator: torch.Generator) -> Removal:
    """A control: as many other latents, each drawn of the ten that are as active on average, times the same factor.

    Parameters
    ----------
    chosen : Removal
    means : Tensor, shape (n, n_steps, n_latents)
        Those it was picked from.
    generator : torch.Generator
        On the CPU.
    """
    average = means.mean(0)
    drawn = torch.empty_like(chosen.latents)
    for step, row in enumerate(chosen.latents.tolist()):
        taken = set(row)
        for k, latent in enumerate(row):
            order = (average[step] - average[step, latent]).abs().argsort(stable=True).tolist()
            free = [i for i in order if i not in taken and average[step, i] > 0][:N_LIKE]
            checks.at_least("active latents beside those of the concept", len(free), 1)
            drawn[step, k] = free[int(torch.randint(len(free), (), generator=generator))]
            taken.add(int(drawn[step, k]))
    return replace(chosen, latents=drawn, floors=average.gather(1, drawn))


@dataclass(frozen=True, eq=False)
class Direction:
    """The same edit without a dictionary: along one direction a step, where activations lie beyond the usual.

    Parameters
    ----------
    levels : tuple of float
    directions : Tensor, shape (n_steps, n_channels)
        Of norm 1.
    floors : Tensor, shape (n_steps,)
        What lies along them in pictures without the concept, on average.
    factor : float
    """

    levels: tuple[float, ...]
    directions: Tensor
    floors: Tensor
    factor: float = -1.0

    def times(self, factor: float) -> Direction:
        """The same directions, times another factor."""
        return replace(self, factor=factor)

    @torch.no_grad()
    def __call__(self, rows: Tensor, level: float) -> Tensor:
        """Activations (row, position, channel) at a noise level, edited."""
        step = _step(self.levels, level)
        beyond = (rows @ self.directions[step] - self.floors[step]).clamp_min(0.0)
        return rows + (self.factor - 1.0) * beyond[..., None] * self.directions[step]


def mean_difference(values: Tensor, has: Tensor, levels: Sequence[float], factor: float = -1.0) -> Direction:
    """The edit along the difference between mean activations with and without a concept, at each step.

    Parameters
    ----------
    values : Tensor, shape (n, n_steps, n_positions, n_channels)
    has : Tensor of bool, shape (n,)
    levels : sequence of float, length n_steps
    factor : float
    """
    checks.same_length("picture", values=values, has=has)
    checks.in_range("pictures with the concept", int(has.sum()), 1, len(has) - 1)
    means = values.mean(2)
    without = means[~has].mean(0)
    directions = torch.nn.functional.normalize(means[has].mean(0) - without, dim=1)
    return Direction(tuple(levels), directions, (without * directions).sum(1), factor)


def _step(levels: Sequence[float], level: float) -> int:
    if level not in levels:
        raise ValueError(
            f"noise level {level:g} is none of those that the edit was made at, {[round(v, 2) for v in levels]}; draw "
            "by the schedule and the number of steps that were recorded."
        )
    return levels.index(level)
