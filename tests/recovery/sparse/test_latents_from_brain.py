"""Latents planted in noisy responses are read as well as theory allows, latents of shuffled stimuli are not claimed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scipy.stats import norm

from braindec.sparse import Config, SparseAutoencoder, brain, claims, places, readers, separation
from braindec.sparse.dictionary import activations

SETTINGS = readers.Settings(n_null=19, n_draws=60, n_folds=4, n_rates=3, alphas=(1e1, 1e2, 1e3))


def seeded(number):
    return torch.Generator().manual_seed(number)


class Named:
    """Latents that are dims: a dictionary whose codes are its inputs."""

    def __init__(self, n):
        self.n_latents, self.atoms, self.encoder = n, torch.eye(n), torch.eye(n)

    def pre_activations(self, inputs):
        return inputs


def dictionary(n_dims, n_latents, n_active, generator):
    made = SparseAutoencoder(n_dims, Config(n_latents, "topk", n_active))
    with torch.no_grad():
        atoms = torch.nn.functional.normalize(torch.randn(n_latents, n_dims, generator=generator), dim=1)
        made.atoms.copy_(atoms)
        made.encoder.copy_(atoms)
    return made.eval()


def planted(n, n_latents, n_dims, noise, generator, n_carried=None):
    """A dictionary, its latents on n stimuli, and responses that carry the first `n_carried` of them."""
    model = dictionary(n_dims, n_latents, 4, generator)
    chosen = torch.rand(n, n_latents, generator=generator).topk(4, dim=1).indices
    code = torch.zeros(n, n_latents).scatter_(1, chosen, 0.5 + torch.rand(n, 4, generator=generator))
    embeddings = code @ model.atoms.detach()
    seen = activations(model, embeddings)
    carried = seen[:, :n_carried] if n_carried else embeddings
    weights = torch.randn(carried.shape[1], 60, generator=generator)
    responses = carried @ weights + noise * torch.randn(n, 60, generator=generator)
    return brain.Latents(embeddings, seen, model), responses


@pytest.mark.parametrize("way", brain.WAYS)
def test_areas_are_those_of_the_planted_signal_to_noise(way):
    generator = seeded(0)
    active = (torch.rand(3000, 3, generator=generator) < 0.2).float()
    responses = active * torch.tensor([0.5, 1.0, 2.0]) + torch.randn(3000, 3, generator=generator)
    found = brain.readings(
        source := readers.reader(responses, generator, settings=SETTINGS),
        brain.Latents(active, active, Named(3)), way,
    )[0]  # fmt: skip
    auc = separation.separate(found, active > 0, source.strata).auc
    assert auc.tolist() == pytest.approx(norm.cdf([0.5 / 2**0.5, 1 / 2**0.5, 2 / 2**0.5]), abs=0.025)


def test_pre_activations_and_regression_beat_codes_of_the_prediction():
    generator = seeded(1)
    latents, responses = planted(700, 64, 24, 3.0, generator)
    source = readers.reader(responses, generator, settings=SETTINGS)
    predicted = readers.read(source, latents.embeddings, per_target=False)[0]
    ways = {way: brain.readings(source, latents, way)[0] for way in brain.WAYS}
    ways["code"] = activations(latents.dictionary, predicted)
    area = {
        k: float(separation.separate(v, latents.active, source.strata).auc.nanmean()) for k, v in ways.items()
    }
    assert area["embedding"] > area["code"] + 0.05
    assert area["direct"] > area["code"] + 0.05


def read_in_both_ways(latents, responses, generator, settings=SETTINGS, halves=()):
    source = readers.reader(responses, generator, settings=settings)
    orders = brain.permutations(len(responses), settings.n_null, generator)
    weights = separation.resampling_weights(len(responses), settings.n_draws, generator)
    told = {"orders": orders, "weights": weights, "settings": settings, "halves": halves}
    return source, {way: brain.how_read(source, latents, way, **told) for way in brain.WAYS}


def test_sensors_of_any_unit_are_read_together_and_silent_ones_are_not_divided_by_rounding():
    """Volts beside teslas: the smaller ones alone hold the target."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(80, 1, generator=generator)
    volts = 1e-5 * torch.randn(80, 2, generator=generator)
    teslas = 1e-13 * (target + 0.1 * torch.randn(80, 2, generator=generator))
    silent = torch.full((80, 1), 0.1)
    source = readers.reader(torch.cat([volts, teslas, silent], 1), generator, settings=SETTINGS)
    (found,) = readers.read(source, target)
    assert torch.corrcoef(torch.cat([found, target], 1).T)[0, 1] > 0.95
    assert all(float(fold.scale[-1]) == 0 for fold in source.folds)


def test_what_a_brain_carries_is_claimed_and_what_it_does_not_is_not():
    generator = seeded(2)
    latents, responses = planted(600, 48, 24, 0.5, generator, n_carried=10)
    source, ways = read_in_both_ways(latents, responses, generator)
    direct = ways["direct"]
    rates = claims.rates_of(direct, SETTINGS.n_rates)
    random = brain.Latents(latents.embeddings, latents.activations, dictionary(24, 48, 4, seeded(9)))
    areas = claims.matched_areas(source, random, "direct", rates, signed=False, settings=SETTINGS)
    said = claims.claims(direct, rates, {"random": areas}, SETTINGS)
    assert said.stands[:10].float().mean() >= 0.9
    assert said.stands[10:].float().mean() <= 0.05


def test_a_claim_needs_a_baseline():
    generator = seeded(2)
    latents, responses = planted(300, 20, 24, 0.5, generator, n_carried=10)
    _, ways = read_in_both_ways(latents, responses, generator)
    assert not bool(claims.claims(ways["direct"], torch.tensor([0.1]), {}, SETTINGS).stands.any())


def test_a_decoder_that_never_learned_a_latent_loses_it():
    generator = seeded(3)
    latents, responses = planted(600, 12, 24, 0.3, generator)
    source, ways = read_in_both_ways(latents, responses, generator)
    blind = latents.embeddings - latents.activations[:, :1] @ latents.dictionary.atoms[:1].detach()
    forgetful = brain.Latents(blind, latents.activations, latents.dictionary)
    weights = separation.resampling_weights(600, SETTINGS.n_draws, seeded(4))
    orders = brain.permutations(600, 19, seeded(5))
    told = {"orders": orders, "weights": weights, "settings": SETTINGS}
    fates = claims.fates(
        brain.how_read(source, forgetful, "embedding", **told),
        brain.how_read(source, latents, "direct", **told),
    )
    assert fates[0] in ("lost", "weakened")
    assert set(fates[1:]) <= {"recovered", "weakened"}
    assert set(claims.fates(ways["embedding"], ways["direct"])) <= {"recovered", "weakened"}


def test_shuffled_stimuli_are_claimed_no_more_often_than_the_level_family_wise():
    settings = replace(SETTINGS, n_folds=3, n_draws=2, min_active=5)
    any_claimed = dict.fromkeys(brain.WAYS, 0)
    for world in range(20):
        generator = seeded(100 + world)
        latents, responses = planted(90, 16, 12, 0.5, generator)
        responses = responses[torch.randperm(90, generator=generator)]
        _, ways = read_in_both_ways(latents, responses, generator, settings)
        for way, reading in ways.items():
            any_claimed[way] += bool((reading.p <= 0.05).any())
    assert max(any_claimed.values()) <= 4  # 20 worlds at 0.05: more than 4 in one of 390


def test_the_ceiling_is_the_area_that_noise_free_responses_give():
    generator = seeded(6)
    latents, clean = planted(1500, 12, 24, 0.0, generator)
    noise = 4.0 * torch.randn(2, *clean.shape, generator=generator)
    halves = tuple(clean + one for one in noise)
    responses = (halves[0] + halves[1]) / 2
    settings = replace(SETTINGS, n_null=1, n_draws=2)
    source, ways = read_in_both_ways(latents, responses, generator, settings, halves)
    without = readers.read(source, latents.activations, further=(clean,))[1]
    truth = separation.separate(without, latents.active, source.strata).auc
    found = ways["direct"]
    assert bool((found.ceiling >= found.auc).all())
    assert float((found.ceiling - truth).abs().mean()) < 0.25 * float((truth - found.auc).abs().mean())


def test_places_that_carry_a_latent_are_found_and_places_that_do_not_are_not():
    generator = seeded(7)
    latents, _ = planted(400, 12, 24, 0.0, generator)
    a = latents.activations
    here = a[:, :6] @ torch.randn(6, 30, generator=generator)
    there = a[:, 6:] @ torch.randn(6, 30, generator=generator)
    strata = torch.randint(4, (400,), generator=generator)
    sources = {
        name: readers.reader(x + 0.5 * torch.randn(400, 30, generator=generator), generator,
                           settings=SETTINGS, strata=strata)
        for name, x in {"here": here, "there": there, "nowhere": torch.zeros_like(here)}.items()
    }  # fmt: skip
    found = places.read_places(sources, a, orders=brain.permutations(400, 19, generator))
    assert bool((found.p[0, :6] <= 0.05).all() and (found.p[1, 6:] <= 0.05).all())
    assert not bool((found.p[2] <= 0.05).any())


def profiles(generator, n_latents=60, n_times=20):
    """Two regions whose latents are read early and late."""
    times = torch.arange(n_times, dtype=torch.float64)
    late = torch.arange(n_latents) >= n_latents // 2
    region = torch.stack([~late, late]).double() * 3
    bump = torch.exp(-0.5 * ((times[:, None] - torch.where(late, 14.0, 5.0)) / 2) ** 2) * 3
    tested = torch.ones(n_latents, dtype=torch.bool)

    def made(z):
        z = z + torch.randn(z.shape, generator=generator, dtype=z.dtype)
        names = tuple(map(str, range(len(z))))
        return places.Places(names, torch.sigmoid(z), z, z, z[None], tested)

    return made(region), made(bump), times


def test_the_latency_of_a_region_is_when_its_latents_are_read():
    generator = seeded(8)
    region, time, times = profiles(generator)
    found = places.shared(region, time, torch.rand(60, generator=generator), generator)
    assert places.latency(found.similarity.T, times).tolist() == pytest.approx([5, 14], abs=1.0)
    assert float(found.p.amin(1).max()) <= 0.05
    torch.testing.assert_close(found.parts.sum(-1), found.similarity)


def test_regions_share_nothing_with_times_of_exchanged_latents():
    generator = seeded(9)
    region, time, _ = profiles(generator)
    found = places.shared(region, time, torch.rand(60, generator=generator), generator)
    assert abs(float(found.null.mean())) < 0.02


def test_a_time_that_reads_little_weighs_little():
    generator = seeded(10)
    region, time, _ = profiles(generator)
    quiet = time.z.clone()
    quiet[0] = 0.05 * (
        region.z[0] - region.z.mean(0)
    )  # next to nothing is read, and by chance region 0's latents
    told = (region, replace(time, z=quiet), torch.rand(60, generator=generator), generator)
    plain, weighed = (places.shared(*told, weighed=w, n_draws=2).similarity for w in (False, True))
    assert float(plain[0, 0]) > 0.5
    assert abs(float(weighed[0, 0])) < 0.1
    assert torch.equal(plain.sign(), weighed.sign())
    assert float(weighed.abs().max()) <= 1.0 + 1e-9


def test_the_latency_of_a_bump_is_its_centre_and_of_nothing_is_missing():
    times = torch.linspace(0, 1, 101)
    bump = torch.exp(-0.5 * ((times - 0.37) / 0.05) ** 2)
    z = torch.stack([bump, torch.zeros(101)], 1)
    found = places.latency(z, times)
    assert float(found[0]) == pytest.approx(0.37, abs=1e-3)
    assert bool(found[1].isnan())


def test_a_fixed_decoder_is_told_from_one_whose_predictions_belong_to_other_stimuli():
    generator = seeded(10)
    latents, _ = planted(300, 12, 24, 0.0, generator)
    told = {
        "orders": brain.permutations(300, 39, generator),
        "weights": separation.resampling_weights(300, 20, generator),
    }
    predicted = latents.embeddings + 0.3 * torch.randn(300, 24, generator=generator)
    made = latents.dictionary.pre_activations(predicted).detach()
    right = brain.fixed_reading(made, latents.active, **told)
    wrong = brain.fixed_reading(made[torch.randperm(300, generator=generator)], latents.active, **told)
    assert bool((right.p <= 0.05).all())
    assert not bool((wrong.p <= 0.05).any())
