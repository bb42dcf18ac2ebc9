"""A prior that is told several predicted outputs: trained out of fold, used, saved and loaded; and its spread."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindec import seeding
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings, learning
from braindec.decoder.cross_fit import CrossFit
from braindec.decoder.spread import fit_spreads_
from braindec.evaluate.hallucination_draws import Settings as HallucinationSettings
from braindec.evaluate.hallucination_draws import calibration_draws
from braindec.losses import mse
from braindec.priors import flow
from braindec.priors import ridge as ridge_prior
from braindec.train import Config, Log

SETTINGS = Settings(
    adapter=linear_adapter.Config(shared_dim=24),
    backbone=linear.Config(),
    loss={"main": mse.Config(), "texts": mse.Config()},
    prior=ridge_prior.Config(),
    prior_told=("texts",),
    preprocessing=(Standardise(),),
    train=Config(n_steps=20, batch_size=64, validate_every=20, device="cpu"),
    n_folds=2,
    calibrate=False,
)


@pytest.fixture(scope="module")
def outputs(planted):
    """The planted embedding without its first half, and that half as what a prior can only be told."""
    whole = np.asarray(planted.embeddings.values[:])
    main = whole.copy()
    texts = replace(planted.embeddings, space="texts", values=whole[:, :, :6])
    return {"main": replace(planted.embeddings, values=main), "texts": texts}


def fit(planted, outputs, **settings):
    infos = {name: e.info for name, e in outputs.items()}
    decoder = BrainDecoder.build(replace(SETTINGS, **settings), planted.dataset.info, infos)
    return decoder.fit(planted.dataset.part("train"), outputs, progress=False)


@pytest.fixture(scope="module")
def decoder(planted, outputs):
    return fit(planted, outputs)


@pytest.fixture
def prediction(decoder, planted):
    return decoder.predict(planted.dataset.part("test").trials["sub-01_fmri"], repeats="after")


def test_a_prediction_carries_what_the_prior_is_told(decoder, planted, prediction):
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    apart = decoder.predict(trials, repeats="after", output="texts")
    np.testing.assert_array_equal(prediction.told["texts"], apart.values)
    assert not apart.told
    some = prediction.take(np.array([3, 1]))
    assert some.ids == (prediction.ids[3], prediction.ids[1])
    np.testing.assert_array_equal(some.told["texts"], apart.values[[3, 1]])


def test_activations_have_a_row_a_trial_whatever_the_prior_is_told(decoder, planted):
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    assert len(decoder.activations("backbone", trials)) == trials.n_trials


def test_what_is_told_moves_what_is_imagined_and_its_absence_is_refused(decoder, prediction):
    moved = replace(prediction, told={"texts": prediction.told["texts"] + 1})
    assert not np.allclose(decoder.imagine(prediction), decoder.imagine(moved))
    with pytest.raises(ValueError, match="told"):
        decoder.imagine(replace(prediction, told={}))


def test_a_saved_decoder_imagines_the_same_bits(decoder, prediction, planted, tmp_path):
    decoder.save_pretrained(tmp_path)
    loaded = BrainDecoder.from_pretrained(tmp_path)
    assert loaded.settings.prior_told == ("texts",)
    again = loaded.predict(planted.dataset.part("test").trials["sub-01_fmri"], repeats="after")
    np.testing.assert_array_equal(loaded.imagine(again), decoder.imagine(prediction))


def test_the_prior_learns_from_predictions_of_encoders_that_never_saw_the_stimulus(
    planted, outputs, monkeypatch
):
    """What it is told in training belongs to the rows of the main output: both err alike on the same trials."""
    caught = {}

    def remember(prior, conditions, targets, *others, about):
        caught.update(conditions=conditions, targets=targets, told=others[-1])

    monkeypatch.setattr(learning, "fit_prior", remember)
    # Begun as the main output's ridge, the first step can be the best one, at which other heads are as drawn.
    steps = replace(SETTINGS.train, n_steps=200, lr=3e-3, validate_every=100, ridge_start=False)
    fit(planted, outputs, train=steps)
    told, truth = caught["told"]["texts"], caught["targets"]
    assert len(told) == len(truth)
    match = torch.corrcoef(torch.stack([told[:, 0, 0], truth[:, 0, 0]]))[0, 1]
    wrong = torch.corrcoef(torch.stack([told[:, 0, 0].roll(1), truth[:, 0, 0]]))[0, 1]
    assert float(match) > 0.5 > abs(float(wrong)) + 0.2


def test_outputs_that_are_not_there_are_refused(planted, outputs):
    infos = {name: e.info for name, e in outputs.items()}
    for told in (("texts", "sounds"), ("main",)):
        with pytest.raises(ValueError, match="prior_told"):
            BrainDecoder.build(replace(SETTINGS, prior_told=told), planted.dataset.info, infos)
    with pytest.raises(ValueError, match="prior_told"):
        replace(SETTINGS, prior=None)


def test_samples_of_a_trained_prior_are_as_wide_as_their_error_on_stimuli_it_never_saw():
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(1500, 1, 5, generator=draw)
    brain = image + torch.tensor([0.3, 0.6, 1.0, 2.0, 4.0]) * torch.randn(1500, 1, 5, generator=draw)
    for config in (
        flow.Config(width=16, depth=1, heads=2),
        flow.Config(start="noise", width=16, depth=1, heads=2),
    ):
        with seeding.seeded(0, "prior"):
            prior = flow.build((1, 5), config)
        settings = Config(n_steps=60, batch_size=128, lr=3e-3, validate_every=20, device="cpu")
        learning.fit_prior(prior, brain[:1200], image[:1200], settings, 0, None, False)
        drawn = prior.sample(brain[1200:], generator=torch.Generator().manual_seed(1), n_samples=16)
        error = (image[1200:] - drawn.mean(0)).square().mean() - drawn.var(0).mean() / 16
        assert float(drawn.var(0).mean() / error) == pytest.approx(1, abs=0.2)


def test_samples_of_noisier_brains_lie_further_apart():
    """Two subjects under one prior: each one's factor is its own error over that of both."""
    draw, noise = torch.Generator().manual_seed(0), {"calm": 0.5, "noisy": 1.5}
    truth = torch.randn(400, 1, 5, generator=draw)
    raw = {k: truth + sd * torch.randn(truth.shape, generator=draw) for k, sd in noise.items()}
    gain = 2 / (2 + 0.25 + 2.25)  # ridge on both subjects together
    with seeding.seeded(0, "prior"):
        prior = flow.build((1, 5), flow.Config(width=16, depth=1, heads=2)).eval()
    prior.start_(torch.cat([*raw.values()]), torch.cat([truth, truth]))
    decoder = SimpleNamespace(
        prior=prior, spreads=torch.nn.ModuleDict(), settings=SimpleNamespace(seed=0),
        condition=lambda values: values, finished=lambda key, values: values,
    )  # fmt: skip
    mean = torch.ones(400, dtype=torch.bool)
    fit_spreads_(decoder, CrossFit(Log(), {k: (values, truth, mean) for k, values in raw.items()}))
    errors = {k: (1 - gain) ** 2 + (gain * sd) ** 2 for k, sd in noise.items()}
    for key, error in errors.items():
        wanted = (error / (sum(errors.values()) / 2)) ** 0.5
        assert float(decoder.spreads[key].factor) == pytest.approx(wanted, rel=0.12)
    few = {"calm": (raw["calm"][:5], truth[:5], mean[:5])}
    decoder.spreads = torch.nn.ModuleDict()
    fit_spreads_(decoder, CrossFit(Log(), few))
    assert not decoder.spreads


def test_the_factor_of_each_subject_is_saved_and_widens_what_is_imagined(planted, outputs, tmp_path):
    short = Config(n_steps=2, batch_size=64, validate_every=2, device="cpu", validation_fraction=0.4)
    small = flow.Config(width=16, depth=1, heads=2)
    decoder = fit(planted, outputs, prior=small, prior_train=short)
    assert sorted(decoder.spreads) == ["sub-01_fmri", "sub-02_fmri"]
    prediction = decoder.predict(planted.dataset.part("test").trials["sub-01_fmri"], repeats="after")
    decoder.spreads["sub-01_fmri"].factor.fill_(1.7)
    decoder.save_pretrained(tmp_path)
    loaded = BrainDecoder.from_pretrained(tmp_path)
    again = loaded.imagine(prediction, n_samples=8)
    np.testing.assert_array_equal(again, decoder.imagine(prediction, n_samples=8))
    loaded.spreads["sub-01_fmri"].factor.fill_(0.85)
    assert again.var(0).mean() == pytest.approx(
        4 * loaded.imagine(prediction, n_samples=8).var(0).mean(), rel=0.05
    )


@pytest.mark.parametrize("prior", [None, flow.Config(width=16, depth=1, heads=2)])
def test_calibration_draws_are_told_what_was_predicted_out_of_fold(decoder, planted, outputs, prior):
    """By a prior solved at once, solved again without them, and by one that is trained."""
    if prior is not None:
        short = Config(n_steps=2, batch_size=64, validate_every=2, device="cpu", validation_fraction=0.4)
        decoder = fit(planted, outputs, prior=prior, prior_train=short)
    held = decoder.held_out["sub-01_fmri"]
    assert held.told["texts"].shape == (len(held.ids), *outputs["texts"].info.shape)
    draws = calibration_draws(decoder, HallucinationSettings(n_samples=4))["sub-01_fmri"]
    truth = outputs["main"].of(draws.ids)
    own, other = (np.corrcoef(draws.values.mean(0).ravel(), t.ravel())[0, 1] for t in (truth, truth[::-1]))
    assert own > other + 0.2
