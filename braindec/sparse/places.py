"""Where and when latents are read: maps of region, time and latent, latencies, and what regions or people share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import standardise
from braindec.sparse import separation
from braindec.sparse.brain import family_wise
from braindec.sparse.matching import exchanged
from braindec.sparse.readers import Reader, read


@dataclass(frozen=True, eq=False)
class Places:
    """How well each latent is read from every place: a region, or a window of time.

    Parameters
    ----------
    names : tuple of str
    auc, z : Tensor, shape (n_places, n_latents), float64
        See `separation.Separation`.
    p : Tensor, shape (n_places, n_latents)
        Against the largest `z` of any place and latent after refits to permuted stimuli; NaN where not tested.
    null : Tensor, shape (n_null, n_places, n_latents)
        `z` after each refit.
    tested : bool Tensor, shape (n_latents,)
    """

    names: tuple[str, ...]
    auc: Tensor
    z: Tensor
    p: Tensor
    null: Tensor
    tested: Tensor


def read_places(
    sources: Mapping[str, Reader], activations: Tensor, *, orders: Tensor, min_active: int = 10
) -> Places:
    """Direct readings of all latents from every place.

    Parameters
    ----------
    sources : mapping of str to Reader
        Each of the same stimuli.
    activations : Tensor, shape (n_stimuli, n_latents)
    orders : int64 Tensor, shape (n_null, n_stimuli)
        Permutations of the stimuli, the same at all places, so that the largest value over places is one of a family.
    min_active : int
        Stimuli in which a tested latent is active, and silent.
    """
    checks.at_least("number of places", len(sources), 1)
    first = next(iter(sources.values()))
    checks.same_length("stimulus", activations=activations, **{k: s.responses for k, s in sources.items()})
    activations = activations.to(first.responses)
    on = activations > 0
    counts = on.sum(0)
    tested = (counts >= min_active) & (len(on) - counts >= min_active)
    observed = [separation.separate(read(s, activations)[0], on, s.strata) for s in sources.values()]
    auc, z = torch.stack([o.auc for o in observed]), torch.stack([o.z for o in observed])
    null = torch.full((len(orders), *z.shape), torch.nan, dtype=z.dtype, device=z.device)
    for row, order in zip(null, orders.to(z.device)):
        moved, active = activations[order][:, tested], on[order][:, tested]
        for place, source in zip(row, sources.values(), strict=True):
            place[tested] = separation.separate(read(source, moved)[0], active, source.strata).z
    everywhere = tested.expand(len(sources), -1)
    p = family_wise(z.flatten(), null.flatten(1), everywhere.flatten()).view_as(z)
    return Places(tuple(sources), auc, z, p, null, tested)


def latency(z: Tensor, times: Tensor, *, above: float = 0.5) -> Tensor:
    """When each latent is read best: the centre of its highest peak, in the unit of `times`.

    Parameters
    ----------
    z : Tensor, shape (..., n_times, n_latents)
    times : Tensor, shape (n_times,)
        Ascending.
    above : float
        Of the peak's height: the run of neighbouring times that stay above it is what the centre is taken of, weighted
        by `z`, so that a latency lies between samples and one noisy sample does not decide it.

    Returns
    -------
    Tensor, shape (..., n_latents)
        NaN where nothing is read above chance.
    """
    checks.in_range("above", above, 0.0, 1.0)
    series = z.nan_to_num(0.0).movedim(-2, -1)  # (..., latent, time)
    peak, at = series.max(-1, keepdim=True)
    high = series >= above * peak
    place = torch.arange(len(times), device=z.device).expand(series.shape)
    breaks_before = torch.where(~high & (place < at), place, -1).amax(-1, keepdim=True)
    breaks_after = torch.where(~high & (place > at), place, len(times)).amin(-1, keepdim=True)
    weight = torch.where((place > breaks_before) & (place < breaks_after), series, 0.0)
    centre = (weight * times.to(series)).sum(-1) / weight.sum(-1)
    return torch.where(peak.squeeze(-1) > 0, centre, torch.nan)


@dataclass(frozen=True, eq=False)
class Shared:
    """What two sets of places say alike of the same latents.

    Parameters
    ----------
    similarity : Tensor, shape (n_a, n_b), float64
        Correlation over latents of how well they are read.
    parts : Tensor, shape (n_a, n_b, n_latents)
        What each latent adds to it; sums to `similarity`: a map of region, time and latent.
    p : Tensor, shape (n_a, n_b)
        Against the largest value under the null.
    null : Tensor, shape (n_null, n_a, n_b)
        With partners exchanged among latents about as often active.
    latents : int64 Tensor, shape (n_latents,)
        Those that take part.
    """

    similarity: Tensor
    parts: Tensor
    p: Tensor
    null: Tensor
    latents: Tensor


def shared(
    a: Places,
    b: Places,
    frequency: Tensor,
    generator: torch.Generator,
    *,
    n_draws: int = 199,
    weighed: bool = False,
) -> Shared:
    """Which places of one brain read the same latents as which of another: regions and times, or two people.

    Parameters
    ----------
    a, b : Places
        Of the same latents, from other data (fMRI regions and windows of EEG; two subjects). Noise that both share
        would look like agreement.
    frequency : Tensor, shape (n_latents,)
        How often each latent is active: partners are exchanged among latents that are about as frequent, because how
        well a latent is read depends on that.
    generator : torch.Generator
    n_draws : int
    weighed : bool
        Whether places of `b` that read little count less: every profile of `b` is then in units of the one that varies
        most over latents, so that `similarity` is a correlation there and less elsewhere. Else the noise of a time at
        which nothing is read weighs as much as a response.

    Raises
    ------
    ValueError
        If fewer than three latents were tested in both.

    Notes
    -----
    Each place's profile over latents is its `z` without what goes with the mean profile of its own set, so that these
    are partial correlations: how well all places read a latent says nothing of where or when. (Subtracting the mean
    profile instead would turn a place that reads nothing into its opposite.) With one place nothing is taken away.
    """
    checks.same_length("latent", a=a.z.T, b=b.z.T, frequency=frequency)
    which = torch.nonzero(a.tested & b.tested).squeeze(1)
    checks.at_least("latents tested in both", len(which), 3)
    x = _profiles(a.z[:, which])
    y = _profiles(b.z[:, which], strength(b) if weighed else None)
    parts = x[:, None] * y[None]  # (n_a, n_b, n_latents)
    draws = [exchanged(frequency[which], generator).to(y.device) for _ in range(n_draws)]
    null = torch.stack([x @ y[:, order].T for order in draws])
    similarity = parts.sum(-1)
    everywhere = torch.ones(similarity.numel(), dtype=torch.bool, device=similarity.device)
    p = family_wise(similarity.flatten(), null.flatten(1), everywhere).view_as(similarity)
    return Shared(similarity, parts, p, null, which)


def alike(a: Places, b: Places, unit: float | None = None) -> Tensor:
    """What each latent tested in both adds to the similarity of every place of `a` with every place of `b`.

    float64 (n_a, n_b, n_latents); see `shared`, which adds a null. Profiles of `b` have norm 1, or are in a `unit`
    (`strength`).
    """
    which = torch.nonzero(a.tested & b.tested).squeeze(1)
    return _profiles(a.z[:, which])[:, None] * _profiles(b.z[:, which], unit)[None]


def strength(found: Places) -> float:
    """Norm over latents of what the place that varies most says of its own: the unit of weighed profiles."""
    return float(_own(found.z[:, found.tested]).norm(dim=1).max())


def _profiles(z: Tensor, unit: float | None = None) -> Tensor:
    """Profiles (n_places, n_latents) with mean 0, without what goes with their mean, of norm 1 or in a unit."""
    own = _own(z)
    return standardise(own, 1) if unit is None else own / max(unit, 1e-12)


def _own(z: Tensor) -> Tensor:
    """Profiles about their mean, uncorrelated with the mean profile of several places."""
    known = z.nan_to_num(0.0)
    centred = known - known.mean(1, keepdim=True)
    if len(known) == 1:
        return centred
    common = standardise(centred.mean(0), 0)
    return centred - (centred @ common)[:, None] * common
