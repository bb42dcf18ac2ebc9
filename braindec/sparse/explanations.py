"""Latents in words: what tells captions of a latent's stimuli from others, and what its direction is made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from braindec import checks
from braindec.sparse import pursuit
from braindec.sparse.matching import rotation

NOTHING = ""  # the explanation of a latent that no words tell
SMALL = frozenset(("a", "an", "and", "at", "in", "is", "of", "on", "the", "to", "with"))
AND = " and "  # between phrases


def spelled(text: str) -> list[str]:
    """Words of a text in lower case, small ones left out."""
    return [word for word in re.findall(r"\w+", text.lower()) if word not in SMALL]


def phrases(text: str) -> set[str]:
    """Words of a text, and pairs of neighbours of which neither is small."""
    every = re.findall(r"\w+", text.lower())
    pairs = {f"{a} {b}" for a, b in pairwise(every) if a not in SMALL and b not in SMALL}
    return {word for word in every if word not in SMALL} | pairs


@dataclass(frozen=True, eq=False)
class Explained:
    """Words for latents.

    Parameters
    ----------
    texts : tuple of str, length n_latents
        `NOTHING` where no phrase tells.
    phrases : tuple of tuple of str
        What a text is made of, the surest first.
    z : Tensor, shape (n_latents,)
        Of the surest phrase of all, told or not: normal where it means nothing.
    limit : float
        What `z` must exceed.
    """

    texts: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    z: Tensor
    limit: float


def contrast(
    captions: Sequence[str],
    activations: Tensor,
    *,
    n_top: int = 20,
    n_phrases: int = 2,
    level: float = 0.05,
    n_most: int = 2000,
) -> Explained:
    """The phrases that tell captions of a latent's top stimuli from captions of stimuli in which it is silent.

    Parameters
    ----------
    captions : sequence of str, length n_stimuli
        Of the stimuli that are explained by, which no score may see again.
    activations : Tensor, shape (n_stimuli, n_latents)
        0 or less: silent.
    n_top : int
        Stimuli at most, the most active ones.
    n_phrases : int
        At most so many, none that shares a word with one before it.
    level : float
        Chance that some phrase tells a latent that means nothing: over all phrases.
    n_most : int
        Phrases that count: those in most captions, and in two at least.

    Notes
    -----
    Signed roots of log likelihood ratios, Dunning 1993 (Computational Linguistics 19, 61-74), of captions that hold a
    phrase: how often one caption says it does not count. Log odds over their standard error (Monroe et al. 2008,
    doi:10.1093/pan/mpn018) are small where a phrase is in all of the one kind and in none of the other.
    """
    n = checks.same_length("stimulus", captions=captions, activations=activations)
    checks.at_least("n_top", n_top, 2)
    checks.at_least("n_phrases", n_phrases, 1)
    checks.in_range("level", level, 1e-9, 0.5)
    known, held = _table(captions, n_most)
    held = held.to(activations.device)
    values, top = activations.detach().topk(min(n_top, n), dim=0)
    loud = torch.zeros_like(activations).scatter_(0, top, (values > 0).to(activations)).double()
    silent = (activations <= 0).double()
    z = _surprise(loud.T @ held, loud.sum(0)[:, None], silent.T @ held, silent.sum(0)[:, None])
    limit = float(torch.special.ndtri(torch.tensor(1 - level / len(known), dtype=torch.float64)))
    usable = (loud.sum(0) >= 2) & (silent.sum(0) >= 2)
    chosen = [
        _chosen(row, known, n_phrases, limit) if ok else ()
        for row, ok in zip(z, usable.tolist(), strict=True)
    ]
    best = torch.where(usable, z.amax(1), torch.zeros_like(z[:, 0]))
    return Explained(
        tuple(AND.join(some) if some else NOTHING for some in chosen), tuple(chosen), best, limit
    )


def _table(captions: Sequence[str], n_most: int) -> tuple[list[str], Tensor]:
    """Phrases, the commonest first, and which caption holds which: float64 (n_captions, n_phrases)."""
    told = [phrases(text) for text in captions]
    counts = Counter(phrase for some in told for phrase in some)
    known = sorted((p for p, k in counts.items() if k >= 2), key=lambda p: (-counts[p], p))[:n_most]
    checks.at_least("phrases in two captions", len(known), 1)
    place = {phrase: i for i, phrase in enumerate(known)}
    held = torch.zeros(len(captions), len(known), dtype=torch.float64)
    for row, some in zip(held, told, strict=True):
        row[[place[p] for p in some if p in place]] = 1.0
    return known, held


def _surprise(inside: Tensor, n_inside: Tensor, outside: Tensor, n_outside: Tensor) -> Tensor:
    """Signed roots of log likelihood ratios of 2 x 2 tables, (n_latents, n_phrases)."""
    n = n_inside + n_outside
    ratio = torch.zeros_like(inside)
    for count, group, both in (
        (inside, n_inside, inside + outside), (outside, n_outside, inside + outside),
        (n_inside - inside, n_inside, n - inside - outside), (n_outside - outside, n_outside, n - inside - outside),
    ):  # fmt: skip
        expected = (group * both / n.clamp_min(1)).clamp_min(1e-300)
        ratio = ratio + 2 * torch.special.xlogy(count, count / expected)
    return ratio.clamp_min(0).sqrt() * torch.sign(inside * n_outside - outside * n_inside)


def _chosen(z: Tensor, known: Sequence[str], n_phrases: int, limit: float) -> tuple[str, ...]:
    """Phrases of one latent above the limit, surest first; of equally sure ones the longer."""
    rows = torch.nonzero(z > limit).squeeze(1).tolist()
    order = sorted(rows, key=lambda i: (-round(float(z[i]), 6), -len(known[i].split())))
    out: list[str] = []
    for i in order:
        said = {word for phrase in out for word in phrase.split()}
        if len(out) < n_phrases and not said & set(known[i].split()):
            out.append(known[i])
    return tuple(out)


def examples(
    captions: Sequence[str], activations: Tensor, n_each: int, generator: torch.Generator
) -> tuple[list[list[str]], list[list[str]]]:
    """Captions that a language model is told of each latent: of its top stimuli, and of silent ones drawn at random.

    Parameters
    ----------
    captions : sequence of str, length n_stimuli
    activations : Tensor, shape (n_stimuli, n_latents)
    n_each : int
        Of either kind, at most.
    generator : torch.Generator
        On the CPU.
    """
    n = checks.same_length("stimulus", captions=captions, activations=activations)
    checks.at_least("n_each", n_each, 1)
    active, silent = [], []
    for column in activations.detach().T.cpu():
        top = column.argsort(dim=0, descending=True, stable=True)[:n_each].tolist()
        active.append([captions[i] for i in top if float(column[i]) > 0])
        drawn = [i for i in torch.randperm(n, generator=generator).tolist() if float(column[i]) <= 0]
        silent.append([captions[i] for i in drawn[:n_each]])
    return active, silent


# ------------------------------------------------------------------------------------------- a direction in words


@dataclass(frozen=True, eq=False)
class Lens:
    """Directions as sums of few directions of texts.

    Parameters
    ----------
    words : tuple of tuple of str
        Of each direction, the largest weight first; fewer where a text was chosen again.
    weights : tuple of tuple of float
        Of unit text directions, in units of the direction's length.
    share : Tensor, shape (n_directions,)
        Of the squared length that they tell, in [0, 1].
    null : float
        Mean share of the same directions turned at random.
    """

    words: tuple[tuple[str, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    share: Tensor
    null: float


def lens(
    directions: Tensor,
    texts: Tensor,
    words: Sequence[str],
    *,
    generator: torch.Generator,
    n_words: int = 3,
    n_draws: int = 9,
) -> Lens:
    """What a latent or unit adds to an embedding, as a sum of few directions of texts.

    Parameters
    ----------
    directions : Tensor, shape (n_directions, n_dims)
        Atoms, or of units of a network `effect_direction`.
    texts : Tensor, shape (n_texts, n_dims)
        Embeddings of `words` by the text side of the model; brought to norm 1, and their mean is removed.
    words : sequence of str, length n_texts
    generator : torch.Generator
        On the CPU.
    n_words : int
        At most so many a direction.
    n_draws : int
        Turns behind `Lens.null`.

    Notes
    -----
    Gandelsman et al. 2024, "Interpreting the second-order effects of neurons in CLIP", arXiv:2406.04341, by orthogonal
    matching pursuit; here by the pursuit of `sparse.pursuit`, whose weights are at least 0.
    """
    checks.same_length("text", texts=texts, words=words)
    checks.same_length("dim", directions=directions.T, texts=texts.T)
    checks.at_least("n_draws", n_draws, 1)
    unit = functional.normalize(texts.detach().float(), dim=1)
    unit = functional.normalize(unit - unit.mean(0), dim=1)
    along = functional.normalize(directions.detach().float(), dim=1)
    code = pursuit.encode(along, unit, n_words).dense()
    order = code.argsort(dim=1, descending=True)[:, :n_words]
    told, weights = [], []
    for row, places in zip(code, order.tolist(), strict=True):
        used = [i for i in places if float(row[i]) > 0]
        told.append(tuple(words[i] for i in used))
        weights.append(tuple(float(row[i]) for i in used))
    turned = [
        _share(along @ rotation(along.shape[1], generator).to(along), unit, n_words).mean()
        for _ in range(n_draws)
    ]
    return Lens(tuple(told), tuple(weights), _share(along, unit, n_words), float(torch.stack(turned).mean()))


def effect_direction(changes: Tensor) -> Tensor:
    """The direction, norm 1 (n_dims,), along which a unit moves the output: the first principal axis about zero.

    Parameters
    ----------
    changes : Tensor, shape (n_stimuli, n_dims)
        Output with the unit less output with the unit at its mean, of stimuli in which it is most active.

    Notes
    -----
    Gandelsman et al. 2024: second-order effects are nearly of rank one. The axis points where the mean change does.
    """
    checks.n_axes("changes", changes, ("stimulus", "dim"))
    axis = torch.linalg.svd(changes.detach(), full_matrices=False).Vh[0]
    return axis if float(changes.detach().mean(0) @ axis) >= 0 else -axis


def _share(along: Tensor, unit: Tensor, n_words: int) -> Tensor:
    left = along - pursuit.encode(along, unit, n_words).dense() @ unit
    return 1 - left.square().sum(1) / along.square().sum(1).clamp_min(1e-12)
