"""What several decoded inputs do: structure is searched, depth chooses, a low level is guided, granularities agree."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindec import autoencoders
from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.data import NeuralDataset
from braindec.data.preprocessing import Standardise
from braindec.data.simulated import rendering, scenes
from braindec.decoder import BrainDecoder, Settings
from braindec.evaluate import granular, guided, multiple_inputs, structure
from braindec.losses import mse
from braindec.targets import differentiable, tiny_openclip, vae
from braindec.types import Embeddings

RECIPE = SimpleNamespace(protocol="heldout_stimuli", seed=0, preprocessing=(Standardise(),))


def test_structure_is_searched_from_features_and_stays_near_the_latents(rng):
    pictures = rendering.render_all(scenes.sample_scenes(3, np.random.default_rng(1)))
    target = vae.build(vae.Config("shipped", size=64, layout="flat"))
    seen = tiny_openclip.build(tiny_openclip.Config(tokens="patches", layer=2, normalised=False))
    latents, features = target.embed_images(pictures), seen.embed_images(pictures)
    spreads = latents.std(0) + 0.1, features.std(0) + 0.1
    blurred = (0.5 * latents + 0.5 * latents.mean(0)).astype(np.float32)

    def searched(told: np.ndarray, n_steps: int = 5, pull: float = 0.1) -> np.ndarray:
        settings = structure.Settings(n_steps=n_steps, lr=0.1, pull=pull)
        return structure.optimised_latents(
            blurred, told, target.autoencoder, "flat", 64, differentiable(seen), spreads, settings
        )

    def error(found: np.ndarray) -> float:
        drawn = target.autoencoder.decode(autoencoders.from_tokens(found, "flat", target.latent_shape))
        true = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
        return float((drawn.clamp(-1, 1) - true).square().mean())

    with torch.no_grad():
        assert error(searched(features)) < 0.95 * error(blurred) < error(searched(features[::-1].copy()))
    np.testing.assert_allclose(searched(features, n_steps=0), blurred, atol=1e-6)
    far, near = (np.abs(searched(features, pull=p) - blurred).mean() for p in (0.0, 100.0))
    assert near < far


def test_of_several_drawings_the_one_with_the_decoded_outline_is_chosen():
    drawn = scenes.sample_scenes(12, np.random.default_rng(4))
    pictures = rendering.render_all(drawn)
    maps = np.stack([rendering.nearness(s).reshape(16, 4, 16, 4).mean((1, 3)) for s in drawn])
    candidates = np.stack([np.roll(pictures, shift, axis=0) for shift in (5, 0, 3)])
    chosen = multiple_inputs.chosen_by_map(candidates, maps)
    assert (chosen == pictures).all((1, 2, 3)).mean() > 0.9
    blind = multiple_inputs.chosen_by_map(candidates, np.roll(maps, 6, axis=0))
    assert (blind == pictures).all((1, 2, 3)).mean() < 0.8


def test_a_coarser_granularity_counts_more_and_chance_follows_it(planted):
    def truth(key, ids, shift=0):
        return planted.embeddings.of(list(ids)[shift:] + list(ids)[:shift])

    found = granular.granular_retrieval(
        truth, [partial(truth, shift=1)] * 2, RECIPE, planted.dataset, planted.embeddings,
        {"picture": None, "category": "category"},
    )  # fmt: skip
    ours = {s.name: s for s in found if s.system == "braindec" and s.subject == 1}
    assert [s.value for s in ours.values()] == [1, 1]
    assert ours["picture_top1"].null == 0 and ours["picture_top1"].chance == pytest.approx(1 / 40)
    assert 0.3 < ours["category_top1"].null < 0.8 and ours["category_top1"].chance >= 0.5
    with pytest.raises(ValueError, match="column"):
        granular.granular_retrieval(
            truth, [truth], RECIPE, planted.dataset, planted.embeddings, {"category": "kategory"}
        )


def test_a_guided_low_level_is_more_than_what_meaning_makes_expect(planted):
    """Half of the latents are in the decoded embedding, the other half only in the signal."""
    values, ids = planted.embeddings.of(planted.embeddings.ids), planted.embeddings.ids
    half = Embeddings(ids, np.ascontiguousarray(values[:, :, :8]), "half", {}, "1" * 64)
    settings = Settings(
        linear.Config(shared_dim=8), backbone.Config(), mse.Config(), preprocessing=(Standardise(),), n_folds=2,
        fit="closed_form",
    )  # fmt: skip
    part, test = planted.dataset.part("train"), planted.dataset.part("test")
    decoder = BrainDecoder.build(settings, part.info, half.info).fit(part, half, progress=False)
    found = guided.fit_guided(decoder, RECIPE, part, planted.embeddings)
    for key, trials in test.trials.items():
        prediction = decoder.predict(trials, repeats="before")
        true = planted.embeddings.of(prediction.ids)
        expected = found.expected(decoder, key, prediction.values)
        whole = expected + found.added(trials, prediction.ids, "before")

        def error(made, part=slice(None), true=true):
            return float(np.square(made - true)[:, :, part].mean())

        mean = planted.embeddings.of(part.stimulus_ids).mean(0)
        assert error(expected, slice(0, 8)) < 0.8 * error(mean[None], slice(0, 8))
        assert error(expected, slice(8, 16)) > 0.8 * error(mean[None], slice(8, 16))
        assert error(whole) < 0.8 * error(expected)


def test_a_share_of_hits_has_an_interval_that_leaves_room_where_none_hits():
    labels = np.arange(40).astype(str)
    for hits, found in (np.zeros(40), (0.0, 0.0881)), (np.ones(40), (0.9119, 1.0)):  # Wilson, by hand
        assert granular._measured("picture", hits, labels).interval == pytest.approx(found, abs=1e-3)
    one = granular._measured("picture", np.eye(40)[0], labels)
    assert 0 <= one.interval[0] < one.value < one.interval[1]


def test_what_is_left_for_the_signal_is_as_much_as_meaning_leaves_of_new_stimuli(rng, monkeypatch):
    """Of the stimuli that it was fitted on a map of so many values leaves a third less."""
    n, n_values = 300, 150
    meaning = torch.from_numpy(rng.standard_normal((2 * n, n_values))).float()
    weights = torch.from_numpy(rng.standard_normal((n_values, 12))).float() / n_values**0.5
    values = (meaning @ weights).numpy() + rng.standard_normal((2 * n, 12)).astype(np.float32)
    ids = [f"s{i:03d}" for i in range(n)]
    latents = Embeddings(tuple(ids), values[:n, None], "planted", {}, "2" * 64)
    part = NeuralDataset.from_arrays(rng.standard_normal((n, 4)), ids, modality="fmri")
    (key,) = part.keys
    told = []
    monkeypatch.setattr(guided, "RidgeFitter", lambda *a, **k: lambda part, left, seed: told.append(left))
    decoder = SimpleNamespace(
        held_out={key: SimpleNamespace(ids=tuple(ids), raw=meaning[:n])}, finished=lambda key, raw: raw,
        centred=torch.from_numpy,
    )  # fmt: skip
    found = guided.fit_guided(decoder, RECIPE, part, latents)
    new = values[n:, None] - found.expected(decoder, key, meaning[n:].numpy())
    assert told[0].values.var() == pytest.approx(new.var(), rel=0.15)
