"""The decoder as a user meets it: fit, predict, retrieve, adapt, activations, save and load, refusals."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import hub
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear, mlp
from braindec.checks import ConfigError, SpaceMismatchError
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings, decoding
from braindec.losses import clip
from braindec.priors import diffusion as diffusion_prior
from braindec.priors import ridge as ridge_prior
from braindec.train import Config

TRAIN = Config(n_steps=20, batch_size=64, validate_every=10, device="cpu")
SETTINGS = Settings(
    adapter=linear_adapter.Config(shared_dim=24),
    backbone=mlp.Config(width=32, n_blocks=1),
    loss=clip.Config(),
    prior=ridge_prior.Config(),
    preprocessing=(Standardise(),),
    train=TRAIN,
)


def fit(planted, settings=SETTINGS, part="train"):
    decoder = BrainDecoder.build(settings, planted.dataset.info, planted.embeddings.info)
    return decoder.fit(planted.dataset.part(part), planted.embeddings, progress=False)


@pytest.fixture(scope="module")
def decoder(planted):
    return fit(planted)


@pytest.fixture
def trials(planted):
    return planted.dataset.part("test").trials["sub-01_fmri"]


def top1(decoder, planted, trials, repeats="before"):
    test = planted.dataset.part("test").stimulus_ids
    gallery = replace(planted.embeddings, ids=test, values=planted.embeddings.of(test))
    found, _ = decoder.retrieve(trials, gallery, 1, repeats=repeats)
    ids = decoder.predict(trials, repeats=repeats).ids
    return np.mean([row[0] == i for row, i in zip(found, ids, strict=True)])


def test_it_retrieves_held_out_stimuli_far_above_chance(decoder, planted, trials):
    assert top1(decoder, planted, trials) > 0.5  # chance 1/40


def test_it_retrieves_nothing_when_trained_on_shuffled_pairs(planted, trials):
    rng = np.random.default_rng(0)
    shuffled = {
        k: replace(t, table=t.table.replace(stimulus_id=rng.permutation(t.table["stimulus_id"])))
        for k, t in planted.dataset.part("train").trials.items()
    }
    part = replace(planted.dataset.part("train"), trials=shuffled)
    null = BrainDecoder.build(SETTINGS, planted.dataset.info, planted.embeddings.info)
    null.fit(part, planted.embeddings, prior=False, progress=False)
    assert top1(null, planted, trials) < 0.2


def test_without_steps_a_linear_decoder_is_the_closed_form_ridge(planted, trials):
    from braindec.evaluate import RidgeFitter, signal_features

    plain = replace(SETTINGS, backbone=linear.Config(), prior=None, n_folds=0, calibrate=False)
    plain = replace(plain, train=replace(TRAIN, n_steps=0))
    part = planted.dataset.part("train")
    ours = fit(planted, plain).centred(fit(planted, plain).predict(trials, repeats="before").values)
    baseline = RidgeFitter(signal_features((Standardise(),)))(part, planted.embeddings, 0)
    mean = planted.embeddings.of(part.stimulus_ids).mean(0)
    theirs = torch.from_numpy(baseline.predict(trials, repeats="before").values - mean).flatten(1)
    cosine = torch.nn.functional.cosine_similarity(ours, theirs)
    assert cosine.min() > 0.98  # their penalties are chosen on different folds


def test_a_saved_decoder_loads_to_the_same_bits(decoder, planted, trials, tmp_path):
    decoder.save_pretrained(tmp_path)
    loaded = BrainDecoder.from_pretrained(tmp_path)
    for repeats in ("none", "before"):
        first, second = (d.predict(trials, repeats=repeats).values for d in (decoder, loaded))
        np.testing.assert_array_equal(first, second)
    prediction = decoder.predict(trials, repeats="before")
    np.testing.assert_array_equal(decoder.imagine(prediction, seed=1), loaded.imagine(prediction, seed=1))
    assert loaded.settings == decoder.settings


def test_a_decoder_pushed_to_a_hub_comes_back_to_the_same_bits(
    decoder, planted, trials, loopback_hub, tmp_path, monkeypatch
):
    url = decoder.push_to_hub("someone/decoder", licence="cc-by-4.0", token="hf_of_a_test")
    there = {"revision": url.rpartition("/")[2], "cache_dir": tmp_path}
    loaded = BrainDecoder.from_pretrained("someone/decoder", token="hf_of_a_test", **there)
    first, second = (d.predict(trials, repeats="before").values for d in (decoder, loaded))
    np.testing.assert_array_equal(first, second)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = BrainDecoder.from_pretrained("someone/decoder", local_files_only=True, **there)
    np.testing.assert_array_equal(first, again.predict(trials, repeats="before").values)


def test_a_decoder_saved_under_the_names_of_before_still_loads(decoder, planted, trials, tmp_path):
    decoder.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "weights.safetensors")
    hub.write_manifest(tmp_path)
    first, second = (d.predict(trials).values for d in (decoder, BrainDecoder.from_pretrained(tmp_path)))
    np.testing.assert_array_equal(first, second)
    decoder.save_pretrained(tmp_path)
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_decoder_saved_again_is_the_same_file_for_file(decoder, tmp_path):
    folders = [decoder.save_pretrained(tmp_path / str(i)) for i in range(12)]
    first = {p.name: p.read_bytes() for p in folders[0].iterdir()}
    assert all({p.name: p.read_bytes() for p in folder.iterdir()} == first for folder in folders[1:])


@pytest.mark.parametrize("name", ["model.safetensors", "preprocessing.h5", "config.json"])
def test_a_damaged_file_of_a_saved_decoder_is_refused(decoder, tmp_path, name):
    decoder.save_pretrained(tmp_path)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=name):
        BrainDecoder.from_pretrained(tmp_path)


def test_a_config_that_wants_other_weights_is_refused_in_full(decoder, tmp_path):
    from braindec import hub
    from braindec.decoder import saving

    decoder.save_pretrained(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    data["settings"]["backbone"]["width"] = 40
    (tmp_path / "config.json").write_text(json.dumps(data))
    hub.write_manifest(tmp_path, (saving.CONFIG, saving.WEIGHTS, saving.SPACES, "README.md"))
    with pytest.raises(ValueError, match=r"(?s)differs: encoder\.backbone.*Nothing was loaded"):
        BrainDecoder.from_pretrained(tmp_path)


def test_a_config_cannot_name_code_outside_our_kinds(decoder, tmp_path):
    from braindec import hub
    from braindec.decoder import saving

    decoder.save_pretrained(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    data["settings"]["backbone"] |= {"kind": "os", "name": "system"}
    (tmp_path / "config.json").write_text(json.dumps(data))
    hub.write_manifest(tmp_path, (saving.CONFIG, saving.WEIGHTS, saving.SPACES, "README.md"))
    with pytest.raises(ValueError, match="kind must be one of"):
        BrainDecoder.from_pretrained(tmp_path)


def test_adapting_leaves_the_first_subjects_bit_equal_and_decodes_the_new_one(decoder, planted, trials):
    before = decoder.predict(trials).values
    few = planted.newcomer.part("train").limit(0.5, np.random.default_rng(0))
    adapted = decoder.adapt(few, planted.embeddings, progress=False)
    np.testing.assert_array_equal(adapted.predict(trials).values, before)
    np.testing.assert_array_equal(decoder.predict(trials).values, before)
    assert top1(adapted, planted, planted.newcomer.part("test").trials["sub-03_fmri"]) > 0.3


def test_adapting_refuses_a_subject_it_knows(decoder, planted):
    with pytest.raises(ValueError, match="sub-01_fmri"):
        decoder.adapt(planted.dataset.part("train"), planted.embeddings, progress=False)


def test_activations_of_the_backbone_are_its_output(decoder, trials):
    made = torch.from_numpy(decoder.activations("backbone", trials)).flatten(1)
    expected = decoder.centred(decoder.predict(trials).values)
    np.testing.assert_allclose(decoder.calibrations["sub-01_fmri"](made), expected, rtol=1e-3, atol=1e-3)


def test_a_misspelt_layer_is_answered_with_the_nearest(decoder, trials):
    with pytest.raises(ValueError, match="Did you mean 'backbone'"):
        decoder.activations("backbon", trials)


def test_the_score_is_the_share_of_stimuli_found_first_and_at_chance_for_wrong_pairs(
    decoder, planted, trials, rng
):
    assert decoder.score(trials, planted.embeddings) == top1(decoder, planted, trials, "after")
    table = trials.table
    names = np.unique(table["stimulus_id"])
    other = dict(zip(names.tolist(), np.roll(names, 7).tolist(), strict=True))
    wrong = replace(
        trials, table=table.replace(stimulus_id=[other[i] for i in table["stimulus_id"].tolist()])
    )
    assert decoder.score(wrong, planted.embeddings) < 0.2  # chance 1/40


def test_an_unfitted_decoder_says_so(planted, trials):
    fresh = BrainDecoder.build(SETTINGS, planted.dataset.info, planted.embeddings.info)
    with pytest.raises(ValueError, match="not fitted"):
        fresh.predict(trials)


def test_a_subject_the_decoder_does_not_know_is_refused(decoder, planted):
    with pytest.raises(ValueError, match=r"sub-01_fmri.*sub-03_fmri"):
        decoder.predict(planted.newcomer.part("test").trials["sub-03_fmri"])


def test_scoring_trials_that_it_was_fitted_on_is_warned_of(decoder, planted):
    part = planted.dataset.part("train")
    with pytest.warns(UserWarning, match=r"(\d+) of \1 trials of sub-01_fmri are among those .* fitted on"):
        decoder.score(part.trials["sub-01_fmri"], planted.embeddings)


def test_embeddings_of_another_size_under_the_same_name_are_refused_everywhere(decoder, planted, trials):
    told = planted.embeddings
    twice = replace(told, values=np.concatenate([told.values[:], told.values[:]], axis=2))
    fresh = BrainDecoder.build(SETTINGS, planted.dataset.info, told.info)
    for use in (
        lambda: fresh.fit(planted.dataset.part("train"), twice, progress=False),
        lambda: decoder.retrieve(trials, twice),
        lambda: decoder.score(trials, twice),
    ):
        with pytest.raises(
            SpaceMismatchError, match=r"shape \(tokens, values\) \(1, \d+\), expected .* another name"
        ):
            use()


def test_what_is_no_embeddings_is_told_how_to_become_them(decoder, planted, trials):
    values = np.asarray(planted.embeddings.values[:])
    for given in (values, dict(zip(planted.embeddings.ids, values, strict=True))):
        for use in (
            lambda x: decoder.fit(planted.dataset.part("train"), x, progress=False),
            lambda x: decoder.retrieve(trials, x),
            lambda x: decoder.score(trials, x),
        ):
            with pytest.raises(TypeError, match=r"must be Embeddings, got (ndarray|dict)\. .*from_arrays"):
                use(given)


def test_a_gallery_of_another_space_is_refused(decoder, planted, trials):
    other = replace(planted.embeddings, space="elsewhere")
    with pytest.raises(ValueError, match="elsewhere"):
        decoder.retrieve(trials, other)


def test_trials_of_another_mask_are_refused(decoder, trials):
    from braindec.types import ArraySpace

    fewer = replace(trials, responses=np.asarray(trials.responses[:])[:, :-1], space=ArraySpace(44))
    with pytest.raises(ValueError, match="sub-01_fmri"):
        decoder.predict(fewer)


def test_a_picture_is_drawn_from_an_embedding_as_long_as_those_of_training(planted, trials):
    settings = replace(SETTINGS, prior=diffusion_prior.Config(width=16, depth=1, heads=2), prior_samples=3)
    drawing = fit(planted, replace(settings, prior_train=replace(TRAIN, n_steps=5, validate_every=5)))
    prediction = drawing.predict(trials, repeats="before")
    found = drawing.image_embedding(prediction, seed=3)
    training = planted.embeddings.of(planted.dataset.part("train").stimulus_ids)
    usual = np.sqrt(((training - training.mean(0)) ** 2).sum((1, 2)).mean())
    length = np.sqrt(((found - training.mean(0)) ** 2).sum((1, 2)))
    np.testing.assert_allclose(length, usual, rtol=1e-3)
    draws = drawing.imagine(prediction, seed=3, n_samples=3).mean(0)
    short = (draws + prediction.values) / 2 - training.mean(0)
    cosine = (short * (found - training.mean(0))).sum((1, 2)) / length / np.sqrt((short**2).sum((1, 2)))
    np.testing.assert_allclose(cosine, 1, rtol=1e-4)  # only the length is changed


def test_a_prior_draws_for_as_many_rows_at_once_as_memory_is_given(planted, trials, monkeypatch):
    settings = replace(SETTINGS, prior=diffusion_prior.Config(width=16, depth=1, heads=2), prior_samples=3)
    drawing = fit(planted, replace(settings, prior_train=replace(TRAIN, n_steps=5, validate_every=5)))
    prediction = drawing.predict(trials, repeats="before")
    at_once, sample = [], drawing.prior.sample

    def counted(condition, **others):
        at_once.append(len(condition))
        return sample(condition, **others)

    monkeypatch.setattr(drawing.prior, "sample", counted)
    monkeypatch.setattr(decoding, "DRAWN_BYTES", 2 * 4 * 3 * prediction.values[0].size)
    found = drawing.image_embedding(prediction, seed=3)
    assert set(at_once) <= {1, 2} and sum(at_once) == len(found) > 2
    few = drawing.imagine(
        prediction, seed=3, n_samples=400
    )  # each row is drawn from its own prediction, in order
    assert set(at_once[-len(found) :]) == {1}
    monkeypatch.setattr(decoding, "DRAWN_BYTES", 1 << 30)
    whole = drawing.imagine(prediction, seed=4, n_samples=400)
    spread = whole.std(0) / 400**0.5
    assert np.abs(few.mean(0) - whole.mean(0)).max() < 6 * (2**0.5 * spread).max()
    apart = np.abs(whole.mean(0)[:, None] - whole.mean(0)[None]).max((2, 3))[~np.eye(len(found), dtype=bool)]
    assert np.median(apart) > 6 * (2**0.5 * spread).max()


def test_a_closed_form_prior_draws_from_its_one_answer(decoder, trials):
    prediction = decoder.predict(trials, repeats="before")
    np.testing.assert_array_equal(decoder.image_embedding(prediction), decoder.imagine(prediction)[0])


@pytest.mark.parametrize("way", ["cosine", "whitened", "evidence"])
def test_a_gallery_on_disk_gives_the_answer_of_one_in_memory(decoder, planted, trials, tmp_path, way):
    import copy

    from braindec.data import gallery as galleries
    from braindec.decoder.calibration import WAYS

    decoder = copy.deepcopy(decoder)
    decoder.calibration(trials.key).get_buffer("image_way").fill_(WAYS.index(way))
    test = planted.dataset.part("test").stimulus_ids
    memory = replace(planted.embeddings, ids=test, values=planted.embeddings.of(test))
    disk = galleries.write(
        tmp_path / "own", [(memory.ids, memory.values)], space=memory.space, shard_rows=len(test) // 3
    )
    expected, similarity = decoder.retrieve(trials, memory, 4)
    found, on_disk = decoder.retrieve(trials, disk, 4)
    assert found == expected
    np.testing.assert_allclose(on_disk, similarity, rtol=1e-4, atol=1e-4)
    other = galleries.write(tmp_path / "other", [(memory.ids, memory.values)], space="another/space")
    with pytest.raises(ValueError, match="another/space"):
        decoder.retrieve(trials, other, 4)


TRAINED = replace(
    SETTINGS,
    loss=clip.Config(learned=True),
    prior=diffusion_prior.Config(width=16, depth=1, heads=2),
    train=replace(TRAIN, ridge_start=False, lr=3e-3, validate_every=20),
    prior_train=replace(TRAIN, lr=3e-3),
)


def test_a_decoder_that_is_fitted_again_knows_nothing_of_the_fit_before(planted):
    decoder, fresh = fit(planted, TRAINED, "test"), fit(planted, TRAINED)
    decoder.fit(planted.dataset.part("train"), planted.embeddings, progress=False)
    again, wanted = decoder.state_dict(), fresh.state_dict()
    assert again.keys() == wanted.keys()
    assert not [name for name in wanted if not torch.equal(again[name], wanted[name])]
    assert decoder.losses["main"].log_scale == fresh.losses["main"].log_scale


def test_a_prior_of_another_fit_that_lies_in_the_folder_is_refused(planted, tmp_path):
    kept = replace(TRAINED, prior_train=replace(TRAINED.prior_train, checkpoint_every=10))
    for part, settings in (("train", kept), ("test", kept), ("train", replace(kept, loss=clip.Config()))):
        decoder = BrainDecoder.build(settings, planted.dataset.info, planted.embeddings.info)
        data = planted.dataset.part(part)
        if part == "train" and settings is kept:
            decoder.fit(data, planted.embeddings, tmp_path, progress=False)
            names = {path.name for path in tmp_path.rglob("*")}
            continue
        with pytest.raises(ConfigError, match=r"prior-0.*made with other settings, data"):
            decoder.fit(data, planted.embeddings, tmp_path, progress=False)
        assert {path.name for path in tmp_path.rglob("*")} == names  # no folds of this one beside it


@pytest.mark.parametrize("cast", ["half", "bfloat16", "double"])
def test_a_decoder_that_was_cast_is_told_so(decoder, trials, cast):
    with pytest.raises(ConfigError, match=r"cast to torch\.\w+\. .*float32: call \.float\(\)"):
        getattr(copy.deepcopy(decoder), cast)().predict(trials)


def test_a_readme_of_ones_own_is_kept_and_a_card_is_replaced(decoder, tmp_path):
    own = tmp_path / "README.md"
    for number, notes in enumerate(("my notes", "and further notes"), 1):
        own.write_text(notes)
        with pytest.warns(UserWarning, match=rf"kept as README\.{number}\.md"):
            decoder.save_pretrained(tmp_path)
        assert (tmp_path / f"README.{number}.md").read_text() == notes and "Brain decoder" in own.read_text()
    for _ in range(2):
        decoder.save_pretrained(tmp_path)
        (tmp_path / "manifest.json").unlink()  # as a save leaves it that was killed before its last file
    decoder.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("README*")) == [
        "README.1.md",
        "README.2.md",
        "README.md",
    ]
    BrainDecoder.from_pretrained(tmp_path)


def test_the_layer_of_another_subject_says_nothing_of_these_trials(decoder, trials):
    with pytest.raises(ValueError, match=r"adapters.sub-02_fmri.*not on the way of sub-01_fmri"):
        decoder.activations("adapters.sub-02_fmri", trials)


def test_a_weight_of_no_loss_is_refused(planted):
    with pytest.raises(ConfigError, match=r"loss_weights names \['mian'\]"):
        fit(planted, replace(SETTINGS, loss_weights={"mian": 2.0}))
