"""A latent that is switched on in an embedding is seen in the picture that the shipped generator makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import sparse
from braindec.data.simulated import rendering, scenes
from braindec.generators import embedded_unclip
from braindec.sparse import latents, matching, monosemanticity
from braindec.targets import tiny_openclip


def embedded(target, pictures):
    made = torch.from_numpy(np.asarray(target.embed_images(pictures))).flatten(1)
    return torch.nn.functional.normalize(made, dim=1)


@pytest.mark.slow
def test_a_background_that_is_switched_on_is_in_the_picture_and_another_latent_brings_it_less():
    drawn = scenes.sample_scenes(500, np.random.default_rng(0))
    pictures, target = rendering.render_all(drawn), tiny_openclip.build(tiny_openclip.Config())
    x = embedded(target, pictures)
    present = torch.tensor([[s.background == b for b in scenes.BACKGROUNDS] for s in drawn])
    told = sparse.FitConfig(n_steps=600, batch_size=256, lr=4e-3, dead_after=3000)
    model = sparse.fit(x, sparse.Config(64, "batch_topk", 6), told, seed=0, progress=False).model.eval()
    with torch.no_grad():
        codes = model.encode(x).dense()
    found = monosemanticity.against_factors(
        codes, present, generator=torch.Generator().manual_seed(0), n_draws=9
    )
    told_best = int(found.auc.amax(0).argmax())
    has, auc = present[:, told_best], found.auc[:, told_best]
    latent, other = int(auc.argmax()), int((auc - 0.5).abs().argmin())
    start = x[~has][:8]
    loud = 2 * float(codes[:, latent].max())
    centre = x.mean(0)

    def share(values):
        """Of the ten scenes nearest to each generated picture, those with the background."""
        made = embedded_unclip.build(embedded_unclip.Config()).generate(
            values[:, None].numpy(), generator=torch.Generator().manual_seed(1), n_steps=8
        )
        near = matching.cosines(embedded(target, made) - centre, x - centre).topk(10, dim=1).indices
        return float(has[near].float().mean())

    before, on, off = (
        share(v)
        for v in (
            start,
            latents.steer(model, start, {latent: loud}, keep_norm=True),
            latents.steer(model, start, {other: loud}, keep_norm=True),
        )
    )
    assert on > before + 0.25
    assert on > off + 0.25
