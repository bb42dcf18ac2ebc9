"""What a dictionary's code is good for and what its latents stand for: retrieval kept, known factors, families."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import seeding
from braindec.data import NeuralDataset
from braindec.evaluate import study
from braindec.evaluate.inside_names import Named
from braindec.maths.nearest import truth_ranks
from braindec.sparse import dictionary, families, measures, monosemanticity
from braindec.sparse.dictionary import Dictionary
from braindec.sparse.measures import Recovered

N_SHOWN = 8  # families
Panel = tuple[str, str, dict[str, Any]]


def retrieval_kept(model: Dictionary, inputs: Tensor, centre: Tensor) -> Recovered:
    """How often a reconstruction finds the very embedding it was made of among all of these.

    Parameters
    ----------
    model : Dictionary
    inputs : Tensor, shape (n, n_dims)
        That it was not trained on.
    centre : Tensor, shape (n_dims,)
        Mean of training embeddings, which all embeddings share: cosines are about it.

    Returns
    -------
    Recovered
        `original` is 1 where no two embeddings are alike; ties count as one in as many.
    """
    gallery = inputs - centre

    def found(values: Tensor) -> float:
        better, tied = truth_ranks(values - centre, gallery, torch.arange(len(gallery)))
        return float(((better == 0).double() / (1 + tied)).mean())

    return measures.recovered(found, inputs, dictionary.rebuilt(model, inputs), mean=centre)


def factor_panels(
    model: Dictionary,
    inputs: Tensor,
    ids: tuple[str, ...],
    dataset: NeuralDataset,
    seed: int,
    n_draws: int = 99,
) -> tuple[list[Panel], list[str]]:
    """Which known factors some latent tells, where the stimuli's table knows factors; panels and words.

    Parameters
    ----------
    model : Dictionary
    inputs : Tensor, shape (n, n_dims)
        Of the stimuli `ids`.
    ids : tuple of str
    dataset : NeuralDataset
    seed, n_draws : int
        Of the permutations.
    """
    table = dataset.stimuli.table
    if table is None or not any(c.startswith("factor_") for c in table):
        return [], []
    known = study.factors(dataset)
    row = {name: i for i, name in enumerate(dataset.stimulus_ids)}
    kept = [i for i, name in enumerate(ids) if name in row]
    present = torch.from_numpy(np.stack(list(known.values()), 1))[[row[ids[i]] for i in kept]].bool()
    usable = (present.sum(0) >= 2) & ((~present).sum(0) >= 2)
    if not bool(usable.any()):
        return [], []
    names = [name for name, ok in zip(known, usable.tolist(), strict=True) if ok]
    codes = dictionary.activations(model, inputs[kept])
    generator = seeding.torch_generator(seed, "known factors")
    found = monosemanticity.against_factors(codes, present[:, usable], generator=generator, n_draws=n_draws)
    best = found.auc.max(0)
    order = best.values.argsort(descending=True).tolist()
    rows = [
        [names[k], int(best.indices[k]), f"{float(best.values[k]):.2f}", f"{float(found.p[best.indices[k]]):.2g}",
         f"{float(found.information[best.indices[k], k]):.2f}"]
        for k in order
    ]  # fmt: skip
    certain = int((found.p <= 0.05).sum())
    caption = (
        f"On {len(kept)} stimuli that it was not trained on. Area: a stimulus with the factor activates the latent "
        "more than one without. p: of the latent's best factor, against the best of any latent and factor with stimuli "
        f"permuted; a latent that knows nothing reaches {found.null:.2f}."
    )
    columns = ["factor", "its best latent", "area", "p of the latent", "share of information"]
    said = (
        f"{certain} of {codes.shape[1]} latents tell one of {len(names)} known factors (p <= 0.05 over all); the best "
        f"latent of a factor has a mean area of {float(best.values.mean()):.2f} (one that knows nothing "
        f"{found.null:.2f})"
    )
    payload = {"columns": columns, "rows": rows, "caption": caption, "section": "latents"}
    return [("Known factors", "table", payload)], [said]


def family_panels(model: Dictionary, inputs: Tensor, names: Named, seed: int) -> list[Panel]:
    """The largest trees of latents that are active together, rarer below commoner ones; none where none go together.

    Parameters
    ----------
    model : Dictionary
    inputs : Tensor, shape (n, n_dims)
    names : Named
    seed : int
    """
    active = dictionary.activations(model, inputs) != 0
    found = families.families(active, generator=seeding.torch_generator(seed, "families"))
    often = active.double().mean(0)
    rows = []
    for root, members in list(found.members().items())[:N_SHOWN]:
        below = sorted((i for i in members if i != root), key=lambda i: -float(often[i]))
        named = ", ".join(f"{names[i]} ({float(often[i]):.1%})" for i in below[:5])
        rows.append([names[root], f"{float(often[root]):.1%}", len(below), named])
    if not rows:
        return []
    caption = (
        f"Each latent below the commoner one it goes with most, where phi exceeds {found.threshold:.2f}: the largest "
        "of any two latents in 19 draws of independent ones as often active."
    )
    columns = ["root", "active in", "latents below", "the commonest of them"]
    payload = {"columns": columns, "rows": rows, "caption": caption, "section": "latents"}
    return [("Families of latents", "table", payload)]
