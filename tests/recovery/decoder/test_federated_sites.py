"""Sites with other channels and few trials learn more together than each alone; of shuffled pairs, nothing."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from braindec.decoder.federated import Config
from braindec.decoder.site import fit_sites

W = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "federated_sites.py")))
TOLD = Config(rounds=15, local_steps=8)


@pytest.fixture(scope="module")
def planted():
    return W.world(n_sites=5, n_train=25)


def explained(parts, planted, told=TOLD):
    datasets, embeddings = planted
    found = fit_sites(W.SETTINGS, parts, {n: embeddings[n] for n in parts}, told, progress=False)
    return np.array([W.explained(d, datasets[n], embeddings[n]) for n, d in found.decoders.items()])


def test_together_sites_explain_more_of_held_out_embeddings_than_each_alone(planted):
    parts = {name: d.part("train") for name, d in planted[0].items()}
    channels = [t.responses.shape[1] for p in parts.values() for t in p.trials.values()]
    assert channels == [20, 24, 28, 32, 36]
    together = explained(parts, planted)
    alone = np.concatenate([explained({name: part}, planted) for name, part in parts.items()])
    assert together.min() > 0.5
    assert (together - alone).mean() > 0.03
    assert (together > alone).sum() >= 4


def test_of_shuffled_pairs_nothing_is_explained(planted):
    wrong = explained({name: W.shuffled(d) for name, d in planted[0].items()}, planted)
    assert wrong.max() < 0.05
