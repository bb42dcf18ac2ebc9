"""Concepts by word: which latents stand for one, how much of it is in an embedding, which scenes lie near."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.maths.nearest import similarity
from braindec.sparse import latents
from braindec.sparse.dictionary import Dictionary
from braindec.stats.auc import roc_auc

N_NEAR, N_TOP = 10, 16


class Scenes(NamedTuple):
    """Embeddings (n, n_dims) of stimuli, and what is in each, bool (n, n_words)."""

    embeddings: Tensor
    present: Tensor


class Words(NamedTuple):
    """Words for what may be in a stimulus, and their text embeddings (n_words, n_dims)."""

    names: tuple[str, ...]
    values: Tensor


class Concept(NamedTuple):
    """A word, its column, and the latents that stand for it, with the cosine of each."""

    word: str
    column: int
    latents: dict[int, float]


def concepts(
    model: Dictionary, train: Scenes, test: Scenes, words: Words, n_concepts: int, n_latents: int, seed: int
) -> list[Concept]:
    """The words that latents stand for best, and their latents; chosen on training stimuli.

    Parameters
    ----------
    model : Dictionary
    train, test : Scenes
        Words count that are in, and missing from, at least two test stimuli and 2 % of them.
    words : Words
    n_concepts, n_latents : int
        At most so many words, and latents of each.
    seed : int

    Returns
    -------
    list of Concept
        The word with the nearest latent first: by the cosine of its text embedding with the mean of a latent's top
        training stimuli.
    """
    generator = seeding.torch_generator(seed, "concepts")
    top = latents.top_stimuli(model, train.embeddings, min(N_TOP, len(train.embeddings)))
    n = len(words.names)
    named = latents.name_by_stimuli(
        top,
        train.embeddings,
        words.values,
        [str(i) for i in range(n)],
        generator=generator,
        n_words=n,
        n_draws=1,
    )
    order = torch.tensor([[int(w) for w in row] for row in named.words])
    cosine = torch.empty_like(named.cosine).scatter_(1, order, named.cosine)  # (latent, word)
    least = max(2, len(test.present) // 50)
    counts = test.present.sum(0)
    usable = (counts >= least) & (len(test.present) - counts >= least)
    checks.at_least(f"words in, and missing from, {least} test stimuli", int(usable.sum()), 1)
    best = cosine.amax(0).masked_fill(~usable, -torch.inf)
    chosen = best.argsort(descending=True)[: min(n_concepts, int(usable.sum()))]
    return [Concept(words.names[w], w, _strongest(cosine[:, w], n_latents)) for w in chosen.tolist()]


def _strongest(cosine: Tensor, n: int) -> dict[int, float]:
    """The latents nearest to a word, none that is less than half as near as the first."""
    values, at = cosine.topk(min(n, len(cosine)))
    return {int(i): float(v) for i, v in zip(at, values, strict=True) if v >= values[0] / 2}


def asked_for(model: Dictionary, embeddings: Tensor, asked: Sequence[Concept]) -> Tensor:
    """How much of each concept is in embeddings, (n, n_concepts): its latents' pre-activations, weighed by cosine.

    Predictions are never encoded: what TopK keeps of them is noise's choice. Each latent counts in units of its spread.
    """
    pre = model.pre_activations(embeddings).detach()
    spread = pre.std(0).clamp_min(1e-12)
    weights = torch.zeros(len(asked), pre.shape[1], dtype=pre.dtype)
    for row, one in zip(weights, asked, strict=True):
        for latent, cosine in one.latents.items():
            row[latent] = cosine
    return (pre / spread) @ weights.T


def area(score: Tensor, present: Tensor) -> float:
    """Mean area under the ROC over concepts, (n, n_concepts) both, of those in and missing from two stimuli."""
    kept = [k for k in range(score.shape[1]) if 2 <= int(present[:, k].sum()) <= len(present) - 2]
    return float(np.mean([roc_auc(score[:, k].numpy(), present[:, k].numpy()).value for k in kept]))


def other_latents(one: Concept, loud: Tensor, generator: torch.Generator) -> dict[int, float]:
    """As many latents that do not stand for the concept and are ever active, each as loud as it gets."""
    free = [i for i in torch.nonzero(loud > 0).squeeze(1).tolist() if i not in one.latents]
    drawn = torch.randperm(len(free), generator=generator)[: len(one.latents)].tolist()
    return {free[k]: float(loud[free[k]]) for k in drawn}


def near_scenes(queries: Tensor, train: Scenes) -> Tensor:
    """What is in the ten training scenes nearest to each query, share by word (n, n_words)."""
    centre = train.embeddings.mean(0)
    near = similarity(queries - centre, train.embeddings - centre).topk(min(N_NEAR, len(train.embeddings)), 1)
    return train.present[near.indices].double().mean(1)
