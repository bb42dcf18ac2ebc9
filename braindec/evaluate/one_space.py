"""Whether brains of several modalities meet: one's predictions looked for among another's, and use of experts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from braindec import checks, seeding
from braindec.backbones.experts import Experts
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder, Prediction
from braindec.maths import nearest
from braindec.stats.permutation import p_value
from braindec.stats.scoring import summarise
from braindec.types import Score

N_PERMUTATIONS = 999
NAME = "across_brains_top1"


def across_brains(
    decoder: BrainDecoder,
    dataset: NeuralDataset,
    *,
    protocol: str,
    seed: int,
    shuffled: BrainDecoder | None = None,
) -> tuple[Score, ...]:
    """How often one brain's predicted embedding is most like what another brain predicts for the same stimulus.

    Every pair of subjects of different modalities, both ways; repeats are averaged after the decoder. No image and no
    embedding of one is compared with, so only what both predictions have in common counts.

    Parameters
    ----------
    decoder : BrainDecoder
    dataset : NeuralDataset
        Whole, with the split in use; its test part is looked at.
    protocol : str
        What the scores are filed under.
    seed : int
        Of the permutations.
    shuffled : BrainDecoder, optional
        Fitted to permuted stimuli: its scores stand beside as ``"shuffled"``.

    Returns
    -------
    tuple of Score
        Their null is the mean over 999 permutations of one brain's stimuli.
    """
    part = dataset.part("test")
    systems = {"braindec": decoder} if shuffled is None else {"braindec": decoder, "shuffled": shuffled}
    made = {name: {k: _predicted(one, k, part) for k in part.keys} for name, one in systems.items()}
    modality = {key: trials.modality for key, trials in part.trials.items()}
    return tuple(
        _score(name, predictions, query, gallery, part, protocol, seed)
        for name, predictions in made.items()
        for query in part.keys
        for gallery in part.keys
        if modality[query] != modality[gallery]
    )


def expert_use(decoder: BrainDecoder, dataset: NeuralDataset) -> dict[str, list[float]]:
    """By signal key, the mean weight that the router gives each expert on test trials.

    Raises
    ------
    TypeError
        If the backbone is not `experts`.
    """
    encoder = decoder.fitted_encoder()
    backbone, part = checks.of_type("backbone", encoder.backbone, Experts), dataset.part("test")
    found = {}
    for key, trials in part.trials.items():
        with torch.no_grad():
            shared = encoder.adapter(key)(decoder.tensor(decoder.preprocessing[key].apply(trials)))
            found[key] = [float(w) for w in backbone.weights(shared).mean(0)]
    return found


def use_panel(found: Mapping[str, list[float]]) -> tuple[str, str, dict[str, Any]]:
    """A table of `expert_use`."""
    n = len(next(iter(found.values())))
    columns = ["subject", *(f"expert {k + 1}" for k in range(n))]
    rows = [[key, *(f"{w:.2f}" for w in weights)] for key, weights in found.items()]
    return "Mean weight of each expert", "table", {"columns": columns, "rows": rows}


def _predicted(decoder: BrainDecoder, key: str, part: NeuralDataset) -> Prediction:
    made = decoder.predict(part.trials[key], repeats="after")
    order = np.argsort(made.ids)
    return replace(made, ids=tuple(made.ids[i] for i in order), values=made.values[order])


def _score(
    name: str, predictions: Mapping[str, Prediction], query: str, gallery: str, part: NeuralDataset, protocol: str,
    seed: int,
) -> Score:  # fmt: skip
    """One brain's predictions looked for among another's, for the stimuli that both saw."""
    common = sorted(set(predictions[query].ids) & set(predictions[gallery].ids))
    checks.at_least(f"number of test stimuli that {query} and {gallery} have in common", len(common), 2)
    ours, theirs = (
        _about_mean(
            predictions[key].values[[i for i, s in enumerate(predictions[key].ids) if s in set(common)]]
        )
        for key in (query, gallery)
    )
    similarity = nearest.similarity(ours, theirs).numpy()
    hits = (similarity.argmax(1) == np.arange(len(common))).astype(float)
    draw = seeding.numpy_generator(seed, "across brains", query, gallery)
    best = similarity.argmax(1)
    null = np.array([(best == draw.permutation(len(common))).mean() for _ in range(N_PERMUTATIONS)])
    found = summarise(hits, 1 / len(common), generator=draw)
    trials = part.trials[query]
    return Score(
        NAME, name, protocol, trials.subject, trials.modality, found.value,
        (float(found.interval.low), float(found.interval.high)), found.chance, float(null.mean()), found.n,
        p=p_value(found.value, null, "greater"), null_n=N_PERMUTATIONS, per_sample=hits,
        details={"query": query, "gallery": gallery}, sample_ids=tuple(common),
    )  # fmt: skip


def _about_mean(values: np.ndarray) -> torch.Tensor:
    """Flattened, each value about its mean over stimuli: what all predictions of a brain share says nothing."""
    flat = torch.from_numpy(values).flatten(1)
    return flat - flat.mean(0)
