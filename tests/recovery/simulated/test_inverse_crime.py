"""The inverse crime: a brain that is built from the decoding target flatters a linear decoder (development gallery)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec.data import catalogue
from braindec.data.simulated import simulate, stimuli, world
from braindec.maths.ridge import fit_ridge, ridge_predict
from braindec.targets import tiny_openclip


@pytest.mark.slow
def test_a_linear_decoder_predicts_embeddings_better_from_a_brain_that_is_made_of_them():
    target = tiny_openclip.build(tiny_openclip.Config())

    def embed(images: np.ndarray) -> np.ndarray:
        return target.embed_images(images, batch_size=128).reshape(len(images), -1)

    honest = world.load_world(catalogue.folder("simulated") / "world_development.json")
    honest = replace(honest, subjects=honest.subjects[:1], n_reference=800)
    found = {}
    for name, chosen in (("honest", honest), ("crime", replace(honest, inverse_crime=True))):
        seen = stimuli.draw_stimuli(chosen, embed=embed if chosen.inverse_crime else None)
        one = simulate.simulate_subject(chosen, chosen.subjects[0], seen)
        shown = one.schedule.stimulus
        x = np.stack([one.responses[shown == i].mean(0) for i in range(chosen.n_stimuli)])
        y = embed(seen.images)
        x, y = (torch.from_numpy(a.astype(np.float32)) for a in (x, y))
        fit = fit_ridge(x[200:], y[200:], np.logspace(0, 5, 11), "loo")
        error = (ridge_predict(x[:200], fit) - y[:200]).square().sum()
        found[name] = 1 - float(error / (y[:200] - y[200:].mean(0)).square().sum())
    assert 0.1 < found["honest"] < found["crime"] - 0.03, found
