"""Forecasters look at the past alone, find what is planted, and say nothing where nothing follows from the past."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from braindec.checks import ConfigError, DataFileError
from braindec.decoder import forecast_linear, forecasting
from braindec.decoder.forecast_linear import Config, Scale
from braindec.train import Config as Train

SMALL = Config(
    steps=3, context=16, width=8, n_layers=3, orders=(2, 4), span=20,
    train=Train(n_steps=30, batch_size=8, lr=5e-3, validate_every=10, validation_fraction=0.2),
)  # fmt: skip
ALONE = replace(SMALL, linear=False)
ROLLED = replace(ALONE, ahead="one")
COUPLED = np.array([[0.8, 0.5], [-0.5, 0.8]])


def rotating(n_times: int, seed: int = 0, noise: float = 0.3) -> Tensor:
    """Two channels that turn into each other: a vector autoregression of order 1."""
    rng = np.random.default_rng(seed)
    out = np.zeros((n_times, 2))
    for t in range(1, n_times):
        out[t] = COUPLED @ out[t - 1] + noise * rng.standard_normal(2)
    return torch.from_numpy(out.T).float()


def fitted(runs, settings=SMALL):
    scale = forecast_linear.scale_of(runs)
    data = forecast_linear.windows([scale(run) for run in runs], settings)
    return forecasting.fit(data, scale, settings), data, scale


@pytest.fixture(scope="module")
def runs() -> list[Tensor]:
    return [rotating(600, seed) for seed in range(5)]


@pytest.mark.parametrize("settings", [SMALL, ALONE, ROLLED], ids=["linear", "alone", "rolled"])
def test_what_is_said_at_a_sample_depends_on_no_later_one(runs, settings):
    model, _, _ = fitted(runs, replace(settings, train=replace(settings.train, n_steps=0)))
    torch.nn.init.normal_(model.leave.weight, generator=torch.Generator().manual_seed(0))
    changed = runs[0].clone()
    changed[:, 300:] = 7.0
    before, after = model.predict(runs[0]).mean, model.predict(changed).mean
    torch.testing.assert_close(before[:, :, :300], after[:, :, :300], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(before[:, :, 300:], after[:, :, 300:])


def test_a_window_holds_its_past_and_what_followed_and_none_crosses_runs():
    runs = [torch.arange(120.0)[None], 1000 + torch.arange(70.0)[None]]
    data = forecast_linear.windows(runs, SMALL)
    for past, future in zip(data.past[:, 0], data.future[:, 0], strict=True):
        assert future[0] == past[SMALL.context - 1] + 1
        whole = torch.cat([past[: SMALL.context], future])
        assert torch.equal(whole, whole[0] + torch.arange(float(len(whole))))
    assert data.run.tolist() == [0, 0, 0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="no run has the 38 samples"):
        forecast_linear.windows([torch.zeros(1, 37)], SMALL)


def test_closed_form_finds_powers_of_a_planted_vector_autoregression(runs):
    _, data, _ = fitted(runs, replace(SMALL, train=replace(SMALL.train, n_steps=0)))
    linear = forecast_linear.fit_linear(data._replace(past=data.past, future=data.future), SMALL)
    for h in range(3):
        found = linear.weight.unflatten(0, (3, 2))[h, :, :, -1].double().numpy()
        expected = np.linalg.matrix_power(COUPLED, h + 1)
        np.testing.assert_allclose(found, expected, atol=0.12)


def test_closed_form_agrees_with_least_squares_of_another_library(runs):
    settings = replace(SMALL, orders=(4,), alphas=(1e-9,))
    _, data, _ = fitted(runs, replace(settings, train=replace(settings.train, n_steps=0)))
    linear = forecast_linear.fit_linear(data, settings)
    rows, wanted = [], []
    for past, future in zip(data.past.double().numpy(), data.future.double().numpy(), strict=True):
        for t in range(settings.span):
            rows.append(np.append(past[:, settings.context + t - 4 : settings.context + t].ravel(), 1.0))
            wanted.append(future[:, t + 1])  # two samples ahead
    weights = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]
    found = linear.weight.unflatten(0, (3, 2))[1].flatten(1).T
    np.testing.assert_allclose(found.double().numpy(), weights[:-1], atol=1e-3)


def test_a_sample_at_a_time_is_the_network_asked_again_and_again(runs):
    model, _, scale = fitted(runs, replace(ROLLED, train=replace(ROLLED.train, n_steps=5)))
    run, at = runs[1][:, :80], 60
    told = model.predict(run).mean
    seen = run[:, : at + 1]
    for h in range(ROLLED.steps):
        with torch.no_grad():
            coming = model(scale(seen)[None])[0][0, 0, :, -1]
        torch.testing.assert_close(
            told[h, :, at], coming * scale.sd[:, 0] + scale.mean[:, 0], atol=1e-4, rtol=1e-4
        )
        seen = torch.cat([seen, told[h, :, at, None]], 1)


def test_a_network_learns_what_no_weighted_sum_of_the_past_can_say():
    """The tent map has no autocorrelation, and its next sample follows from the last one."""
    rng = np.random.default_rng(0)

    def tent(n: int) -> Tensor:
        x = np.empty(n)
        x[0] = rng.random()
        for t in range(1, n):
            x[t] = min(1.999 * min(x[t - 1], 1 - x[t - 1]) + 1e-6 * rng.random(), 1.0)
        return torch.from_numpy(x)[None].float()

    made = [tent(800) for _ in range(6)]
    settings = replace(SMALL, steps=1, n_layers=1, width=16, train=replace(SMALL.train, n_steps=150, lr=1e-2))
    model, data, scale = fitted(made[:5], settings)
    run = made[5]

    def left(said: Tensor) -> float:
        return float((run[:, 21:] - said[0][:, 20:-1]).var() / run.var())

    linear = forecast_linear.fit_linear(data, settings)
    assert left(linear(scale(run)[None])[0] * scale.sd + scale.mean) > 0.9
    assert left(model.predict(run).mean) < 0.3


def test_it_is_as_sure_as_it_may_be_and_of_shuffled_futures_it_says_the_mean(runs):
    model, data, scale = fitted(runs)
    run = rotating(2000, 99)

    def judged(forecaster):
        told = forecaster.predict(run)
        left = run[:, 17:] - told.mean[0, :, 16:-1]
        inside = (left.abs() < 1.645 * told.sd[0, :, 16:-1]).double().mean()
        return float(1 - left.var() / run.var()), float(inside)

    explained, inside = judged(model)
    # What comes new with each sample is the noise's variance over that of the channel.
    assert explained == pytest.approx(1 - 0.3**2 / float(run.var()), abs=0.02)
    assert inside == pytest.approx(0.9, abs=0.05)
    wrong = data.shuffled(torch.Generator().manual_seed(0))
    assert judged(forecasting.fit(wrong, scale, SMALL))[0] < 0.1


def test_a_saved_forecaster_says_the_same_bits_and_damage_is_found(runs, tmp_path):
    model, _, _ = fitted(runs, replace(SMALL, train=replace(SMALL.train, n_steps=2)))
    again = forecasting.load(forecasting.save(model, tmp_path / "model"))
    one, other = model.predict(runs[0]), again.predict(runs[0])
    assert torch.equal(one.mean, other.mean) and torch.equal(one.sd, other.sd)
    with open(tmp_path / "model" / "weights.safetensors", "ab") as file:
        file.write(b"0")
    with pytest.raises(DataFileError, match=r"is not the file that config\.json was written with"):
        forecasting.load(tmp_path / "model")


def test_a_gradient_reaches_every_weight():
    model = forecasting.Forecaster(2, ALONE, Scale(torch.zeros(2, 1), torch.ones(2, 1)))
    torch.nn.init.normal_(model.leave.weight)
    mean, log_sd = model(torch.randn(3, 2, 40, generator=torch.Generator().manual_seed(0)))
    (mean.square().sum() + log_sd.square().sum()).backward()
    assert [n for n, w in model.named_parameters() if w.grad is None or not w.grad.abs().sum() > 0] == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"context": 7}, "context=7 is shorter than the past that is looked at: 8 samples"),
        ({"ahead": "one"}, "linear=true goes with ahead='direct'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(change, says):
    with pytest.raises(ConfigError, match=says):
        replace(SMALL, **change)


def test_a_silent_channel_is_refused_by_number():
    run = rotating(100)
    run[1] = 4.0
    with pytest.raises(ValueError, match=r"channels \[1\] are silent"):
        forecast_linear.scale_of([run])


def test_a_network_of_other_runs_that_lies_in_the_folder_is_refused(runs, tmp_path):
    every = replace(ALONE, train=replace(SMALL.train, n_steps=4, validate_every=2, checkpoint_every=2))
    data = forecast_linear.windows(runs, every)
    scale = forecast_linear.scale_of(runs)
    forecasting.fit(data, scale, every, folder=tmp_path)
    with pytest.raises(ConfigError, match="made with other settings, data"):
        forecasting.fit(data.shuffled(torch.Generator().manual_seed(0)), scale, every, folder=tmp_path)
