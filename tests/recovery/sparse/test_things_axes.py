"""Axes on which people sort objects are read from CLIP's text embeddings of the objects' names, concepts held out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from braindec.maths.correlation import pearson
from braindec.maths.folds import folds_by_count
from braindec.maths.ridge import fit_ridge, ridge_predict

ALPHAS = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)


@pytest.fixture(scope="module")
def named(real_data):
    """Text embeddings (n, 512) and axes (n, 49) of the concepts that LVIS and THINGS name alike."""
    things = real_data / "things_spose"
    axes = np.loadtxt(things / "spose_embedding_49d_sorted.txt")
    row = {name: i for i, name in enumerate((things / "unique_id.txt").read_text().split())}
    lvis = json.loads((real_data / "clip_text_lvis" / "lvis_v1_train_cat_info.json").read_text())
    texts = np.load(real_data / "clip_text_lvis" / "lvis_v1_clip_a+cname.npy").astype(np.float32)
    both = [(i, row[c["name"]]) for i, c in enumerate(lvis) if c["name"] in row]
    assert len({c for _, c in both}) == len(both) > 400
    first, second = (list(x) for x in zip(*both, strict=True))
    return torch.from_numpy(texts[first]), torch.from_numpy(axes[second]).float()


def held_out(texts, axes):
    """Mean over folds of each axis' correlation with its prediction for concepts the ridge never saw, (n_axes,)."""
    found = []
    for fold in folds_by_count(len(texts), 5, torch.Generator().manual_seed(0)):
        train = torch.ones(len(texts), dtype=torch.bool).index_fill_(0, fold, False)
        fit = fit_ridge(texts[train], axes[train], ALPHAS, "loo")
        # Within a fold: over folds, training means that lack the held-out concepts correlate negatively with them.
        found.append(pearson(ridge_predict(texts[~train], fit), axes[~train], 0))
    return torch.stack(found).mean(0)


def test_axes_of_named_concepts_are_predicted_from_their_names(named):
    found = held_out(*named)
    assert found.mean() > 0.45
    assert (found > 0.2).float().mean() > 0.85


def test_axes_of_other_concepts_are_not(named, generator):
    texts, axes = named
    found = held_out(texts, axes[torch.randperm(len(axes), generator=generator)])
    assert abs(found.mean()) < 0.05
