"""A beta-VAE keeps what is worth its cost; symbols grounded in it name ERPs, and draw those that were never seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from braindec.checks import ConfigError, DataFileError
from braindec.decoder import disentangled, symbols
from braindec.decoder.disentangled import Config, Posterior, kl_between, kl_from_prior, rebuilt_share
from braindec.decoder.symbols import Config as Named
from braindec.train import Config as Train

TRAIN = Train(n_steps=200, batch_size=64, lr=5e-3, weight_decay=0.0, validate_every=100)
SMALL = Config(n_latents=3, width=16, beta=1.0, train=TRAIN)
SYMBOLS = Named(width=16, train=replace(TRAIN, validate_every=200))
SIZES = (2, 3)


def planted(n: int, seed: int = 0, noise: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """ERPs of 2 channels and 12 times: a factor is an early wave in one channel, another a late one in both."""
    draw = torch.Generator().manual_seed(seed)
    factors = torch.stack([torch.arange(n) % 2, torch.arange(n) // 2 % 3], 1)
    early, late = torch.zeros(2, 12), torch.zeros(2, 12)
    early[0, 2:5], late[:, 7:10] = 2.0, 1.5
    erps = factors[:, 0, None, None] * early + (factors[:, 1, None, None] - 1.0) * late
    return erps + noise * torch.randn(n, 2, 12, generator=draw), factors


@pytest.fixture(scope="module")
def fitted():
    erps, factors = planted(600)
    kept = ~((factors[:, 0] == 1) & (factors[:, 1] == 2))  # never seen together
    model = disentangled.fit(erps[kept], SMALL)
    return model, symbols.fit(model, erps[kept], factors[kept], SIZES, SYMBOLS), erps[kept], factors[kept]


def posterior(seed: int) -> Posterior:
    draw = torch.Generator().manual_seed(seed)
    return Posterior(torch.randn(5, 3, generator=draw), torch.randn(5, 3, generator=draw))


def test_divergences_are_those_of_another_implementation():
    p, q = posterior(0), posterior(1)
    one, other = (Normal(x.mean, (0.5 * x.log_var).exp()) for x in (p, q))
    torch.testing.assert_close(kl_between(p, q), kl_divergence(one, other))
    torch.testing.assert_close(kl_from_prior(p), kl_divergence(one, Normal(0.0, 1.0)))


def test_it_rebuilds_planted_waves_and_a_high_beta_silences_every_latent(fitted):
    model, _, erps, _ = fitted
    fresh, _ = planted(300, seed=1)
    signal = 1 - 0.3**2 / float((fresh - fresh.mean(0)).var())
    assert rebuilt_share(model, fresh) == pytest.approx(signal, abs=0.06)
    silent = disentangled.fit(
        erps, replace(SMALL, beta=500.0, train=replace(TRAIN, n_steps=60, validate_every=60))
    )
    with torch.no_grad():
        assert float(kl_from_prior(silent.encode(fresh)).mean()) < 0.01
    assert rebuilt_share(silent, fresh) < 0.05


def test_symbols_name_fresh_erps(fitted):
    model, names, _, _ = fitted
    fresh, factors = planted(300, seed=2)
    assert (symbols.told(names, model, fresh) == factors).double().mean() > 0.9


def test_an_erp_is_drawn_of_a_combination_that_was_never_seen(fitted):
    model, names, _, _ = fitted
    truth = planted(6, noise=0.0)[0][5]  # levels 1 and 2
    made = symbols.drawn(names, model, torch.tensor([[1, 2]]))[0]
    nearest = min(float((one - truth).square().mean()) for one in planted(5, noise=0.0)[0])
    assert float((made - truth).square().mean()) < 0.7 * nearest  # than that of any combination that was seen


@torch.no_grad()
def taken_apart(erps: torch.Tensor) -> disentangled.DisentangledErps:
    """A model written by hand: one latent is the early wave, another the late one, both with an SD of 0.1."""
    model = disentangled.DisentangledErps(erps.mean(0), 1.0, replace(SMALL, n_latents=2))
    for weight in model.parameters():
        weight.zero_()
    waves = torch.zeros(2, 2, 12)
    waves[0, 0, 2:5], waves[1, :, 7:10] = 1.0, 1.0
    model.encoder.linear.weight[:2] = waves.flatten(1) / waves.flatten(1).sum(1, keepdim=True)
    model.encoder.linear.bias[2:] = 2 * torch.tensor(0.1).log()
    model.decoder.linear.weight.copy_(waves.flatten(1).T)
    return model


def test_what_a_symbol_leaves_open_varies_and_what_it_says_does_not():
    erps, factors = planted(600)
    model = taken_apart(erps)
    longer = replace(SYMBOLS, train=replace(SYMBOLS.train, n_steps=500, validate_every=500, lr=1e-2))
    names = symbols.fit(model, erps, factors, SIZES, longer)
    draw = torch.Generator().manual_seed(0)
    made = symbols.drawn(names, model, torch.tensor([[1, symbols.UNSAID]]).repeat(300, 1), draw)
    said, left_open = made[:, 0, 2:5].mean(1), made[:, 1, 7:10].mean(1)
    assert float(said.mean()) == pytest.approx(2.0, abs=0.2)
    assert float(said.std()) < 0.4
    assert float(left_open.std()) == pytest.approx(1.5 * (2 / 3) ** 0.5, abs=0.25)  # of levels -1, 0 and 1


def test_symbols_of_shuffled_factors_name_nothing_and_draw_the_mean(fitted):
    model, _, erps, factors = fitted
    wrong = factors[torch.randperm(len(factors), generator=torch.Generator().manual_seed(0))]
    names = symbols.fit(model, erps, wrong, SIZES, SYMBOLS)
    fresh, true = planted(300, seed=3)
    with torch.no_grad():
        told = names.tell(model.encode(fresh).mean)[0].softmax(1)
    assert float(told.gather(1, true[:, :1]).mean()) < 0.6
    every = torch.cartesian_prod(torch.arange(2), torch.arange(3))
    assert float((symbols.drawn(names, model, every) - erps.mean(0)).square().mean()) < 0.25 * float(
        erps.var()
    )


def test_both_come_back_from_a_folder_bit_by_bit_and_damage_is_found(fitted, tmp_path):
    model, names, erps, factors = fitted
    again = disentangled.load(disentangled.save(model, tmp_path / "erps"))
    also = symbols.load(symbols.save(names, tmp_path / "symbols"))
    assert torch.equal(symbols.drawn(names, model, factors), symbols.drawn(also, again, factors))
    assert torch.equal(symbols.told(names, model, erps), symbols.told(also, again, erps))
    with open(tmp_path / "symbols" / "weights.safetensors", "ab") as file:
        file.write(b"0")
    with pytest.raises(DataFileError, match=r"is not the file that config\.json was written with"):
        symbols.load(tmp_path / "symbols")


def test_a_level_that_its_factor_has_not_is_refused(fitted):
    model, _, erps, factors = fitted
    with pytest.raises(ValueError, match="largest level of factor 1"):
        symbols.fit(model, erps, factors + 1, (3, 3), SYMBOLS)


def test_erps_in_teslas_are_learnt_like_those_in_any_unit_and_a_flat_one_is_refused():
    erps, _ = planted(60)
    few = replace(SMALL, train=replace(TRAIN, n_steps=20, validate_every=20))
    shares = [rebuilt_share(disentangled.fit(unit * erps, few), unit * erps) for unit in (1.0, 1e-13)]
    assert shares[0] == pytest.approx(shares[1], abs=1e-3)
    with pytest.raises(ValueError, match="all alike"):
        disentangled.fit(torch.full((60, 2, 12), 3e-6), few)


def test_a_model_of_other_settings_or_erps_that_lies_in_the_folder_is_refused(tmp_path):
    erps, factors = planted(60)
    every = replace(TRAIN, n_steps=4, validate_every=2, checkpoint_every=2)
    few, named = replace(SMALL, train=every), replace(SYMBOLS, train=every)
    model = disentangled.fit(erps, few, folder=tmp_path)
    disentangled.fit(erps, few, folder=tmp_path)
    symbols.fit(model, erps, factors, SIZES, named, folder=tmp_path)
    for wrong in (
        lambda: disentangled.fit(erps, replace(few, beta=2.0), folder=tmp_path),
        lambda: disentangled.fit(erps + 1, few, folder=tmp_path),
        lambda: symbols.fit(model, erps, factors, SIZES, replace(named, beta=1.0), folder=tmp_path),
    ):
        with pytest.raises(ConfigError, match="made with other settings, data"):
            wrong()
