"""How well readings tell samples where a latent is active from those where it is not, many latents at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks

LARGEST = 2**25  # entries of a table of (draw, latent, sample) that are held at once


@dataclass(frozen=True, eq=False)
class Separation:
    """Areas under the ROC curve of many latents.

    Parameters
    ----------
    auc : Tensor, shape (n_latents,), float64
        Chance that a sample where the latent is active has the higher reading, in [0, 1]; 0.5 is chance, NaN where no
        stratum holds both kinds.
    z : Tensor, shape (n_latents,), float64
        `auc` - 0.5 in units of its spread under chance, which grows as a latent gets rarer: latents of any frequency
        can be compared by it.
    n_active : int64 Tensor, shape (n_latents,)
    """

    auc: Tensor
    z: Tensor
    n_active: Tensor

    @property
    def d_prime(self) -> Tensor:
        """Distance of the two means in standard deviations that would give these areas, (n_latents,)."""
        return d_prime(self.auc)


class _Sorted(NamedTuple):
    """Samples of each latent by stratum and reading.

    order (n, L): sample at each place; on (n, L): whether the latent is active there; first, after (n, L): where the
    readings equal to this one begin, and where what follows them begins; start (n,): where the stratum begins.
    """

    order: Tensor
    on: Tensor
    first: Tensor
    after: Tensor
    start: Tensor


def d_prime(auc: Tensor) -> Tensor:
    """sqrt(2) times the normal quantile of areas of any shape; of infinite size where nothing is confused."""
    return 2**0.5 * torch.special.ndtri(auc)


def separate(readings: Tensor, active: Tensor, strata: Tensor | None = None) -> Separation:
    """Areas under the ROC curve, samples compared within strata only.

    Parameters
    ----------
    readings : Tensor, shape (n_samples, n_latents)
        Larger means more likely active.
    active : bool Tensor, shape (n_samples, n_latents)
    strata : int Tensor, shape (n_samples,), optional
        Samples whose readings can be compared: the fold that each was held out in, because every fold's readings come
        from a fit, and lie opposite to its own held-out samples.

    Returns
    -------
    Separation

    Notes
    -----
    Mann-Whitney's U, summed over strata and divided by the number of pairs; its variance under chance is that of ranks
    without ties (van Elteren 1960), n_active n_silent (n + 1) / 12 a stratum, so ties make `z` smaller.
    """
    checks.n_axes("readings", readings, ("sample", "latent"))
    checks.same_length("sample", readings=readings, active=active)
    checks.same_length("latent", readings=readings.T, active=active.T)
    group = _groups(strata, len(readings), readings.device)
    placed = _sorted(readings, active, group)
    weights = torch.ones(1, len(readings), dtype=torch.float64, device=readings.device)
    won, pairs = _pairs_won(placed, weights, group)
    on, size = _counts(active, group)
    spread = (on * (size - on) * (size + 1)).sum(0) / 12
    auc = won[0] / pairs[0].masked_fill(pairs[0] == 0, torch.nan)
    z = (won[0] - pairs[0] / 2) / spread.clamp_min(torch.finfo(torch.float64).tiny).sqrt()
    return Separation(auc, torch.where(pairs[0] > 0, z, torch.nan), active.sum(0))


def resampled(
    readings: Tensor, active: Tensor, weights: Tensor, strata: Tensor | None = None, *, largest: int = LARGEST
) -> Tensor:
    """Areas of resampled samples: float64 (n_draws, n_latents), NaN where a draw holds one kind only.

    Parameters
    ----------
    readings, active, strata
        As for `separate`.
    weights : Tensor, shape (n_draws, n_samples)
        How often each sample is drawn (`resampling_weights`). Two kinds of readings given the same weights are
        resampled together.
    largest : int
        Entries that are held at once: latents are taken in blocks, and draws.
    """
    group = _groups(strata, len(readings), readings.device)
    weights = weights.to(readings.device)
    at_once = max(1, largest // len(readings))
    draws = max(1, min(len(weights), at_once))
    latents = max(1, at_once // draws)
    blocks = []
    for part, on in zip(readings.split(latents, 1), active.split(latents, 1)):
        placed = _sorted(part, on, group)
        rows = []
        for some in weights.split(draws):
            won, pairs = _pairs_won(placed, some.double(), group)
            rows.append(won / pairs.masked_fill(pairs == 0, torch.nan))
        blocks.append(torch.cat(rows))
    return torch.cat(blocks, 1)


def resampling_weights(n_samples: int, n_draws: int, generator: torch.Generator) -> Tensor:
    """How often each sample is drawn in draws of `n_samples` with replacement: float64 (n_draws, n_samples)."""
    drawn = torch.randint(n_samples, (n_draws, n_samples), generator=generator)
    counts = torch.zeros(n_draws, n_samples, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))


def interval(auc: Tensor, draws: Tensor, n_pairs: Tensor, level: float = 0.95) -> Tensor:
    """Limits of areas from resampled ones, on the log-odds: (2, n_latents), low then high.

    Parameters
    ----------
    auc : Tensor, shape (n_latents,)
    draws : Tensor, shape (n_draws, n_latents)
        From `resampled`.
    n_pairs : Tensor, shape (n_latents,)
        Samples active times samples silent: an area of 0 or 1 is moved half a pair inwards.
    level : float
    """
    checks.in_range("level", level, 0.5, 0.9999)
    edge = 0.5 / n_pairs.double().clamp_min(1)
    centre = torch.logit(auc.clamp(edge, 1 - edge))
    spread = torch.logit(draws.clamp(edge, 1 - edge))
    known = spread.isfinite()
    count = known.sum(0).clamp_min(2)
    values = torch.where(known, spread, torch.zeros_like(spread))
    mean = values.sum(0) / count
    error = ((torch.where(known, spread - mean, 0.0).square().sum(0)) / (count - 1)).sqrt()
    half = error * float(torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64)))
    return torch.stack([torch.sigmoid(centre - half), torch.sigmoid(centre + half)])


def _groups(strata: Tensor | None, n: int, device: torch.device) -> Tensor:
    if strata is None:
        return torch.zeros(n, dtype=torch.int64, device=device)
    checks.same_length("sample", strata=strata, readings=range(n))
    return torch.unique(strata.to(device), return_inverse=True)[1]


def _counts(active: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Active samples of each stratum (n_strata, L), and all samples (n_strata, 1), float64."""
    n = int(group.max()) + 1
    on = torch.zeros(n, active.shape[1], dtype=torch.float64, device=active.device)
    size = torch.bincount(group, minlength=n).double()[:, None]
    return on.index_add_(0, group, active.double()), size


def _sorted(readings: Tensor, active: Tensor, group: Tensor) -> _Sorted:
    # A stratum at a time, latents in rows: a third of the time of sorting columns by reading and then by stratum.
    strata = group.argsort(stable=True).split(torch.bincount(group).tolist())
    order = torch.cat([rows[readings[rows].T.contiguous().argsort(dim=1, stable=True)].T for rows in strata])
    values, on = readings.gather(0, order), active.gather(0, order)
    ordered = group.sort().values  # the same for every latent
    place = torch.arange(len(readings), device=readings.device)[:, None]
    new = torch.ones_like(on)
    new[1:] = (values[1:] != values[:-1]) | (ordered[1:] != ordered[:-1])[:, None]
    first = torch.where(new, place, 0).cummax(0).values
    last = torch.ones_like(on)
    last[:-1] = new[1:]
    after = torch.where(last, place + 1, len(readings)).flip(0).cummin(0).values.flip(0)
    starts = torch.cumsum(torch.bincount(group), 0) - torch.bincount(group)
    return _Sorted(order, on, first, after, starts[ordered])


def _pairs_won(placed: _Sorted, weights: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs (active, silent) that readings order rightly, and all pairs, by the weights of samples: each (draw, L)."""
    w = weights[:, placed.order]  # (draw, n, L)
    silent = torch.where(placed.on, 0.0, w)
    below = torch.cat([silent.new_zeros(len(w), 1, w.shape[2]), silent.cumsum(1)], 1)

    def at(place: Tensor) -> Tensor:
        return below.gather(1, place.expand(len(w), -1, -1))

    passed = (at(placed.first) + at(placed.after)) / 2 - below[:, placed.start]
    active = torch.where(placed.on, w, 0.0)
    won = (active * passed).sum(1)
    ordered = group.sort().values
    n = int(group.max()) + 1
    sums = [w.new_zeros(len(w), n, w.shape[2]).index_add_(1, ordered, part) for part in (active, silent)]
    return won, (sums[0] * sums[1]).sum(1)
