"""Captions judged beside controls, several maps of one brain, and low-level maps as targets."""

from __future__ import annotations

import dataclasses
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindec import checks, store
from braindec.captioners import Writing, nearest_caption, prefix
from braindec.data import NeuralDataset, splits
from braindec.data.preprocessing import Standardise
from braindec.data.simulated import rendering, scenes
from braindec.evaluate import captioned, low_level, parts
from braindec.generators import Guides, vae_latents
from braindec.targets import vae
from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

RECIPE = SimpleNamespace(protocol="heldout_stimuli", seed=0, preprocessing=(Standardise(),))
NOUNS = ("star", "ring", "heart", "cross", "square", "circle", "crescent", "triangle")


@pytest.fixture(scope="module")
def told(planted):
    """The planted dataset with a caption for every stimulus; the word `rare` is in test captions alone."""
    rng = np.random.default_rng(3)
    whole, test = planted.dataset, set(planted.dataset.split.parts["test"])
    captions = {}
    for i in whole.stimuli.ids:
        one, other, last = rng.choice(NOUNS, 3)
        captions[i] = f"a {one} and a {other} at the {'rare' if i in test else 'usual'} {last}"
    return dataclasses.replace(whole, stimuli=dataclasses.replace(whole.stimuli, captions=captions))


@pytest.fixture(scope="module")
def reader(told, planted):
    """Knows the caption of every stimulus by its embedding."""
    ids = told.stimuli.ids
    texts = [told.stimuli.captions[i] for i in ids]
    plain = nearest_caption.Config(centred=False)
    return nearest_caption.build(plain, planted.embeddings.of(ids), texts, planted.embeddings.space)


def truth(planted, key, ids):
    return planted.embeddings.of(ids)


def another(planted, key, ids):
    return planted.embeddings.of(list(ids)[1:] + list(ids)[:1])


def test_captions_of_the_truth_are_whole_and_beat_every_control(told, planted, reader):
    pytest.importorskip("rouge_score", reason="captions are judged with the extra `captions`")
    found = captioned.captioned(
        partial(truth, planted), [partial(another, planted)] * 2, reader, RECIPE, told, planted.embeddings
    )
    ours = [
        s for s in found.scores if s.name == "rouge_l" and s.system == "braindec" and s.subject != "group"
    ]
    assert found.scores[0].name == "rouge_l"
    assert [s.subject for s in ours] == [1, 2]
    for score in ours:
        assert score.value == pytest.approx(1)
        assert score.null < 0.9 and score.null_n == 2
        assert score.details["oracle"] == pytest.approx(1)
    for row in found.comparisons:
        assert row["difference"] > 0 and row["n"] == 40
    assert found.texts["sub-01_fmri"]["presented"] == found.texts["sub-01_fmri"]["oracle"]
    assert len(set(found.texts["sub-01_fmri"]["mean"])) == 1
    titles = [title for title, _, _ in captioned.panels(found)]
    assert titles[0] == "Captions beside their controls" and len(titles) == 3


def test_a_trained_captioner_knows_no_word_of_test_captions(told, planted):
    pytest.importorskip("transformers", reason="the captioner prefix needs the extra `models`")
    config = prefix.Config(width=16, depth=1, heads=2, n_steps=1, writing=Writing(n_tokens=4))
    made = captioned.captioner_of(config, told, planted.embeddings, 0)
    tokens = made._tokenizer.get_vocab()
    assert "usual" in tokens and "rare" not in tokens
    assert made.space == planted.embeddings.space


def test_a_captioner_of_another_space_is_refused(told, planted, captioner_folder):
    from braindec.captioners import vision_tokens

    with pytest.raises(checks.SpaceMismatchError, match="captioner"):
        captioned.captioner_of(
            vision_tokens.Config(str(captioner_folder("git"))), told, planted.embeddings, 0
        )


def test_parts_of_one_brain_are_decoded_apart_and_permuted_together(told, planted):
    values = planted.embeddings.of(planted.embeddings.ids)
    half = Embeddings(planted.embeddings.ids, values[:, :, :8], "half", {}, "1" * 64)
    both = {"whole": planted.embeddings, "half": half}
    found, nulls = parts.fit_parts(RECIPE, dict.fromkeys(both, told), both, 2, restandardised=("half",))
    ids = sorted(told.split.parts["test"])

    def error(one, part):
        return float(np.square(one.values(part, "sub-01_fmri", ids) - both[part].of(ids)).mean())

    for part in both:
        assert error(found, part) < min(error(null, part) for null in nulls)
    plain = found.systems["half"].predict(found.tests["half"].trials["sub-01_fmri"], repeats="before")
    assert found.values("half", "sub-01_fmri", ids).std(0).mean() > plain.values.std(0).mean()
    assert found.values("whole", "sub-01_fmri", ids[::-1]) == pytest.approx(
        found.values("whole", "sub-01_fmri", ids)[::-1]
    )


def test_maps_of_scenes_are_a_target_that_generators_can_be_told(tmp_path):
    drawn = scenes.sample_scenes(6, np.random.default_rng(2))
    ids = tuple(f"scene-{i}" for i in range(6))
    store.write_json(tmp_path / scenes.FILE, [scenes.to_dict(s) for s in drawn])
    dataset = SimpleNamespace(stimuli=SimpleNamespace(ids=ids))
    depth = low_level.scene_maps(tmp_path, dataset, side=16)
    assert depth.space == "depth/16x16/simulated" and depth.info.shape == (1, 256)
    maps = low_level.as_maps(depth.of(ids))
    np.testing.assert_allclose(maps.mean((1, 2)), [rendering.nearness(s).mean() for s in drawn], atol=1e-5)
    assert Guides(control=maps).told() == {"control"}
    outlines = low_level.scene_maps(tmp_path, dataset, of="silhouette", side=64)
    np.testing.assert_array_equal(outlines.of(ids[:1]).reshape(64, 64), rendering.silhouette(drawn[0]))
    with pytest.raises(checks.ConfigError, match="map"):
        low_level.scene_maps(tmp_path, dataset, of="dept")


def test_decoded_latents_are_shown_at_the_pictures_size():
    pictures = rendering.render_all(scenes.sample_scenes(3, np.random.default_rng(1)))
    target = vae.build(vae.Config("shipped", size=64, layout="flat"))
    values = target.embed_images(pictures)
    small = low_level.drawn_of(values, target.space, (32, 32))
    whole = vae_latents.of_space(target.space).generate(values, generator=torch.Generator())
    assert small.shape == (3, 32, 32, 3)
    assert np.abs(low_level.drawn_of(values, target.space, (64, 64)).astype(int) - whole).max() == 0
    assert np.corrcoef(small.reshape(-1), low_level.resized(pictures, (32, 32)).reshape(-1))[0, 1] > 0.98


def test_restandardised_predictions_of_new_stimuli_spread_as_training_targets_do(rng):
    """Few trials, many voxels: predictions of rows that were fitted spread twice as much as those of new ones."""
    n, n_voxels, dim = 200, 300, 12
    ids = tuple(f"s{i:03d}" for i in range(n))
    values = rng.standard_normal((n, 1, dim)).astype(np.float32)
    signal = values[:, 0] @ rng.standard_normal((dim, n_voxels)) / dim**0.5
    table = {"stimulus_id": np.array(ids), "onset_s": np.arange(n) * 1.0, "acquisition_order": np.arange(n)}
    table |= {name: np.full(n, "1") for name in ("session", "run", "exchangeability_block")}
    responses = (signal + 3 * rng.standard_normal(signal.shape)).astype(np.float32)
    trials = Trials(
        responses, Table(table | {"repeat": np.zeros(n, int)}), ArraySpace(n_voxels), "a.u.", 1, "fmri"
    )
    dataset = NeuralDataset.from_trials([trials], StimulusSet(ids, "none"), name="few")
    dataset = dataset.with_split(splits.hold_out(dataset, "stimulus", 0.5, rng))
    known = {"main": Embeddings(ids, values, "planted", {}, "0" * 64)}
    found, _ = parts.fit_parts(RECIPE, {"main": dataset}, known, 0, restandardised=("main",))
    made, plain = (
        found.values("main", "sub-01_fmri", dataset.split.parts["test"]),
        found.systems["main"].predict(found.tests["main"].trials["sub-01_fmri"], repeats="before").values,
    )
    wanted = values[np.isin(ids, dataset.split.parts["train"])].std(0)
    assert np.mean(plain.std(0) / wanted) < 0.7
    assert np.mean(made.std(0) / wanted) == pytest.approx(1, abs=0.12)


def test_the_twin_of_shuffled_pairs_has_no_p_against_a_null_that_it_belongs_to(told, planted, reader):
    pytest.importorskip("rouge_score", reason="captions are judged with the extra `captions`")
    nulls = [partial(another, planted)] * 19
    found = captioned.captioned(
        partial(truth, planted), nulls, reader, RECIPE, told, planted.embeddings, n_most=5
    )
    rows = [s for s in found.scores if s.subject == 1]
    assert {s.system: s.p is None for s in rows} == {"braindec": False, "shuffled": True}
