"""Whether an explanation is right: how well it tells, of stimuli it was not made from, which activate the latent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from braindec import checks
from braindec.maths.correlation import standardise
from braindec.maths.ranks import auc_of_ranks, average_ranks
from braindec.sparse.explanations import NOTHING, spelled
from braindec.stats.corrections import fdr

MIN_ACTIVE = 5  # stimuli in which a latent must be active, and silent, to be judged
CHANCE = 0.5


# -------------------------------------------------------------------------------------------------------- judges


def fits_by_embedding(
    texts: Sequence[str],
    embed: Callable[[list[str]], Tensor],
    stimuli: Tensor,
    *,
    text_centre: Tensor,
    stimulus_centre: Tensor,
) -> Tensor:
    """How well each text fits each stimulus by a model of texts and pictures, cosines (n_stimuli, n_texts).

    Parameters
    ----------
    texts : sequence of str
        `NOTHING` fits all alike: 0.
    embed : callable
        Gives the embeddings (n, n_dims) of texts.
    stimuli : Tensor, shape (n_stimuli, n_dims)
        Embeddings by the same model.
    text_centre, stimulus_centre : Tensor, shape (n_dims,)
        Means of training texts' and stimuli's embeddings of norm 1, which are removed: the two lie in cones apart.
    """
    known = sorted({text for text in texts if text != NOTHING})
    out = stimuli.new_zeros(len(stimuli), len(texts))
    if known:
        told = functional.normalize(embed(known).to(stimuli), dim=1) - text_centre
        seen = functional.normalize(stimuli, dim=1) - stimulus_centre
        cosine = functional.normalize(seen, dim=1) @ functional.normalize(told, dim=1).T
        place = {text: i for i, text in enumerate(known)}
        for k, text in enumerate(texts):
            if text != NOTHING:
                out[:, k] = cosine[:, place[text]]
    return out


def fits_by_words(texts: Sequence[str], captions: Sequence[str]) -> Tensor:
    """Share of each text's words that stand in each stimulus' caption, float64 (n_stimuli, n_texts); needs no model."""
    told = [set(spelled(text)) for text in texts]
    held = [set(spelled(caption)) for caption in captions]
    rows = [[len(some & words) / max(1, len(some)) for some in told] for words in held]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(captions), len(texts))


def asked(active: Tensor, n_each: int, generator: torch.Generator) -> Tensor:
    """Stimuli that a costly judge is asked about, ascending int64 (n,): of each latent as many active as silent ones.

    Parameters
    ----------
    active : bool Tensor, shape (n_stimuli, n_latents)
    n_each : int
        Of either kind, at most; every latent is then judged by all that are drawn for any.
    generator : torch.Generator
        On the CPU.
    """
    checks.at_least("n_each", n_each, 1)
    found: set[int] = set()
    for column in active.T.cpu():
        kinds = [torch.nonzero(kind).squeeze(1) for kind in (column, ~column)]
        n = min(n_each, *(len(rows) for rows in kinds))
        for rows in kinds:
            found |= set(rows[torch.randperm(len(rows), generator=generator)[:n]].tolist())
    return torch.tensor(sorted(found), dtype=torch.int64)


# -------------------------------------------------------------------------------------------------------- scores


@dataclass(frozen=True, eq=False)
class Scored:
    """Every latent by every explanation; a latent's own stands on the diagonal.

    Parameters
    ----------
    areas : Tensor, shape (n_latents, n_latents), float64
        Detection: chance that a stimulus in which the latent (row) is active fits the explanation (column) better than
        one in which it is not, in [0, 1]; 0.5 is chance. NaN in rows of latents that are not judged.
    correlations : Tensor, same shape
        Simulation: of the fit with the activation, in [-1, 1]; 0 is chance, and where the fit is constant.
    judged : bool Tensor, shape (n_latents,)
    """

    areas: Tensor
    correlations: Tensor
    judged: Tensor

    @property
    def detection(self) -> Tensor:
        """Of each latent by its own explanation, (n_latents,)."""
        return self.areas.diagonal()

    @property
    def simulation(self) -> Tensor:
        """Of each latent by its own explanation, (n_latents,)."""
        return self.correlations.diagonal()

    @property
    def p(self) -> Tensor:
        """Share of judged latents' explanations, its own included, that detect the latent as well, (n_latents,).

        Latents that have one explanation count against each other. NaN where a latent is not judged.
        """
        others = self.areas[:, self.judged]
        share = (others >= self.detection[:, None] - 1e-12).double().mean(1)
        return torch.where(self.judged, share, torch.nan)

    @property
    def q(self) -> Tensor:
        """`p` after Benjamini and Hochberg over judged latents, (n_latents,)."""
        out = torch.full_like(self.p, torch.nan)
        if bool(self.judged.any()):
            out[self.judged] = torch.from_numpy(fdr(self.p[self.judged].cpu().numpy())).to(out)
        return out

    def means(self) -> tuple[float, float]:
        """Mean detection and simulation over judged latents."""
        return float(self.detection[self.judged].mean()), float(self.simulation[self.judged].mean())

    def exchanged(self, generator: torch.Generator, n_draws: int) -> np.ndarray:
        """The same means where judged latents have exchanged their explanations, (n_draws, 2)."""
        rows = torch.nonzero(self.judged).squeeze(1)
        out = []
        for _ in range(n_draws):
            given = rows[torch.randperm(len(rows), generator=generator)]
            out.append([float(table[rows, given].mean()) for table in (self.areas, self.correlations)])
        return np.array(out)


def score(
    fits: Tensor, activations: Tensor, active: Tensor | None = None, *, min_active: int = MIN_ACTIVE
) -> Scored:
    """Detection and simulation of every latent by every explanation.

    Parameters
    ----------
    fits : Tensor, shape (n_stimuli, n_latents)
        How well the explanation of each latent fits each stimulus, none of which it was made from; any unit.
    activations : Tensor, shape (n_stimuli, n_latents)
        Activations, or what was read of them from a brain.
    active : bool Tensor, shape (n_stimuli, n_latents), optional
        Default: where `activations` is above 0.
    min_active : int
        Stimuli of either kind that a latent needs to be judged.

    Notes
    -----
    Detection: Paulo et al. 2024, arXiv:2410.13928, who ask about matched counts of active and silent stimuli; an area
    under the ROC does not depend on the counts, so all are used. Simulation: Bills et al. 2023, "Language models can
    explain neurons in language models", the correlation of predicted and true activations.
    """
    checks.same_length("stimulus", fits=fits, activations=activations)
    checks.same_length("latent", fits=fits.T, activations=activations.T)
    checks.finite("fits", fits)
    on = activations > 0 if active is None else active
    checks.same_length("stimulus", fits=fits, active=on)
    checks.at_least("min_active", min_active, 1)
    count = on.sum(0)
    judged = (count >= min_active) & (len(on) - count >= min_active)
    areas = auc_of_ranks(average_ranks(fits.double(), 0), on).T
    correlations = standardise(activations.double(), 0).T @ standardise(fits.double(), 0)
    missing = ~judged[:, None]
    return Scored(areas.masked_fill(missing, torch.nan), correlations.masked_fill(missing, torch.nan), judged)
