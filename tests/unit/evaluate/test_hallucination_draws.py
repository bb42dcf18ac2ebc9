"""What the meter is calibrated on: stimuli that neither encoder, calibration nor prior has seen."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import checks, train
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data import Split
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder
from braindec.decoder.settings import Settings
from braindec.evaluate import hallucination as meter
from braindec.evaluate.hallucination_draws import (
    ASIDE,
    aside_draws,
    aside_of,
    calibration_draws,
    judged,
    prior_draws,
)
from braindec.evaluate.hallucination_draws import meter as calibrated
from braindec.evaluate.hallucination_readouts import attribute
from braindec.losses import mse
from braindec.priors import diffusion, ridge

PRIORS = {"none": None, "ridge": ridge.Config(), "diffusion": diffusion.Config(width=16, depth=1, heads=2)}
TOLD = meter.Settings(n_samples=4, n_prior=20, n_permutations=99, alpha=0.05)


def settings(prior) -> Settings:
    return Settings(
        adapter=linear_adapter.Config(shared_dim=16), backbone=linear.Config(), loss=mse.Config(), fit="closed_form",
        preprocessing=(Standardise(),), n_folds=2, prior=prior,
        prior_train=train.Config(n_steps=6, batch_size=16, validate_every=6, validation_fraction=0.4, device="cpu"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def decoders(planted):
    part = planted.dataset.part("train")
    return {
        name: BrainDecoder.build(settings(prior), part.info, planted.embeddings.info).fit(
            part, planted.embeddings, progress=False
        )
        for name, prior in PRIORS.items()
    }


@pytest.mark.parametrize("name", PRIORS)
def test_every_training_stimulus_is_held_out_once_beside_its_own_truth(decoders, planted, name):
    part = planted.dataset.part("train")
    for key, held in decoders[name].held_out.items():
        assert sorted(held.ids) == sorted(set(part.trials[key].table["stimulus_id"].tolist()))
        true = decoders[name].scaler("main").centre(torch.from_numpy(planted.embeddings.of(held.ids)))
        torch.testing.assert_close(held.truth, true)
        fits = torch.nn.functional.cosine_similarity(held.raw.flatten(1), true.flatten(1))
        others = torch.nn.functional.cosine_similarity(held.raw.flatten(1), true.flatten(1).roll(1, 0))
        assert fits.mean() > others.mean() + 0.2


def test_a_trained_prior_has_met_none_of_the_stimuli_that_it_is_said_not_to_have_seen(planted, monkeypatch):
    from braindec.decoder import prior_fit

    met = []

    def spied(module, batch, *args, **kwargs):
        met.extend(batch(step)["image"] for step in range(20))
        return fit(module, batch, *args, **kwargs)

    fit = prior_fit.train.fit
    monkeypatch.setattr(
        prior_fit, "train", type("Spied", (), {"fit": staticmethod(spied), "split_rows": train.split_rows})
    )
    part = planted.dataset.part("train")
    decoder = BrainDecoder.build(settings(PRIORS["diffusion"]), part.info, planted.embeddings.info)
    decoder.fit(part, planted.embeddings, progress=False)
    images = {tuple(row) for row in torch.cat(met).flatten(1).tolist()}
    for held in decoder.held_out.values():
        rows = [tuple(row) in images for row in held.truth.flatten(1).tolist()]
        assert held.unseen.any()
        assert not any(np.array(rows)[held.unseen])
        assert any(np.array(rows)[~held.unseen])


@pytest.mark.parametrize("name", PRIORS)
def test_the_truth_of_a_stimulus_has_no_part_in_its_own_draw(decoders, name):
    decoder = copy.copy(decoders[name])
    before = calibration_draws(decoder, TOLD)
    key = next(iter(before))
    held, chosen = decoder.held_out[key], before[key].ids[0]
    truth = held.truth.clone()
    truth[held.ids.index(chosen)] += 5.0
    decoder.held_out = {**decoder.held_out, key: replace(held, truth=truth)}
    after = calibration_draws(decoder, TOLD)
    np.testing.assert_allclose(after[key].values[:, 0], before[key].values[:, 0], atol=1e-6)
    assert len(before[key].values) == TOLD.n_samples


def test_a_prior_without_spread_is_replaced_by_training_stimuli(decoders, planted):
    found = prior_draws(decoders["ridge"], planted.embeddings, 20, 0)
    known = planted.embeddings.of(sorted({i for h in decoders["ridge"].held_out.values() for i in h.ids}))
    assert all((one == known).all((1, 2)).any() for one in found)
    assert prior_draws(decoders["diffusion"], planted.embeddings, 20, 0).shape == found.shape


@pytest.mark.parametrize("name", PRIORS)
def test_a_decoder_is_judged_picture_by_picture(decoders, planted, name):
    part, test = planted.dataset.part("train"), planted.dataset.part("test")
    values = planted.embeddings.of(planted.embeddings.ids)[:, 0, 0]
    words = np.where(values > np.median(values), "much", "little").tolist()
    one = attribute(
        "first", dict(zip(planted.embeddings.ids, words, strict=True)), part.stimulus_ids, planted.embeddings
    )
    told = replace(TOLD, n_folds=2)
    gauges = calibrated(decoders[name], [one], planted.embeddings, settings=told)
    prediction = decoders[name].predict(test.trials["sub-01_fmri"], repeats="after")
    (reading,) = judged(decoders[name], gauges, prediction, settings=told)
    assert len(reading.verdicts) == len(prediction.ids)
    assert set(reading.verdicts) <= set(meter.VERDICTS)
    (row,) = meter.record_of([reading])
    assert sum(row["verdicts"].values()) == row["n"]
    assert meter.columns_of([reading])[0] == {"first": reading.verdicts[0]}


def test_a_decoder_without_out_of_fold_predictions_is_refused(decoders, planted):
    bare = copy.copy(decoders["none"])
    bare.held_out = {}
    with pytest.raises(ValueError, match="no out-of-fold predictions"):
        calibrated(bare, [], planted.embeddings)


def three_parts(planted, n_aside: int = 30):
    """The planted dataset with some of its training stimuli set aside."""
    train = planted.dataset.part("train").stimulus_ids
    parts = {
        "train": train[n_aside:], ASIDE: train[:n_aside], "test": planted.dataset.part("test").stimulus_ids,
    }  # fmt: skip
    return planted.dataset.with_split(Split("three", "stimulus", parts))


def first_value(planted, training):
    values = planted.embeddings.of(planted.embeddings.ids)[:, 0, 0]
    words = np.where(values > np.median(values), "much", "little").tolist()
    known = dict(zip(planted.embeddings.ids, words, strict=True))
    return attribute("first", known, training, planted.embeddings)


def test_a_saved_decoder_is_calibrated_on_stimuli_set_aside(planted, tmp_path):
    dataset = three_parts(planted)
    part, aside = dataset.part("train"), aside_of(dataset)
    assert len(aside.stimulus_ids) == 30
    assert aside_of(planted.dataset) is None
    decoder = BrainDecoder.build(settings(None), part.info, planted.embeddings.info)
    decoder.fit(part, planted.embeddings, progress=False).save_pretrained(tmp_path / "decoder")
    loaded = BrainDecoder.from_pretrained(tmp_path / "decoder")
    one = first_value(planted, part.stimulus_ids)
    gauges = calibrated(loaded, [one], planted.embeddings, aside=aside, repeats="before", settings=TOLD)
    for key, trials in aside.trials.items():
        (gauge,) = gauges[key]
        prediction = decoder.predict(trials, repeats="before")  # what judged pictures pass, and nothing else
        np.testing.assert_allclose(gauge.belief.probabilities, one.read(prediction.values), atol=1e-6)
        assert gauge.truth.tolist() == one.of(prediction.ids).tolist()


def test_stimuli_set_aside_are_drawn_with_other_noise_than_those_that_are_judged(decoders, planted):
    found = aside_draws(decoders["diffusion"], planted.dataset.part("test"), settings=TOLD)
    for key, trials in planted.dataset.part("test").trials.items():
        judged_draws = decoders["diffusion"].imagine(
            decoders["diffusion"].predict(trials, repeats="after"), n_samples=TOLD.n_samples
        )
        assert found[key].values.shape == judged_draws.shape
        assert np.abs(found[key].values - judged_draws).max() > 0.1


def test_trials_that_a_decoder_was_fitted_on_do_not_calibrate_it(decoders, planted):
    with pytest.raises(checks.LeakageError, match="sets would come out too small"):
        calibrated(
            decoders["none"], [], planted.embeddings, aside=planted.dataset.part("train"), settings=TOLD
        )


def test_calibration_leaves_the_decoder_where_it_is(decoders, monkeypatch):
    """On an accelerator a module that is moved to the processor would be lost to the decoder."""
    decoder = decoders["none"]
    own = [decoder.calibration(key) for key in decoder.calibrations]
    assert own
    moved = []
    monkeypatch.setattr(type(own[0]), "cpu", lambda self: moved.append(self) or self)
    calibration_draws(decoder, TOLD)
    assert moved and not any(one is mine for one in moved for mine in own)
