"""Sensor attention knows sensors by where they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import seeding
from braindec.adapters import sensor_attention
from braindec.types import ArraySpace, SensorSpace, SubjectSignal


def adapter_of(positions, n_times=6, **settings):
    n = len(positions)
    space = SensorSpace(tuple(map(str, range(n))), positions, ("eeg",) * n)
    with seeding.seeded(0, "test"):
        return sensor_attention.build(
            SubjectSignal(1, "eeg", (n, n_times), space, 100.0, 0.0), sensor_attention.Config(**settings)
        )


@pytest.fixture
def positions(rng):
    place = rng.normal(size=(9, 3))
    return 0.09 * place / np.linalg.norm(place, axis=1, keepdims=True)


def test_the_order_of_placed_sensors_does_not_matter(positions, rng):
    order, x = rng.permutation(9), torch.from_numpy(rng.normal(size=(2, 9, 6))).float()
    out = adapter_of(positions)(x)
    torch.testing.assert_close(adapter_of(positions[order])(x[:, order]), out, atol=1e-5, rtol=1e-5)


def test_weights_are_shares_that_differ_between_sensors_and_virtual_channels(positions):
    weights = adapter_of(positions).weights()
    torch.testing.assert_close(weights.sum(1), torch.ones(32))
    assert weights.min() > 0
    assert weights.std(0).min() > 0.01
    assert weights.std(1).min() > 0.01


def test_neighbours_get_more_similar_weights_than_sensors_far_apart(rng):
    """Three sensors: two a centimetre apart, one on the other side of the head."""
    place = np.array([[0.0, 0.09, 0.03], [0.01, 0.09, 0.03], [0.0, -0.09, 0.03]])
    weights = adapter_of(place, n_virtual=400).weights().log()
    near = (weights[:, 0] - weights[:, 1]).std()
    far = (weights[:, 0] - weights[:, 2]).std()
    assert near < 0.5 * far


def test_sensors_without_a_place_are_told_apart_from_the_start(positions):
    positions[3:5] = np.nan
    weights = adapter_of(positions).weights()
    assert torch.isfinite(weights).all()
    assert (weights[:, 3] - weights[:, 4]).abs().max() > 0.01


def test_time_is_kept_sample_by_sample(positions, rng):
    x = torch.from_numpy(rng.normal(size=(2, 9, 6))).float()
    adapter = adapter_of(positions)
    torch.testing.assert_close(adapter(x)[:, :, 2], torch.einsum("vc,nc->nv", adapter.weights(), x[:, :, 2]))


def test_features_of_known_places_have_length_one_and_of_unknown_ones_are_zero(positions):
    positions[0, 1] = np.nan
    features = sensor_attention.fourier_features(torch.from_numpy(positions), 3)
    assert features.shape == (9, 54)
    torch.testing.assert_close(features.norm(dim=1), torch.tensor([0.0] + [1.0] * 8, dtype=torch.float64))


def test_signals_without_sensors_or_time_are_refused():
    with pytest.raises(ValueError, match=r"sub-01_fmri.*channel, time"):
        sensor_attention.build(SubjectSignal(1, "fmri", (5,), ArraySpace(5)), sensor_attention.Config())
    with pytest.raises(TypeError, match="SensorSpace"):
        sensor_attention.build(SubjectSignal(1, "meg", (5, 6), ArraySpace(5)), sensor_attention.Config())
