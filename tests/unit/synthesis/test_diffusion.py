"""Epochs that a diffusion draws have the planted means, noise and artefacts of their conditions, and no others."""

from __future__ import annotations

import pytest
import torch

from braindec import tensor_folder
from braindec.checks import ConfigError, DataFileError, DivergenceError
from braindec.synthesis import Config, Epochs, Factors, conditions, fit, fit_gaussian, load, save
from braindec.synthesis.means import cosines, shrunken_effects
from braindec.synthesis.network import EpochUNet

FACTORS = Factors(("subject", "session", "class"), (2, 4, 2))
SILENT = Config(n_steps=0)
SMALL = Config(width=8, n_steps=3, batch_size=16, n_sample_steps=4)


def recorded(n: int = 240, seed: int = 0, noise: float = 1.0) -> Epochs:
    """A wave over time in one class, later and beside louder noise in the second subject: (n, 4 channels, 30 times)."""
    draw = torch.Generator().manual_seed(seed)
    codes = torch.stack([torch.arange(n) % 2, torch.arange(n) % 4, torch.arange(n) // 4 % 2], 1)
    codes[:, 1] = 2 * codes[:, 0] + torch.arange(n) // 2 % 2
    mix = torch.tensor([[1.0, 0, 0, 0], [0.8, 0.6, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1.0]])
    white = torch.randn(n, 4, 30, generator=draw)
    loud = torch.where(codes[:, 0] == 1, 3.0, 1.0)[:, None, None]
    return Epochs(wave(codes) + noise * loud * (mix @ white), codes)


def wave(codes: torch.Tensor) -> torch.Tensor:
    times, late = torch.arange(30.0), torch.where(codes[:, 0] == 1, 18.0, 10.0)
    bump = torch.exp(-0.5 * ((times - late[:, None]) / 3) ** 2)
    return (3.0 * codes[:, 2, None] * bump)[:, None] * torch.tensor([1.0, 0.5, 0.0, -1.0])[:, None]


def draw(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_silent_network_leaves_a_gaussian_with_planted_means_and_noise_of_each_subject():
    epochs = recorded()
    model = fit(epochs, FACTORS, SILENT)
    for subject, loud in ((0, 1.0), (1, 3.0)):
        codes = torch.tensor([[subject, 2 * subject, 1]]).repeat(2000, 1)
        made = model.sample(codes, draw())
        assert (made.mean(0) - wave(codes)[0]).abs().mean() < 0.2 * loud
        sd = made.std(0).mean(1)
        torch.testing.assert_close(sd, loud * torch.tensor([1.0, 1.0, 2.0, 1.0]), rtol=0.1, atol=0.0)
        pair = torch.corrcoef(made.transpose(1, 2).flatten(0, 1).T)[0, 1]
        assert float(pair) == pytest.approx(0.8, abs=0.05)


def test_without_guidance_classes_are_alike_and_twice_the_guidance_doubles_their_difference():
    model = fit(recorded(), FACTORS, SILENT)
    codes = torch.tensor([[0, 0, 1], [0, 0, 0]]).repeat_interleave(400, 0)

    def apart(guidance: float) -> torch.Tensor:
        made = model.sample(codes, draw(), guidance=guidance).unflatten(0, (2, 400)).mean(1)
        return made[0, 0, 8:13].mean() - made[1, 0, 8:13].mean()

    assert abs(float(apart(0.0))) < 0.2
    assert float(apart(1.0)) == pytest.approx(2.2, abs=0.5)
    assert float(apart(2.0)) == pytest.approx(2 * float(apart(1.0)), abs=0.3)


def test_of_shuffled_conditions_it_makes_no_difference_of_classes():
    epochs = recorded()
    wrong = Epochs(epochs.values, epochs.codes[torch.randperm(240, generator=draw())])
    model = fit(wrong, FACTORS, SILENT)
    codes = torch.tensor([[0, 0, 1], [0, 0, 0]]).repeat_interleave(400, 0)
    made = model.sample(codes, draw()).unflatten(0, (2, 400)).mean(1)
    assert abs(float(made[0, 0, 8:13].mean() - made[1, 0, 8:13].mean())) < 0.7


def test_the_network_learns_loud_and_quiet_trials_that_no_gaussian_has():
    draws, factors = draw(3), Factors(("subject",), (1,))

    def trials(n: int) -> Epochs:
        loud = torch.where(torch.rand(n, generator=draws) < 0.3, 2.0, 0.5)
        values = loud[:, None, None] * torch.randn(n, 2, 16, generator=draws)
        return Epochs(values, torch.zeros(n, 1, dtype=torch.int64))

    seen, unseen = trials(400), trials(2000)
    trained = Config(width=16, n_steps=150, dropout=0.0, lr=1e-2, average=0.9)
    models = [fit(seen, factors, config) for config in (trained, SILENT)]
    with torch.no_grad():
        learnt, silent = (float(m.objective(unseen, draw())) for m in models)
    assert learnt < 0.95 * silent


def test_a_saved_diffusion_draws_the_same_bits(tmp_path):
    epochs = recorded(80)
    model = fit(epochs, FACTORS, SMALL)
    again = load(save(model, tmp_path / "model"))
    assert again.factors == FACTORS
    assert torch.equal(model.sample(epochs.codes, draw()), again.sample(epochs.codes, draw()))
    with open(tmp_path / "model" / tensor_folder.WEIGHTS, "ab") as file:
        file.write(b"0")
    with pytest.raises(DataFileError, match=r"is not the file that config\.json was written with"):
        load(tmp_path / "model")


def test_equal_seeds_fit_equal_diffusions_and_leave_the_global_generator():
    epochs = recorded(60)
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    one, other = (fit(epochs, FACTORS, SMALL).sample(epochs.codes, draw()) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(torch.rand(1), before)


def test_a_gradient_reaches_every_weight_once_the_output_is_not_zero():
    torch.manual_seed(0)
    network = EpochUNet(3, (2, 2), 8, 0.0)
    torch.nn.init.normal_(network.leave.weight)
    keep = torch.tensor([True, False, True, True])
    made = network(
        torch.randn(4, 3, 13), torch.arange(4), torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]), keep
    )
    assert made.shape == (4, 3, 13)
    made.square().sum().backward()
    assert [n for n, w in network.named_parameters() if w.grad is None or not w.grad.abs().sum() > 0] == []


def test_hidden_conditions_change_nothing():
    torch.manual_seed(0)
    network = EpochUNet(3, (2, 2), 8, 0.0).eval()
    torch.nn.init.normal_(network.leave.weight)
    x, step, hidden = (
        torch.randn(2, 3, 12),
        torch.zeros(2, dtype=torch.int64),
        torch.zeros(2, dtype=torch.bool),
    )
    one, other = (network(x, step, torch.full((2, 2), code), hidden) for code in (0, 1))
    assert torch.equal(one, other)
    assert not torch.equal(network(x, step, torch.zeros(2, 2, dtype=torch.int64), ~hidden), one)


def test_whitened_training_epochs_are_white_and_come_back():
    epochs = recorded()
    model = fit(epochs, FACTORS, SILENT)
    left = model.whitened(epochs) - model.expected(epochs.codes, torch.ones(240, dtype=torch.bool))
    across = torch.cov(left.transpose(1, 2).flatten(0, 1).T)
    torch.testing.assert_close(across, torch.eye(4), atol=0.12, rtol=0.0)
    back = model.unwhitened(Epochs(model.whitened(epochs), epochs.codes))
    torch.testing.assert_close(back, epochs.values, atol=1e-3, rtol=1e-3)


def test_an_average_reference_leaves_a_direction_out_and_nothing_infinite():
    epochs = recorded()
    referenced = Epochs(epochs.values - epochs.values.mean(1, keepdim=True), epochs.codes)
    made = fit(referenced, FACTORS, SILENT).sample(referenced.codes, draw())
    assert float(made.mean(1).std()) < 0.05 * float(made.std())
    assert torch.isfinite(fit_gaussian(referenced).sample(referenced.codes, draw())).all()


def test_shrunken_effects_come_nearer_to_the_planted_means_than_raw_ones():
    epochs = recorded(120)
    values = epochs.values - epochs.values.mean(0)
    effects = shrunken_effects(values, epochs.codes, FACTORS)
    one = wave(epochs.codes) - wave(epochs.codes).mean(0)
    made = (conditions.design(epochs.codes, FACTORS) @ effects.flatten(1)).unflatten(1, (4, 30))
    means, _, cell = conditions.cell_means(Epochs(values, epochs.codes))
    assert float((made - one).square().mean()) < 0.5 * float((means[cell] - one).square().mean())
    assert float(torch.corrcoef(torch.stack([made.flatten(), one.flatten()]))[0, 1]) > 0.6


def test_effects_of_noise_vanish():
    values = torch.randn(400, 4, 30, generator=draw())
    codes = recorded(400).codes
    effects = shrunken_effects(values - values.mean(0), codes, FACTORS)
    shown = conditions.design(codes, FACTORS) @ effects.flatten(1)
    means, _, cell = conditions.cell_means(Epochs(values, codes))
    assert float(shown.square().mean()) < 0.2 * float(means[cell].square().mean())


def test_cosines_are_those_of_scipy():
    from scipy.fft import dct

    x = torch.randn(3, 17, generator=draw(), dtype=torch.float64)
    torch.testing.assert_close(x @ cosines(17), torch.from_numpy(dct(x.numpy(), norm="ortho")))


def test_a_gaussian_has_the_means_and_the_covariance_of_its_epochs():
    epochs = recorded(800)
    model = fit_gaussian(epochs)
    codes = torch.tensor([[1, 2, 1]]).repeat(4000, 1)
    made = model.sample(codes, draw())
    own = (epochs.codes == codes[:1]).all(1)
    torch.testing.assert_close(made.mean(0), epochs.values[own].mean(0), atol=0.35, rtol=0.0)
    torch.testing.assert_close(
        made.std(0).mean(1),
        3 * torch.tensor([1.0, 1.0, 2.0, 1.0]),
        rtol=0.15,
        atol=0.0,  # shrinkage evens variances out
    )
    torch.testing.assert_close(model.sample(codes[:1], draw(), noise=0.0)[0], epochs.values[own].mean(0))
    with pytest.raises(ValueError, match=r"codes hold \[0, 3, 0\], of which no training epoch"):
        model.sample(torch.tensor([[0, 3, 0]]), draw())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"width": 12}, "multiple of 8"),
        ({"dropout": 1.5}, "dropout"),
        ({"n_sample_steps": 500}, "n_sample_steps"),
        ({"guidance": -1.0}, "guidance"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, says):
    with pytest.raises((ValueError, ConfigError), match=says):
        Config(**settings)


def test_codes_and_epochs_that_do_not_fit_are_refused():
    epochs = recorded(40)
    with pytest.raises(ValueError, match="codes of 'class' must lie in 0 to 1, got 0 to 7"):
        wrong = epochs.codes.clone()
        wrong[3, 2] = 7
        fit(Epochs(epochs.values, wrong), FACTORS, SILENT)
    with pytest.raises(ValueError, match="training values"):
        fit(Epochs(epochs.values * float("nan"), epochs.codes), FACTORS, SILENT)
    with pytest.raises(ValueError, match="codes have 2 factors"):
        fit(epochs, FACTORS, SILENT).sample(epochs.codes[:, :2], draw())


@pytest.mark.parametrize("n_each", [2, 4, 20])
def test_made_trials_vary_as_much_as_recorded_ones_however_few_each_mean_was_of(n_each):
    factors, draws = Factors(("subject", "class"), (1, 40)), draw(4)
    codes = torch.cartesian_prod(torch.tensor([0]), torch.arange(40)).repeat(n_each, 1)
    epochs = Epochs(2.0 * torch.randn(len(codes), 3, 8, generator=draws), codes)
    wanted = codes[:1].repeat(2000, 1)
    for model in (fit_gaussian(epochs), fit(epochs, factors, SILENT)):
        made = model.sample(wanted, draws)
        assert float(made.var(0).mean()) == pytest.approx(4.0, rel=0.12)


def test_trials_of_which_no_two_are_alike_tell_no_noise():
    factors, codes = Factors(("subject", "class"), (1, 3)), torch.tensor([[0, 0], [0, 1], [0, 2]])
    epochs = Epochs(torch.randn(3, 2, 8, generator=draw()), codes)
    for fitted in (lambda: fit(epochs, factors, SILENT), lambda: fit_gaussian(epochs)):
        with pytest.raises(ValueError, match=r"one .*epoch"):
            fitted()


def test_a_training_that_diverges_is_told():
    with pytest.raises(DivergenceError, match="Lower lr"):
        fit(recorded(40), FACTORS, Config(width=8, n_steps=10, batch_size=16, lr=1e30))
