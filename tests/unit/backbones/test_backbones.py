"""What single backbones promise beyond the contract."""

from __future__ import annotations

import pytest
import torch

from braindec import seeding
from braindec.backbones import mlp, temporal_spatial


def test_a_residual_network_begins_nearly_linear(generator):
    with seeding.seeded(0, "backbone"):
        network = mlp.build((20,), {"main": (1, 8)}, mlp.Config()).eval()
    x = torch.randn(200, 20, generator=generator)
    line = network.linear_path("main")(x)
    assert (network(x)["main"][:, 0] - line).square().mean() < 0.01 * line.var()


def test_without_the_linear_path_there_is_only_the_curved_one(generator):
    network = mlp.build((20,), {"main": (1, 8)}, mlp.Config(skip_linear=False)).eval()
    assert network.linear_path("main") is None
    x = torch.randn(50, 20, generator=generator)
    torch.testing.assert_close(
        network(2 * x)["main"], network(x)["main"], atol=1e-3, rtol=1e-3
    )  # a norm comes first


def test_a_network_without_blocks_is_allowed():
    assert mlp.build((4,), {"main": (1, 2)}, mlp.Config(n_blocks=0))(torch.zeros(3, 4))["main"].shape == (
        3,
        1,
        2,
    )


def test_a_spatial_filter_sees_all_channels_and_a_temporal_one_its_window_alone(generator):
    config = temporal_spatial.Config(n_filters=4, kernel=5, pool=6, stride=3)
    network = temporal_spatial.build((7, 40), {"main": (1, 8)}, config).eval()
    x = torch.randn(1, 7, 40, generator=generator, requires_grad=True)
    first_step = network.features(x)[0, :4].sum()
    (reached,) = torch.autograd.grad(first_step, x)
    assert (reached[0, :, :10] != 0).all()
    assert (reached[0, :, 10:] == 0).all()


def test_epochs_too_short_for_the_filters_are_refused_with_the_length_they_need():
    with pytest.raises(ValueError, match="at least 75 time samples, got 74"):
        temporal_spatial.build((7, 74), {"main": (1, 8)}, temporal_spatial.Config())
    assert temporal_spatial.Config().n_steps(75) == 1


def test_a_shared_shape_without_time_and_a_lone_dim_are_refused():
    with pytest.raises(ValueError, match="sensor_attention"):
        temporal_spatial.build((100,), {"main": (1, 8)}, temporal_spatial.Config())
    with pytest.raises(ValueError, match="2 dims at least"):
        temporal_spatial.build((7, 90), {"main": (1, 1)}, temporal_spatial.Config())
