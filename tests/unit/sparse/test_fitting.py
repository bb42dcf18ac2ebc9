"""Training: what is read, what is kept, that a run that was stopped goes on to the same bits, and ranks."""

from __future__ import annotations

import signal
from typing import get_args

import numpy as np
import pytest
import torch

from braindec import sparse, stopping
from braindec.checks import ConfigError
from braindec.sparse import losses, starting, steps
from braindec.sparse.autoencoder import Activation
from braindec.sparse.rows import Rows

CONFIG = sparse.Config(32, "batch_topk", 4)


def samples(n=600, n_dims=10):
    return torch.randn(n, n_dims, generator=torch.Generator().manual_seed(0)) + 2


def settings(**more):
    return sparse.FitConfig(**({"n_steps": 40, "batch_size": 64, "lr": 1e-3, "dead_after": 200} | more))


def weights(fitted):
    return {k: v.clone() for k, v in fitted.model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_equal_seeds_give_equal_bits_and_other_seeds_do_not():
    fits = [weights(sparse.fit(samples(), CONFIG, settings(), seed=s, progress=False)) for s in (0, 0, 1)]
    assert same(fits[0], fits[1])
    assert not same(fits[0], fits[2])


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path):
    whole = weights(sparse.fit(samples(), CONFIG, settings(checkpoint_every=10), seed=0, progress=False))
    arguments = (samples(), CONFIG, settings(checkpoint_every=10))
    sparse.fit(*arguments, seed=0, folder=tmp_path, progress=False, stop_at=25)
    assert len(list((tmp_path / "checkpoints").glob("*.pt"))) == 2
    resumed = sparse.fit(*arguments, seed=0, folder=tmp_path, progress=False)
    assert same(weights(resumed), whole)
    assert [r["step"] for r in resumed.rows] == [10, 20, 30, 40]


def test_a_signal_lets_the_step_end_and_keeps_it(tmp_path, monkeypatch):
    arguments = (samples(), CONFIG, settings(checkpoint_every=10))
    whole = weights(sparse.fit(*arguments, seed=0, progress=False))
    step = steps.State.step

    def signalled(self, number, *rest):
        if number == 16:
            signal.raise_signal(signal.SIGTERM)
        return step(self, number, *rest)

    monkeypatch.setattr(steps.State, "step", signalled)
    with pytest.raises(stopping.Stopped):
        sparse.fit(*arguments, seed=0, folder=tmp_path, progress=False)
    monkeypatch.undo()
    assert sorted(p.name for p in (tmp_path / "checkpoints").glob("*.pt"))[-1] == "sparse-00000017.pt"
    assert same(weights(sparse.fit(*arguments, seed=0, folder=tmp_path, progress=False)), whole)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path):
    arguments = (samples(), CONFIG, settings(checkpoint_every=10))
    whole = weights(sparse.fit(*arguments, seed=0, progress=False))
    sparse.fit(*arguments, seed=0, folder=tmp_path, progress=False, stop_at=25)
    newest = sorted((tmp_path / "checkpoints").glob("*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[:-7])
    assert same(weights(sparse.fit(*arguments, seed=0, folder=tmp_path, progress=False)), whole)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    sparse.fit(
        samples(), CONFIG, settings(checkpoint_every=10), seed=0, folder=tmp_path, progress=False, stop_at=10
    )
    with pytest.raises(ConfigError, match="other settings"):
        sparse.fit(samples(), CONFIG, settings(checkpoint_every=10), seed=1, folder=tmp_path, progress=False)


def test_a_step_in_parts_is_the_step_in_one(monkeypatch):
    config, loss = sparse.Config(32, "topk", 4), losses.Config(aux_weight=0.0)
    whole = sparse.fit(samples(), config, settings(loss=loss), seed=0, progress=False)
    parts = sparse.fit(samples(), config, settings(loss=loss, accumulate=4), seed=0, progress=False)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, atol=2e-4, rtol=1e-3)


def test_tokens_are_samples_and_are_read_by_row():
    values = samples(60, 12).view(20, 3, 12).numpy().astype(np.float16)
    rows = Rows(values)
    numbers = torch.tensor([59, 0, 4, 4])
    expected = torch.from_numpy(values.reshape(60, 12)[[59, 0, 4, 4]]).float()
    assert torch.equal(rows.read(numbers), expected)
    assert torch.equal(Rows(torch.from_numpy(values)).read(numbers), expected)
    assert (rows.n_samples, rows.n_dims) == (60, 12)


def test_atoms_keep_norm_one_and_the_model_is_on_the_scale_of_its_inputs():
    values = 100 * samples()
    model = sparse.fit(values, CONFIG, settings(n_steps=300), seed=0, progress=False).model
    torch.testing.assert_close(model.atoms.norm(dim=1), torch.ones(32))
    left = (values - model(values)).square().sum() / (values - values.mean(0)).square().sum()
    assert left < 0.6


@pytest.mark.parametrize("activation", get_args(Activation))
def test_folding_the_scale_changes_what_goes_in_and_out_alone(activation):
    torch.manual_seed(0)
    model = sparse.SparseAutoencoder(10, sparse.Config(32, activation, 4)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    model.threshold.fill_(0.4)
    x = samples(50)
    expected = model(3.0 * x) / 3.0
    torch.testing.assert_close(starting.folded(model, 3.0)(x), expected, atol=1e-5, rtol=1e-5)


def test_the_gradient_of_atoms_does_not_make_them_longer():
    torch.manual_seed(0)
    model = sparse.SparseAutoencoder(10, CONFIG).train()
    (samples(50) - model(samples(50))).square().sum().backward()
    steps.orthogonal_to_atoms_(model)
    assert (model.atoms.grad * model.atoms).sum(1).abs().max() < 1e-3


def test_the_geometric_median_resists_what_moves_the_mean():
    points = torch.cat([samples(99), torch.full((10, 10), 1e4)])
    median = starting.geometric_median(points)
    assert (median - 2).norm() < 1.0
    assert (points.mean(0) - 2).norm() > 1000
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]])
    torch.testing.assert_close(starting.geometric_median(corners), corners.mean(0), atol=1e-4, rtol=1e-4)


def test_an_effect_is_given_to_gradient_topk_and_to_no_other():
    told = {"seed": 0, "progress": False}
    with pytest.raises(ConfigError, match="effect="):
        sparse.fit(samples(), sparse.Config(32, "gradient_topk", 4), settings(), **told)
    with pytest.raises(ConfigError, match="'batch_topk' with one"):
        sparse.fit(samples(), CONFIG, settings(), effect=lambda x: x.sum(1), **told)
    with pytest.raises(ValueError, match="gradient of the effect"):
        wrong = lambda x: (x.sum(1) - x.sum(1)).sqrt()  # noqa: E731
        sparse.fit(samples(), sparse.Config(32, "gradient_topk", 4), settings(), effect=wrong, **told)


def test_constant_inputs_and_a_run_that_diverges_are_told():
    with pytest.raises(ValueError, match="must vary"):
        sparse.fit(torch.ones(100, 4), CONFIG, settings(), seed=0, progress=False)
    values = samples()
    values[::3] *= 1e20
    with pytest.raises((FloatingPointError, ValueError)):
        sparse.fit(values, CONFIG, settings(lr=1e8, clip_norm=0.0), seed=0, progress=False)


@pytest.mark.parametrize("activation", ["relu", "jump_relu", "gated", "topk", "matching_pursuit"])
def test_a_latent_that_begins_anew_speaks_again_whatever_had_silenced_it(activation, generator):
    state = steps.State(
        sparse.Config(32, activation, 4),
        settings(),
        16,
        starting.Start(torch.zeros(16), 1.0, 16.0),
        0,
        torch.device("cpu"),
    )
    model, inputs, dead = state.model, torch.randn(200, 16, generator=generator), torch.arange(32) < 4
    with torch.no_grad():
        model.encoder_bias[dead] = -50.0
        for name in ("log_threshold", "log_scale", "magnitude_bias"):
            if hasattr(model, name):
                getattr(model, name)[dead] = 4.0 if name == "log_threshold" else -4.0
    for parameter in model.parameters():
        state.optimizer.state[parameter]["exp_avg"] += 1.0
    starting.resample_(model, state.optimizer, dead, inputs, inputs, generator)
    active = (model.eval().encode(inputs).dense() > 0).sum(0)
    assert bool((active[:4] > 0.3 * active[4:].float().mean()).all())
    for name, parameter in model.named_parameters():
        moment = state.optimizer.state[parameter]["exp_avg"]
        assert name == "bias" or (bool((moment[dead] == 0).all()) and bool((moment[~dead] == 1).all()))
