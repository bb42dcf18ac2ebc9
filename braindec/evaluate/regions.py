"""Where in the brain the information comes from: decoding from one region at a time, voxels predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from braindec import seeding
from braindec.data import NeuralDataset, spaces
from braindec.data.rows import RowsView
from braindec.decoder import average_groups, group_repeats, steps_for
from braindec.decoder.fitting import ALPHAS, group_folds
from braindec.decoder.rows import applied, fitted_on
from braindec.evaluate.decoded import cross_decode
from braindec.evaluate.measures import Measured, measure, protocol_named
from braindec.evaluate.systems import RidgeFitter, signal_features
from braindec.maths import correlation, ridge
from braindec.types import Embeddings, Trials


def by_region(
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    metric: str,
    regions: Sequence[str] | None = None,
) -> dict[str, dict[str, Measured]]:
    """One metric of closed-form ridge decoders that see a single region: {region: {signal key: Measured}}.

    Regions are those of the subjects' spaces; a subject without a region (sensors) is left out of it.
    """
    protocol = protocol_named(recipe.protocol)
    found = regions or list(dict.fromkeys(r for t in dataset.trials.values() for r in t.space.regions))
    out: dict[str, dict[str, Measured]] = {}
    split = dataset.split
    for region in found:
        trials = {k: _cut(t, region) for k, t in dataset.trials.items() if region in t.space.regions}
        part = NeuralDataset.from_trials(trials.values(), dataset.stimuli, split, name=dataset.name)
        fit = RidgeFitter(signal_features(recipe.preprocessing))
        decoded = cross_decode(fit, part, embeddings, [split] if split else [], protocol, recipe.seed)
        generator = seeding.numpy_generator(recipe.seed, "region", region)
        out[region] = {
            key: measure(d, protocol, None, generator, (metric,))[metric] for key, d in decoded.items()
        }
    return out


def _cut(trials: Trials, region: str) -> Trials:
    from dataclasses import replace

    members = spaces.members_of(trials.space, region)
    kept = RowsView(trials.responses, np.arange(trials.n_trials), members)
    return replace(trials, responses=kept, space=spaces.restrict(trials.space, members))


def predictability(
    recipe: Any, train: NeuralDataset, test: NeuralDataset, embeddings: Embeddings, key: str
) -> np.ndarray:
    """Correlation of each voxel's held-out mean response with a ridge encoding model of the embedding.

    Returns
    -------
    float array, shape (n_voxels,)
        In [-1, 1]; repeats of a test stimulus are averaged. Where a voxel is predicted, the brain carries what the
        embedding holds.
    """
    fitted = fitted_on(steps_for(recipe.preprocessing, train.trials[key].modality), train.trials[key])
    (x, y, ids), (x_test, y_test, _) = (
        _mean_responses(p.trials[key], fitted, embeddings) for p in (train, test)
    )
    folds = group_folds(tuple(ids), 5, seeding.torch_generator(recipe.seed, "predictability", key))
    fit = ridge.fit_ridge(x, y, ALPHAS, folds, per_target=True, score="correlation")
    made = ridge.ridge_predict(x_test, fit)
    return (correlation.standardise(made, 0) * correlation.standardise(y_test, 0)).sum(0).double().numpy()


def _mean_responses(
    trials: Trials, fitted: Any, embeddings: Embeddings
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    group, first = group_repeats(trials.table["stimulus_id"])
    ids = trials.table["stimulus_id"][first].tolist()
    y = average_groups(applied(fitted, trials).reshape(trials.n_trials, -1), group, len(first))
    x = torch.from_numpy(embeddings.of(ids)).flatten(1)
    return x, torch.from_numpy(y), ids
