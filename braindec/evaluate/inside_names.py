"""Names of latents: words whose embeddings lie where a latent's stimuli do, from captions or from a file of words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.evaluate import encode_features
from braindec.evaluate.compare_sources import from_file
from braindec.evaluate.inside_latents import flat
from braindec.sparse.dictionary import Dictionary
from braindec.sparse.latents import Names, Top, name_by_stimuli, top_stimuli
from braindec.types import Embeddings

NOT_NAMES = ("a", "an", "and", "at", "in", "of", "on", "the", "with")
N_TOP = 16  # stimuli whose mean is named
LEVEL = 0.05
N_SHOWN, N_PICTURES, MOST_ROWS = 10, 6, 60
CAPTION = (
    "Surest names first. A word names a latent where it lies nearer to the mean of its top stimuli than the nearest "
    "word to 95 % of means of as many random ones; p of each latent alone."
)
Panel = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Words:
    """Candidates for names.

    Parameters
    ----------
    words : tuple of str
    values : Tensor, shape (n_words, n_dims)
        Embeddings by the text side of the model that embedded the pictures.
    """

    words: tuple[str, ...]
    values: Tensor


@dataclass(frozen=True, eq=False)
class Named:
    """Latents with the words nearest to their top stimuli.

    Parameters
    ----------
    top : Top
    found : Names or None
        None where there were no candidates.
    """

    top: Top
    found: Names | None

    def __getitem__(self, latent: int) -> str:
        """Its words where they are near enough, else its number."""
        return self.certain.get(latent, f"latent {latent}")

    @property
    def certain(self) -> dict[int, str]:
        """Words of the latents whose stimuli lie nearer to one than 95 % of as many random stimuli do."""
        if self.found is None:
            return {}
        near = (self.found.p <= LEVEL).tolist()
        return {i: " / ".join(spelled) for i, spelled in enumerate(self.found.words) if near[i]}

    def words(self) -> str:
        """How many have a name, and how many would by chance."""
        n = len(self.top.stimuli)
        active = int((self.top.stimuli[:, 0] >= 0).sum())
        return (
            f"{len(self.certain)} of {active} latents that are ever active lie near enough to a word to be named (p <= "
            f"{LEVEL:g} each; {LEVEL * active:.0f} would by chance; {n} latents in all)"
        )


def named(
    model: Dictionary, embeddings: Embeddings, candidates: Words | None, seed: int, n_top: int = N_TOP
) -> Named:
    """Names of all latents.

    Parameters
    ----------
    model : Dictionary
    embeddings : Embeddings
        Of the stimuli among which a latent's top ones are looked for.
    candidates : Words or None
    seed : int
    n_top : int

    Raises
    ------
    SpaceMismatchError
        If words have another number of dims than the embeddings.
    """
    inputs = flat(embeddings)
    top = top_stimuli(model, inputs, min(n_top, len(inputs)))
    if candidates is None or len(candidates.words) < 2:
        return Named(top, None)
    if candidates.values.shape[1] != inputs.shape[1]:
        raise checks.SpaceMismatchError(
            f"the words' embeddings have {candidates.values.shape[1]} dims, the pictures' {inputs.shape[1]}: "
            "they must come from both sides of one model."
        )
    generator = seeding.torch_generator(seed, "inside names")
    told = (candidates.values, candidates.words)
    return Named(top, name_by_stimuli(top, inputs, *told, generator=generator, n_words=2))


def from_captions(target: str, captions: Mapping[str, str], n_most: int = 400) -> Words | None:
    """Words and pairs of neighbouring words of captions, embedded by a target's text side; None where it has none."""
    spelled = vocabulary(captions, n_most)
    if len(spelled) < 2:
        return None
    made = encode_features.feature_target(target)
    if not hasattr(made, "embed_text"):
        return None
    return Words(tuple(spelled), torch.from_numpy(made.embed_text(spelled)).flatten(1).float())


def from_words(path: Path) -> Words:
    """Candidates from a file: .npz with ``ids`` (the words) and ``values``, or cached embeddings (.h5)."""
    ids, values = from_file(path)
    found = torch.from_numpy(values).float()
    return Words(tuple(ids), found.mean(1) if found.ndim == 3 else found)


def vocabulary(captions: Mapping[str, str], n_most: int = 400) -> list[str]:
    """Words and pairs of neighbouring words of captions, the most frequent first; small words stand in neither."""
    counts: dict[str, int] = {}
    for caption in captions.values():
        spelled = caption.lower().replace(",", " ").replace(".", " ").split()
        singles = [w for w in spelled if w not in NOT_NAMES]
        pairs = [f"{a} {b}" for a, b in pairwise(spelled) if a not in NOT_NAMES and b not in NOT_NAMES]
        for word in (*singles, *pairs):
            counts[word] = counts.get(word, 0) + 1
    return sorted(counts, key=lambda w: (-counts[w], w))[:n_most]


# -------------------------------------------------------------------------------------------------------- panels


def panels(
    names: Named, embeddings: Embeddings, frequency: Tensor, dataset: NeuralDataset | None = None
) -> list[Panel]:
    """What latents stand for: a table of all that are active, and the stimuli of the surest names as pictures.

    Parameters
    ----------
    names : Named
        Of these embeddings' stimuli.
    embeddings : Embeddings
    frequency : Tensor, shape (n_latents,)
        How often each is active, in [0, 1].
    dataset : NeuralDataset, optional
        With pictures.
    """
    shown = _order(names, frequency)
    if not shown:
        return []
    ids = [[embeddings.ids[k] for k in names.top.stimuli[i].tolist() if k >= 0] for i in shown]
    rows = [
        [i, names[i] if i in names.certain else "", _p(names, i), f"{float(frequency[i]):.1%}", ", ".join(top[:4])]
        for i, top in zip(shown, ids, strict=True)
    ]  # fmt: skip
    table = {
        "columns": ["latent", "name", "p of the name", "active in", "top stimuli"], "rows": rows[:MOST_ROWS],
        "section": "latents", "caption": CAPTION + (f" {MOST_ROWS} of {len(rows)}." if len(rows) > MOST_ROWS else ""),
    }  # fmt: skip
    out: list[Panel] = [("What latents are called", "table", table)]
    if dataset is None or dataset.stimuli.kind != "image":
        return out
    full = [(i, top[:N_PICTURES]) for i, top in zip(shown, ids, strict=True) if len(top) >= N_PICTURES][
        :N_SHOWN
    ]
    if full:
        pictures = {_label(names, i): _pictures(dataset, top) for i, top in full}
        caption = "The stimuli that activate each latent most, largest first; in brackets its number."
        out.insert(0, ("What latents stand for", "image_grid",
                       {"rows": pictures, "caption": caption, "section": "latents"}))  # fmt: skip
    return out


def _order(names: Named, frequency: Tensor) -> list[int]:
    """Latents that are ever active: surest names first, then the commonest."""
    p = torch.ones(len(frequency)) if names.found is None else names.found.p.float()
    active = torch.nonzero(names.top.stimuli[:, 0] >= 0).squeeze(1).tolist()
    return sorted(active, key=lambda i: (float(p[i]), -float(frequency[i])))


def _label(names: Named, latent: int) -> str:
    return f"{names[latent]} ({latent})" if latent in names.certain else names[latent]


def _p(names: Named, latent: int) -> str:
    return "" if names.found is None else f"{float(names.found.p[latent]):.3g}"


def _pictures(dataset: NeuralDataset, ids: list[str]) -> np.ndarray:
    return np.stack([np.asarray(picture) for picture in dataset.stimuli.images(ids)])
