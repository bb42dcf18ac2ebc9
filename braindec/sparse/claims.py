"""What may be said of latents that are read from a brain: above which baselines, and what a decoder makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from braindec.sparse import separation
from braindec.sparse.brain import Latents, Reading, readings
from braindec.sparse.readers import SETTINGS, Reader, Settings, read


@torch.no_grad()
def matched_areas(
    source: Reader, latents: Latents, way: str, rates: Tensor, *, signed: bool, settings: Settings = SETTINGS
) -> Tensor:
    """Areas of a baseline's latents, each cut so that it is active as often as the latents it is compared with.

    Parameters
    ----------
    source : Reader
    latents : Latents
        Of a baseline dictionary (PCA, ICA, NMF, raw dims, random directions, the SAE of a random network).
    way : str
        See `readings`; what is read directly is what exceeds the cut.
    rates : Tensor, shape (n_rates,)
        Shares of the stimuli, in (0, 1).
    signed : bool
        Both ends of every latent count as latents.
    settings : Settings

    Returns
    -------
    Tensor, shape (n_rates, n_latents or 2 n_latents)
        NaN for latents that cannot be cut there (constant ones, ties).
    """
    pre = latents.dictionary.pre_activations(latents.embeddings)
    made = readings(source, latents, way)[0] if way == "embedding" else None
    if signed:
        pre, made = torch.cat([pre, -pre], 1), None if made is None else torch.cat([made, -made], 1)
    n, out = len(pre), []
    for rate in rates.tolist():
        k = min(max(settings.min_active, round(rate * n)), n - settings.min_active)
        cut = pre.topk(k + 1, dim=0, sorted=True).values[-1]
        above = pre > cut
        readable = made if made is not None else read(source, torch.relu(pre - cut))[0]
        auc = separation.separate(readable, above, source.strata).auc
        out.append(torch.where(above.sum(0) >= settings.min_active, auc, torch.nan))
    return torch.stack(out)


def rates_of(reading: Reading, n: int) -> Tensor:
    """Frequencies that span those of the tested latents, evenly in logarithm, ascending (n,)."""
    known = reading.rate[reading.tested]
    if not len(known):
        return torch.full((n,), 0.1, dtype=torch.float64)
    low, high = float(known.min().log()), float(known.max().log())
    return torch.linspace(low, high, n, dtype=torch.float64).exp()


@dataclass(frozen=True, eq=False)
class Claim:
    """What may be said of each latent.

    Parameters
    ----------
    verdict : tuple of str, length n_latents
        ``"stands"``: read better than chance, family-wise, and better than every baseline at its frequency;
        ``"not above baselines"``: read, but so is what no dictionary was learned for; ``"not read"``; ``"not tested"``.
    beaten : mapping of str to bool Tensor, shape (n_latents,)
        By baseline: whether the lower limit of the latent's area exceeds the baseline's quantile.
    reference : mapping of str to Tensor, shape (n_latents,)
        That quantile of the baseline's areas, at each latent's frequency.
    """

    verdict: tuple[str, ...]
    beaten: Mapping[str, Tensor] = field(default_factory=dict)
    reference: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def stands(self) -> Tensor:
        """bool (n_latents,)."""
        return torch.tensor([v == "stands" for v in self.verdict])


VERDICTS = ("stands", "not above baselines", "not read", "not tested")


def claims(
    reading: Reading, rates: Tensor, baselines: Mapping[str, Tensor], settings: Settings = SETTINGS
) -> Claim:
    """A verdict on every latent.

    Parameters
    ----------
    reading : Reading
    rates : Tensor, shape (n_rates,)
    baselines : mapping of str to Tensor, shape (n_rates, n_baseline_latents)
        `matched_areas`, in the same way of reading. Without any no claim is more than that a latent is read.
    settings : Settings
    """
    nearest = (reading.rate.clamp_min(1e-12).log()[:, None] - rates.to(reading.rate).log()).abs().argmin(1)
    reference = {
        name: torch.nanquantile(areas.double(), settings.quantile, dim=1)[nearest]
        for name, areas in baselines.items()
    }
    beaten = {name: reading.interval[0] > limit for name, limit in reference.items()}
    read_at_all = reading.tested & (reading.p <= settings.level)
    above = torch.stack([read_at_all, *beaten.values()]).all(0) if beaten else torch.zeros_like(read_at_all)
    number = torch.where(above, 0, torch.where(read_at_all, 1, torch.where(reading.tested, 2, 3)))
    return Claim(tuple(VERDICTS[i] for i in number.tolist()), beaten, reference)


FATES = ("recovered", "weakened", "lost", "not carried", "not tested")


def fates(decoded: Reading, direct: Reading, settings: Settings = SETTINGS) -> tuple[str, ...]:
    """What a decoder makes of the latents that the brain carries, a word a latent.

    Parameters
    ----------
    decoded : Reading
        By the predicted embedding.
    direct : Reading
        By regression, with the same resampling weights.
    settings : Settings

    Returns
    -------
    tuple of str
        ``"recovered"``: read from the prediction, no worse than directly; ``"weakened"``: read from it, but worse (the
        95 % interval of the difference, stimuli resampled together, lies below zero); ``"lost"``: read directly alone;
        ``"not carried"``: read in neither way; ``"not tested"``.
    """
    difference = decoded.draws - direct.draws
    worse = torch.nanquantile(difference, 0.975, dim=0) < 0
    by_decoder, by_brain = (r.p <= settings.level for r in (decoded, direct))
    number = torch.where(by_decoder, worse.long(), torch.where(by_brain, 2, 3))
    return tuple(FATES[i] for i in torch.where(direct.tested, number, 4).tolist())
