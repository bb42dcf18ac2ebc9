"""What latents of two models, of two regions or of two people's brains have in common over the same stimuli."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.maths import gemm
from braindec.maths.correlation import standardise
from braindec.sparse.matching import Matched, Nulled, exchanged, match

ACTIVE_IN = 5  # stimuli: latents of one or two stimuli correlate perfectly by chance


@dataclass(frozen=True, eq=False)
class Universality:
    """Pairs of latents by correlation of their activations.

    Parameters
    ----------
    n_stimuli : int
    n_latents : (int, int)
        Latents of either model that are active in enough stimuli; the others take no part.
    pairs : Matched
        One to one.
    best : Tensor, shape (n_latents_a,)
        The largest correlation of each latent of the first model with any of the second; NaN where it takes no part.
    p : Tensor, shape (n_pairs,)
        Of each pair, against the largest correlation anywhere under permuted stimuli: family-wise over all pairs.
    mean : Nulled, of shape ()
        Mean correlation of the pairs. ``"permuted"``: the second model's stimuli permuted together and latents paired
        anew, so that every latent keeps its frequency and a model its co-occurrences, and nothing is shared.
        ``"shuffled"``: partners exchanged among latents that are about as often active. ``"rotated"``, where given:
        dictionaries of the same geometry on the same inputs.
    """

    n_stimuli: int
    n_latents: tuple[int, int]
    pairs: Matched
    best: Tensor
    p: Tensor
    mean: Nulled

    def share(self, level: float = 0.05) -> float:
        """Share of pairs with a family-wise p of at most `level`."""
        return float((self.p <= level).float().mean())


def universality(
    a: Tensor,
    b: Tensor,
    *,
    generator: torch.Generator,
    n_draws: int = 99,
    rotated: Sequence[Tensor] = (),
    active_in: int = ACTIVE_IN,
) -> Universality:
    """Latents of two models paired by the correlation of their activations over the same stimuli.

    Parameters
    ----------
    a, b : Tensor, shapes (n_stimuli, n_latents_a), (n_stimuli, n_latents_b)
        Row i of both is stimulus i; average repeats first, or a permutation tears apart what belongs together.
    generator : torch.Generator
        On the CPU.
    n_draws : int
        Permutations and shuffles; every permutation is paired anew.
    rotated : sequence of Tensor, each of shape (n_stimuli, n_latents_b)
        Activations of `matching.rotated` dictionaries on the inputs of `b`.
    active_in : int
        Stimuli in which a latent must not be zero to take part.

    Raises
    ------
    ValueError
        If the numbers of stimuli differ, or a model has no latent that takes part.

    Notes
    -----
    Lan et al. 2024, arXiv:2410.06981, pair features of language models so, several to one; here it is one to one.
    """
    n, b = checks.same_length("stimulus", a=a, b=b), b.to(a)
    (in_a, x), (in_b, y) = _varying("a", a, active_in), _varying("b", b, active_in)
    similarity = gemm.mm(x.T, y)
    pairs = match(similarity)
    frequency = (b != 0).float().mean(0)[in_b]
    means, largest, shuffled = [], [], []
    for _ in range(n_draws):
        drawn = gemm.mm(x.T, y[torch.randperm(n, generator=generator).to(y.device)])
        means.append(match(drawn).similarity.mean().cpu())
        largest.append(drawn.max().cpu())
        other = exchanged(frequency, generator)[pairs.second]
        shuffled.append(similarity[pairs.first, other].mean().cpu())
    nulls = {"permuted": torch.stack(means), "shuffled": torch.stack(shuffled)}
    if rotated:
        turned = [_varying("rotated", r.to(a), active_in)[1] for r in rotated]
        nulls["rotated"] = torch.stack([match(gemm.mm(x.T, r)).similarity.mean().cpu() for r in turned])
    counts = (torch.stack(largest)[:, None] >= pairs.similarity.cpu()).sum(0)
    best = torch.full((a.shape[1],), torch.nan, dtype=a.dtype, device=a.device)
    best[in_a] = similarity.amax(1)
    return Universality(
        n,
        (len(in_a), len(in_b)),
        Matched(in_a[pairs.first], in_b[pairs.second], pairs.similarity),
        best,
        (counts + 1) / (n_draws + 1),
        Nulled(pairs.similarity.mean().cpu(), nulls),
    )


def _varying(name: str, values: Tensor, active_in: int) -> tuple[Tensor, Tensor]:
    """Which latents take part, and their activations with mean 0 and norm 1 over stimuli."""
    checks.n_axes(name, values, ("stimulus", "latent"))
    standard = standardise(values.detach(), 0)
    enough = (values != 0).sum(0) >= active_in
    which = torch.nonzero(enough & (standard != 0).any(0)).squeeze(1)
    if len(which) == 0:
        raise ValueError(f"{name} has no latent that varies and is active in at least {active_in} stimuli.")
    return which, standard[:, which]
