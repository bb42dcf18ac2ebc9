"""What latents stand for and what can be done with them: their stimuli, names, search by concept, steering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from braindec import checks
from braindec.sparse.dictionary import BLOCK, Dictionary, coded
from braindec.sparse.matching import cosines, rotation


@dataclass(frozen=True, eq=False)
class Top:
    """The stimuli that activate each latent most.

    Parameters
    ----------
    stimuli : Tensor of int64, shape (n_latents, n_top)
        Rows of the inputs, the most active first; -1 where fewer are active.
    values : Tensor, shape (n_latents, n_top)
        Their activations; 0 where fewer are active.
    """

    stimuli: Tensor
    values: Tensor


def top_stimuli(model: Dictionary, inputs: Tensor, n_top: int = 16, *, block: int = BLOCK) -> Top:
    """The `n_top` stimuli of each latent, block after block: no (n_stimuli, n_latents) matrix is ever whole.

    Parameters
    ----------
    model : Dictionary
    inputs : Tensor, shape (n_stimuli, n_dims)
    n_top : int
    """
    checks.at_least("n_top", n_top, 1)
    values = inputs.new_zeros(model.n_latents, 0)
    stimuli = torch.zeros(model.n_latents, 0, dtype=torch.int64, device=inputs.device)
    first = 0
    for part, code in coded(model, inputs, block=block):
        here = code.dense().topk(min(n_top, len(part)), dim=0)
        both = torch.cat([values, here.values.T], 1)
        values, where = torch.sort(both, dim=1, descending=True, stable=True)
        stimuli = torch.cat([stimuli, first + here.indices.T], 1).gather(1, where)[:, :n_top]
        values = values[:, :n_top]
        first += len(part)
    active = values > 0
    return Top(stimuli.masked_fill(~active, -1), values.masked_fill(~active, 0.0))


# --------------------------------------------------------------------------------------------------------- names


@dataclass(frozen=True, eq=False)
class Names:
    """Words for latents, the best first.

    Parameters
    ----------
    words : list of list of str, (n_latents, n_words)
    cosine : Tensor, shape (n_latents, n_words)
    p : Tensor, shape (n_latents,)
        Chance that a direction that means nothing is as near to the word nearest to it, (count + 1) / (n_draws + 1).
    """

    words: list[list[str]]
    cosine: Tensor
    p: Tensor


def name_atoms(
    atoms: Tensor,
    texts: Tensor,
    words: Sequence[str],
    *,
    generator: torch.Generator,
    n_words: int = 3,
    n_draws: int = 999,
) -> Names:
    """Words whose embeddings lie along an atom.

    Parameters
    ----------
    atoms : Tensor, shape (n_latents, n_dims)
    texts : Tensor, shape (n_texts, n_dims)
        Embeddings of `words` by the text side of the model that embedded the inputs; brought to norm 1, and their mean
        is removed, since all texts share a direction that names nothing.
    words : sequence of str, length n_texts
    generator : torch.Generator
        On the CPU.
    n_words : int
        Words a latent.
    n_draws : int
        Random directions behind `Names.p`: rows of turned atoms, as anisotropic as the atoms are.
    """
    spelled = _texts(texts, words)
    drawn = []
    for _ in range(-(-n_draws // len(atoms))):
        turn = rotation(atoms.shape[1], generator).to(atoms)
        drawn.append(cosines(atoms.detach() @ turn, spelled).amax(1))
    return _named(cosines(atoms, spelled), torch.cat(drawn)[:n_draws], words, n_words)


def name_by_stimuli(
    top: Top,
    embeddings: Tensor,
    texts: Tensor,
    words: Sequence[str],
    *,
    generator: torch.Generator,
    n_words: int = 3,
    n_draws: int = 999,
) -> Names:
    """Words whose embeddings lie along the mean of a latent's top stimuli.

    Parameters
    ----------
    top : Top
        Latents without any active stimulus get a cosine of 0 and a p of 1.
    embeddings : Tensor, shape (n_stimuli, n_dims)
        Of the stimuli, in the space of `texts`; brought to norm 1, and the mean of all is removed, so that the gap
        between images and texts is.
    texts, words, generator, n_words
        See `name_atoms`.
    n_draws : int
        Means of as many stimuli as a latent has, drawn at random: the fewer, the nearer some word is by chance.
    """
    spelled = _texts(texts, words)
    seen = torch.nn.functional.normalize(embeddings.detach(), dim=1)
    seen = seen - seen.mean(0)
    there = (top.stimuli >= 0).to(seen)
    means = (seen[top.stimuli.clamp_min(0)] * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp_min(
        1
    )
    n_top = top.stimuli.shape[1]
    draws = torch.stack([torch.randperm(len(seen), generator=generator)[:n_top] for _ in range(n_draws)])
    summed = seen[draws.to(seen.device)].cumsum(1)  # of the first, of the first two, ...
    sizes, own = there.sum(1).long().clamp(1, summed.shape[1]).unique(return_inverse=True)
    null = torch.stack([cosines(summed[:, k - 1], spelled).amax(1) for k in sizes.tolist()])
    return _named(cosines(means, spelled), null[own], words, n_words)


def _texts(texts: Tensor, words: Sequence[str]) -> Tensor:
    checks.same_length("text", texts=texts, words=words)
    checks.at_least("number of texts", len(words), 2)
    unit = torch.nn.functional.normalize(texts.detach().float(), dim=1)
    return unit - unit.mean(0)


def _named(similarity: Tensor, null: Tensor, words: Sequence[str], n_words: int) -> Names:
    best = similarity.topk(min(n_words, len(words)), dim=1)
    counts = (null >= best.values[:, :1]).sum(1)  # null (n_draws,), or (n_latents, n_draws)
    spelled = [[words[i] for i in row] for row in best.indices.tolist()]
    return Names(spelled, best.values, (counts + 1) / (null.shape[-1] + 1))


# ------------------------------------------------------------------------------------------- search and steering


def nearest_latents(atoms: Tensor, concept: Tensor, n_found: int = 5) -> dict[int, float]:
    """Latents whose atoms lie along a concept's direction (n_dims,), with their cosines, the nearest first.

    Remove from a text's embedding the mean of many texts first, as `name_atoms` does. Only positive cosines count.
    """
    found = cosines(concept[None], atoms)[0].topk(min(n_found, len(atoms)))
    pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    return {latent: cosine for latent, cosine in pairs if cosine > 0}


def search(activations: Tensor, concept: Mapping[int, float], n_found: int = 16) -> Tensor:
    """Stimuli in which a concept is, best first.

    Parameters
    ----------
    activations : Tensor, shape (n_stimuli, n_latents)
    concept : mapping from latent to weight
        Of `nearest_latents`, or by hand; negative weights ask for what should be absent. Latents count in units of
        their largest activation, so that a loud one does not drown the others.
    n_found : int

    Returns
    -------
    Tensor of int64, shape (n,)
        At most `n_found` stimuli whose score is above 0.
    """
    if not concept:
        raise ValueError("concept names no latent; lower what is asked, or look it up with nearest_latents.")
    latents = list(concept)
    _known(latents, activations.shape[1])
    used = activations[:, latents]
    scaled = used / used.abs().amax(0).clamp_min(torch.finfo(used.dtype).tiny)
    score = scaled @ torch.tensor([concept[i] for i in latents]).to(used)
    order = score.argsort(descending=True, stable=True)[:n_found]
    return order[score[order] > 0]


@torch.no_grad()
def steer(
    model: Dictionary,
    embeddings: Tensor,
    edits: Mapping[int, float],
    *,
    how: Literal["set", "add", "scale"] = "set",
    keep_norm: bool = False,
) -> Tensor:
    """Embeddings in which latents were edited; everything else, what the dictionary cannot rebuild included, stays.

    Parameters
    ----------
    model : Dictionary
        In eval mode.
    embeddings : Tensor, shape (..., n_dims)
        Predicted or true, tokens included: what ``decoder.image_embedding`` gives and ``generator.generate`` takes.
    edits : mapping from latent to number
    how : str
        ``"set"`` the activation to the number, ``"add"`` the number to it (not below 0 where activations are not),
        ``"scale"`` it by the number.
    keep_norm : bool
        Bring each result back to the norm it had, for generators that were trained on unit embeddings.

    Returns
    -------
    Tensor, shape of `embeddings`
        embeddings + (edited - found activation) times atom, summed over edited latents.
    """
    checks.one_of("how", how, ("set", "add", "scale"))
    latents = list(edits)
    _known(latents, model.n_latents)
    flat = embeddings.reshape(-1, embeddings.shape[-1])
    found = torch.cat([code.dense()[:, latents] for _, code in coded(model, flat)])
    number = torch.tensor([edits[i] for i in latents]).to(found)
    wanted = {"set": number.expand_as(found), "add": found + number, "scale": found * number}[how]
    signed = getattr(model, "kind", "") == "signed"
    if how == "add" and not signed:  # a latent that is switched off further stays off
        wanted = wanted.clamp_min(0.0)
    out = flat + (wanted - found) @ model.atoms[latents].to(found)
    if keep_norm:
        out = out * (flat.norm(dim=1) / out.norm(dim=1).clamp_min(torch.finfo(out.dtype).tiny))[:, None]
    return out.view(embeddings.shape)


def _known(latents: Sequence[int], n_latents: int) -> None:
    for latent in latents:
        checks.in_range("latent", latent, 0, n_latents - 1)
