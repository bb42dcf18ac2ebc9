"""Graph networks over sensors: symmetric links from places, learned, blind to the order of channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev as known

from braindec import config as configs
from braindec import registry, seeding
from braindec.backbones import sensor_graph
from braindec.data.simulated.sensors import eeg_cap
from braindec.types import SensorSpace

OUTPUT = {"main": (1, 6)}
CAP = eeg_cap().space
N, N_TIMES = len(CAP.names), 48


def built(config, seed=0):
    with seeding.seeded(seed, "weights"):
        return sensor_graph.build((N, N_TIMES), OUTPUT, config).double()


def placed(**settings):
    return sensor_graph.placed(sensor_graph.Config(**settings), CAP)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_the_convolution_is_a_chebyshev_series_of_the_operator(order, generator):
    """Against numpy's series of the eigenvalues."""
    links = torch.randn(7, 7, generator=generator, dtype=torch.float64)
    operator = sensor_graph.normalised((links + links.T).fill_diagonal_(0))
    x = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    filters = torch.randn(order + 1, 3, 4, generator=generator, dtype=torch.float64)
    values, vectors = np.linalg.eigh(operator.numpy())
    expected = np.zeros((2, 7, 4))
    for i in range(3):
        for o in range(4):
            series = vectors * known.chebval(values, filters[:, i, o].numpy()) @ vectors.T
            expected[..., o] += x[..., i].numpy() @ series.T
    np.testing.assert_allclose(sensor_graph.chebyshev(x, operator, filters).numpy(), expected, atol=1e-10)


def test_normalised_links_have_eigenvalues_within_one_even_where_links_are_negative(generator):
    for _ in range(20):
        links = torch.randn(9, 9, generator=generator, dtype=torch.float64)
        values = torch.linalg.eigvalsh(sensor_graph.normalised(links + links.T))
        assert float(values.abs().max()) <= 1 + 1e-9


def test_links_start_as_a_gaussian_of_distance():
    start = sensor_graph.first_links(placed().places, N, 1.0)
    apart = np.linalg.norm(CAP.positions[:, None] - CAP.positions[None], axis=2)
    upper = np.triu_indices(N, 1)
    nearest = np.median([np.delete(row, i).min() for i, row in enumerate(apart)])
    np.testing.assert_allclose(
        start.numpy()[upper], np.exp(-(apart[upper] ** 2) / (2 * nearest**2)), atol=1e-6
    )
    assert float(start.diagonal().abs().max()) == 0


@pytest.mark.parametrize("features", ["power", "time", "both"])
def test_channels_in_another_order_with_their_places_give_the_same_output(features, generator):
    order = torch.randperm(N, generator=generator)
    space = SensorSpace(tuple(CAP.names[i] for i in order), CAP.positions[order.numpy()], CAP.kinds)
    config = sensor_graph.Config(features=features)
    here, there = (built(sensor_graph.placed(config, s)).eval() for s in (CAP, space))
    x = torch.randn(5, N, N_TIMES, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(there(x[:, order])["main"], here(x)["main"], atol=1e-6, rtol=1e-5)
    assert (
        float((here(x[:, order])["main"] - here(x)["main"]).detach().abs().max()) > 1e-3
    )  # places are looked at


def learned(generator, shuffled):
    """Links before and after a class is learned that the shared power of sensors 3 and 30 tells, or nothing does."""
    backbone = built(placed(sparsity=0.01, dropout=0.0)).train()
    labels = torch.randint(2, (256,), generator=generator)
    x = torch.randn(256, N, N_TIMES, generator=generator, dtype=torch.float64)
    x[:, [3, 30]] *= 1 + labels[:, None, None]
    labels = labels[torch.randperm(256, generator=generator)] if shuffled else labels
    optimiser = torch.optim.Adam(backbone.parameters(), 1e-2)
    before = backbone.links().detach().clone()
    for _ in range(10):
        made = backbone(x)
        loss = torch.nn.functional.cross_entropy(made["main"][:, 0, :2], labels)
        loss = loss + backbone.auxiliary[sensor_graph.LINKS](made[sensor_graph.LINKS])
        optimiser.zero_grad()
        loss.backward()
        assert float(backbone.links.change.grad.abs().max()) > 0
        optimiser.step()
    return before, backbone.links().detach()


@pytest.mark.parametrize("shuffled", [False, True])
def test_links_stay_symmetric_while_learned_and_those_of_sensors_that_tell_move_most(shuffled, generator):
    before, after = learned(generator, shuffled)
    assert torch.equal(after, after.T)
    assert float(after.diagonal().abs().max()) == 0
    moved = (after - before).abs().sum(1)
    others = moved[[i for i in range(N) if i not in (3, 30)]]
    assert (float(moved[[3, 30]].min()) > float(others.max())) != shuffled


def test_the_loss_of_links_is_their_mean_size_and_is_there_in_training_alone():
    backbone = built(placed(sparsity=0.5))
    x = torch.randn(4, N, N_TIMES, dtype=torch.float64)
    made = backbone.train()(x)
    weighted = backbone.auxiliary[sensor_graph.LINKS](made[sensor_graph.LINKS])
    assert float(weighted.detach()) == pytest.approx(0.5 * float(backbone.links().detach().abs().mean()))
    assert set(backbone.eval()(x)) == {"main"}


def test_the_power_of_a_wave_falls_into_the_band_of_its_frequency_whatever_its_phase():
    features = sensor_graph.NodeFeatures(96, sensor_graph.Config(n_bands=4)).double()
    times = torch.arange(96, dtype=torch.float64) / 96
    waves = torch.stack([(2 * torch.pi * hz * times + phase).sin() for hz in (4, 30) for phase in (0.0, 1.3)])
    made = features(waves[None])[0].detach()  # (wave, band)
    bands = features.bands.softmax(1)
    assert made.argmax(1).tolist() == [int(bands[:, hz - 1].argmax()) for hz in (4, 4, 30, 30)]
    torch.testing.assert_close(made[0], made[1], atol=0.05, rtol=0)


def test_places_survive_the_settings_as_json_and_wrong_ones_are_refused():
    config = placed(n_read=3)
    again = configs.component_from_json(configs.to_json(config), load=registry.load)
    assert again == config
    with pytest.raises(ValueError, match="32 places but 6 shared channels"):
        sensor_graph.build((6, N_TIMES), OUTPUT, config)
    unknown = replace(CAP, positions=np.full_like(CAP.positions, np.nan))
    with pytest.raises(ValueError, match="place of every sensor"):
        sensor_graph.placed(sensor_graph.Config(), unknown)


def test_sensors_that_share_a_place_are_linked_like_the_place_itself():
    """The two gradiometers and the magnetometer of a triplet."""
    places = tuple(tuple(row) for row in np.random.default_rng(0).normal(0, 0.05, (8, 3)))
    alone = sensor_graph.first_links(places, 8, 1.0)
    triplets = sensor_graph.first_links(tuple(p for p in places for _ in range(3)), 24, 1.0)
    torch.testing.assert_close(triplets[::3, ::3], alone)
    assert triplets[0, 1] == triplets[1, 2] == 1
