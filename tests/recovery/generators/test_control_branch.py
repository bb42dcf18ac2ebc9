"""A brain's own control branch brings back what the embedding lost, and from shuffled pairs nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import train
from braindec.data.simulated import scenes
from braindec.decoder import control_branch
from braindec.generators import Guides, brain_control, embedded_unclip
from braindec.targets import tiny_openclip

N, N_TEST, DIMS = 260, 40, 64
SETTINGS = train.Config(
    n_steps=150, batch_size=16, lr=1e-2, validate_every=37, validation_fraction=0.1, device="cpu"
)


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x.reshape(len(x), -1).astype(float) for x in (a, b))
    return np.array([np.corrcoef(one, other)[0, 1] for one, other in zip(a, b)])


@pytest.mark.slow
def test_a_branch_that_reads_rough_pictures_draws_nearer_to_them_than_the_generator_alone():
    """Embeddings are noisy; 64 features are a noisy projection of the pictures at 8 by 8."""
    rng = np.random.default_rng(0)
    pictures = scenes.render_all(scenes.sample_unique_scenes(N + N_TEST, rng))
    told = tiny_openclip.build(tiny_openclip.Config()).embed_images(pictures)
    told = told + 0.15 * rng.standard_normal(told.shape)
    rough = pictures.reshape(len(pictures), 8, 8, 8, 8, 3).mean((2, 4)).reshape(len(pictures), -1)
    read = (rough - rough.mean(0)) @ rng.standard_normal((192, DIMS))
    read = read / read.std(0) + 0.1 * rng.standard_normal((len(read), DIMS))
    base = embedded_unclip.build(embedded_unclip.Config(n_steps=8, guidance=1.0))

    def gain(rows: np.ndarray) -> np.ndarray:
        branch = control_branch.fit(
            base, read[rows], told[:N], pictures[:N], SETTINGS, ids=[str(i) for i in range(N)]
        )
        steered = brain_control.build(brain_control.Config(), base, branch)
        drawn = steered.generate(
            told[N:], generator=torch.Generator().manual_seed(1), guides=Guides(brain=read[N:])
        )
        return correlations(drawn, pictures[N:]) - alone

    alone = correlations(base.generate(told[N:], generator=torch.Generator().manual_seed(1)), pictures[N:])
    true, shuffled = gain(np.arange(N)), gain(rng.permutation(N))
    assert true.mean() > 2 * true.std() / N_TEST**0.5
    assert (true - shuffled).mean() > 2 * (true - shuffled).std() / N_TEST**0.5
    assert shuffled.mean() < true.mean() / 2
