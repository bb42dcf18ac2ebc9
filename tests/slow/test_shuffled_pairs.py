"""A decoder that was trained on shuffled pairs finds held-out pictures no more often than chance allows."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from braindec.backbones import linear
from braindec.data import splits
from braindec.decoder import BrainDecoder

N_SEEDS = 20


@pytest.mark.slow
def test_shuffled_pairs_stay_inside_the_chance_band_at_twenty_seeds(record_property):
    """The band holds all twenty together in 99 of 100 cases; the same decoder with true pairs leaves it each time."""
    settings, dataset, embeddings = runpy.run_path(str(Path(__file__).parents[1] / "forked_runs.py"))[
        "_world"
    ]()
    settings = replace(
        settings, backbone=linear.Config(), fit="closed_form", prior=None, calibrate=False, n_folds=0
    )
    dataset = dataset.with_split(splits.hold_out(dataset, "stimulus", 0.5, np.random.default_rng(0)))
    inside, true = [], []
    for seed in range(N_SEEDS):
        order = np.random.default_rng(seed).permutation(len(embeddings.ids))
        shuffled = replace(embeddings, values=np.asarray(embeddings.values)[order])
        for pairs, found in ((shuffled, inside), (embeddings, true)):
            hits, n, n_gallery = hits_of(replace(settings, seed=seed), dataset, embeddings, pairs)
            tail = 0.005 / N_SEEDS
            low, high = binom.ppf(tail, n, 1 / n_gallery), binom.ppf(1 - tail, n, 1 / n_gallery)
            found.append(low <= hits <= high)
    record_property(
        "R10", f"{sum(inside)}/{N_SEEDS} inside; true pairs outside in {N_SEEDS - sum(true)}/{N_SEEDS}"
    )
    assert sum(inside) == N_SEEDS and not any(true)


def hits_of(settings, dataset, embeddings, pairs):
    """(hits, test pictures, gallery) of a decoder fitted on these pairs and judged on the true ones."""
    decoder = BrainDecoder.build(settings, dataset.info, embeddings.info)
    decoder.fit(dataset.part("train"), pairs, progress=False)
    test = dataset.part("test")
    ids = test.stimulus_ids
    gallery = replace(embeddings, ids=tuple(ids), values=embeddings.of(ids))
    trials = next(iter(test.trials.values()))
    found, _ = decoder.retrieve(trials, gallery, 1, repeats="before")
    shown = decoder.predict(trials, repeats="before").ids
    return sum(row[0] == i for row, i in zip(found, shown, strict=True)), len(shown), len(ids)
