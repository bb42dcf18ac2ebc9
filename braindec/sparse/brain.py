"""Which latents of a dictionary can be read from a brain: held-out readings with intervals, nulls and ceilings.

A latent is read from responses (a) by the pre-activation of an embedding that was predicted from them, or (b) by a
regression on its activation. It is never read by encoding a prediction: predictions are shrunk and lie where no
stimulus does, and a code keeps the largest few of what noise left of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.sparse import separation
from braindec.sparse.dictionary import Dictionary
from braindec.sparse.readers import SETTINGS, Reader, Settings, read
from braindec.sparse.separation import Separation
from braindec.stats.permutation import max_statistic_p

LEAST_RELIABLE = 0.05  # share of a reading's spread: below it a ceiling is a quotient of noise


@dataclass(frozen=True, eq=False)
class Latents:
    """A dictionary on the stimuli that were shown: what is to be read.

    Parameters
    ----------
    embeddings : Tensor, shape (n_stimuli, n_dims)
    activations : Tensor, shape (n_stimuli, n_latents)
        Of the stimuli's own embeddings.
    dictionary : Dictionary
    """

    embeddings: Tensor
    activations: Tensor
    dictionary: Dictionary

    @property
    def active(self) -> Tensor:
        """Where each latent is, bool (n_stimuli, n_latents)."""
        return self.activations > 0

    def rows(self, order: Tensor) -> Latents:
        """The same of other stimuli."""
        return Latents(self.embeddings[order], self.activations[order], self.dictionary)


WAYS = ("embedding", "direct")


@torch.no_grad()
def readings(
    source: Reader, latents: Latents, way: str, further: Sequence[Tensor] = ()
) -> tuple[Tensor, ...]:
    """Held-out readings of every latent, each (n_stimuli, n_latents).

    Parameters
    ----------
    source : Reader
    latents : Latents
    way : str
        ``"embedding"``: pre-activations of the embedding predicted from responses. ``"direct"``: regression of the
        activations themselves on responses.
    further : sequence of Tensor
        As for `read`.
    """
    checks.one_of("way", way, WAYS)
    if way == "direct":
        return read(source, latents.activations, further=further)
    made = read(source, latents.embeddings, further=further, per_target=False)
    return tuple(latents.dictionary.pre_activations(one.to(latents.embeddings)) for one in made)


@dataclass(frozen=True, eq=False)
class Reading:
    """How well each latent is read from one brain in one way.

    Parameters
    ----------
    way : str
    separation : Separation
        Areas of held-out readings.
    interval : Tensor, shape (2, n_latents)
        95 % of the areas, stimuli resampled.
    p : Tensor, shape (n_latents,)
        Against the largest `z` of any tested latent after refits to permuted stimuli; NaN where not tested.
    ceiling : Tensor, shape (n_latents,), or None
        The area the same reading would have without what differs between repeats of a stimulus.
    rate : Tensor, shape (n_latents,)
        Share of the stimuli in which a latent is active.
    tested : bool Tensor, shape (n_latents,)
        Active and silent often enough.
    null : Tensor, shape (n_null, n_latents)
        `z` after each refit; NaN where not tested.
    draws : Tensor, shape (n_draws, n_latents)
        Resampled areas, in the order of the resamples.
    made : Tensor, shape (n_stimuli, n_latents)
        The readings.
    """

    way: str
    separation: Separation
    interval: Tensor
    p: Tensor
    ceiling: Tensor | None
    rate: Tensor
    tested: Tensor
    null: Tensor
    draws: Tensor
    made: Tensor

    @property
    def n_stimuli(self) -> int:
        """Behind each area."""
        return len(self.made)

    @property
    def auc(self) -> Tensor:
        """Areas under the ROC curve, (n_latents,)."""
        return self.separation.auc


def how_read(
    source: Reader,
    latents: Latents,
    way: str,
    *,
    orders: Tensor,
    weights: Tensor,
    halves: Sequence[Tensor] = (),
    settings: Settings = SETTINGS,
) -> Reading:
    """How well latents are read, with interval, null and ceiling.

    Parameters
    ----------
    source : Reader
    latents : Latents
    way : str
        See `readings`.
    orders : int64 Tensor, shape (n_null, n_stimuli)
        Permutations of the stimuli (`permutations`): embeddings and activations move together, and all is fitted again.
    weights : Tensor, shape (n_draws, n_stimuli)
        `separation.resampling_weights`; the same for all ways that are to be compared.
    halves : sequence of two Tensors, shape (n_stimuli, n_voxels)
        Mean responses over either half of the repeats, for the ceiling; NaN for stimuli without repeats.
    settings : Settings
    """
    made, *split = readings(source, latents, way, halves)
    found, tested = _tested(made, latents.active, source.strata, settings)
    null = torch.full((len(orders), len(tested)), torch.nan, dtype=torch.float64, device=made.device)
    for row, order in zip(null, orders.to(made.device)):
        moved = latents.rows(order)
        again = _some(source, moved, way, tested)
        row[tested] = separation.separate(again, moved.active[:, tested], source.strata).z
    ceiling = _ceiling(made, split, latents.active, source.strata, found.auc) if len(split) == 2 else None
    return _reading(way, made, latents.active, source.strata, found, tested, null, weights, ceiling)


def fixed_reading(
    made: Tensor,
    active: Tensor,
    *,
    orders: Tensor,
    weights: Tensor,
    strata: Tensor | None = None,
    way: str = "decoder",
    settings: Settings = SETTINGS,
) -> Reading:
    """How well latents are read by something that was fitted before, on stimuli that it never saw.

    Parameters
    ----------
    made : Tensor, shape (n_stimuli, n_latents)
        Pre-activations of a decoder's predictions.
    active : bool Tensor, shape (n_stimuli, n_latents)
    orders, weights, settings
        As for `how_read`; the null pairs predictions with other stimuli, nothing is fitted again.
    strata : int Tensor, shape (n_stimuli,), optional
        Fits, where the readings come from several.
    way : str
    """
    group = torch.zeros(len(made), dtype=torch.int64, device=made.device) if strata is None else strata
    found, tested = _tested(made, active, group, settings)
    null = torch.full((len(orders), len(tested)), torch.nan, dtype=torch.float64, device=made.device)
    for row, order in zip(null, orders.to(made.device)):
        row[tested] = separation.separate(made[:, tested], active[order][:, tested], group).z
    return _reading(way, made, active, group, found, tested, null, weights, None)


def _tested(made: Tensor, active: Tensor, strata: Tensor, settings: Settings) -> tuple[Separation, Tensor]:
    found = separation.separate(made, active, strata)
    silent = len(active) - found.n_active
    enough = (found.n_active >= settings.min_active) & (silent >= settings.min_active)
    return found, enough & found.z.isfinite()


def _reading(
    way: str, made: Tensor, active: Tensor, strata: Tensor, found: Separation, tested: Tensor, null: Tensor,
    weights: Tensor, ceiling: Tensor | None,
) -> Reading:  # fmt: skip
    draws = separation.resampled(made, active, weights, strata)
    limits = separation.interval(found.auc, draws, found.n_active * (len(active) - found.n_active))
    p = family_wise(found.z, null, tested)
    rate = found.n_active.double() / len(active)
    return Reading(way, found, limits, p, ceiling, rate, tested, null, draws, made)


def _some(source: Reader, latents: Latents, way: str, tested: Tensor) -> Tensor:
    """Readings of the tested latents alone."""
    if way == "direct":
        return read(source, latents.activations[:, tested])[0]
    return readings(source, latents, way)[0][:, tested]


def permutations(n_stimuli: int, n: int, generator: torch.Generator) -> Tensor:
    """Orders of the stimuli, int64 (n, n_stimuli)."""
    return torch.stack([torch.randperm(n_stimuli, generator=generator) for _ in range(n)])


def family_wise(z: Tensor, null: Tensor, tested: Tensor) -> Tensor:
    """p of each tested member of a family against its largest null value, float64; NaN for the others."""
    out = torch.full_like(z, torch.nan)
    if bool(tested.any()):
        known = null[:, tested].nan_to_num(
            0.0
        )  # a refit whose strata hold one kind only says nothing: chance
        p = max_statistic_p(z[tested].cpu().numpy(), known.cpu().numpy())
        out[tested] = torch.from_numpy(np.asarray(p)).to(z)
    return out


def _ceiling(made: Tensor, halves: Sequence[Tensor], active: Tensor, strata: Tensor, auc: Tensor) -> Tensor:
    """Areas without the noise that halves of the repeats do not share: half the variance of their half difference.

    The spread within active and within silent stimuli is signal and noise; without the noise d' grows by the square
    root of its reliability.
    """
    wide, on = made.double(), active.double()
    noise = ((halves[0].double() - halves[1].double()) / 2).square().nanmean(0)
    within = torch.zeros_like(noise)
    for name in strata.unique():
        rows = strata == name
        for member in (on[rows], 1 - on[rows]):
            count = member.sum(0).clamp_min(1)
            mean = (wide[rows] * member).sum(0) / count
            within += ((wide[rows] - mean).square() * member).sum(0)
    share = 1 - noise / (within / len(wide)).clamp_min(torch.finfo(torch.float64).tiny)
    without = torch.special.ndtr(torch.special.ndtri(auc) / share.clamp(LEAST_RELIABLE, 1.0).sqrt())
    return torch.where(auc > 0.5, without, auc)
