"""Voxels pooled to a fixed length: what is pooled, signals of any length, and the start from pairs."""

from __future__ import annotations

import pytest
import torch

from braindec import seeding
from braindec.adapters import adaptive_pooling
from braindec.backbones import linear as linear_backbone
from braindec.encoder import Encoder
from braindec.maths.folds import folds_by_count
from braindec.types import ArraySpace, SignalInfo, SubjectSignal


def build(n_voxels, **settings):
    with seeding.seeded(0, "pooling"):
        signal = SubjectSignal(1, "fmri", (n_voxels,), ArraySpace(n_voxels))
        return adaptive_pooling.build(signal, adaptive_pooling.Config(**settings)).eval()


@pytest.mark.parametrize(("pool", "reduce"), [("max", torch.amax), ("mean", torch.mean)])
def test_neighbours_in_the_array_are_pooled(pool, reduce, generator):
    x = torch.randn(3, 17, generator=generator)
    pooled = build(17, length=5, pool=pool).pooled(x)
    for i in range(5):
        part = x[:, i * 17 // 5 : -(-(i + 1) * 17 // 5)]
        torch.testing.assert_close(pooled[:, i], reduce(part, dim=1))


def test_signals_of_any_length_are_taken_where_the_settings_say_so(generator):
    for any_length in (True, False):
        signal = SubjectSignal(1, "fmri", (17,), ArraySpace(17))
        config = adaptive_pooling.Config(length=6, shared_dim=4, any_length=any_length)
        encoder = Encoder.build(
            SignalInfo({signal.key: signal}), {"main": (1, 3)}, config, linear_backbone.Config(), 0
        )
        longer = {signal.key: torch.randn(2, 40, generator=generator)}
        if any_length:
            assert encoder(longer)[signal.key]["main"].shape == (2, 1, 3)
        else:
            with pytest.raises(ValueError, match=r"sub-01_fmri.*\(40,\).*\(17,\)"):
                encoder(longer)


def test_a_start_from_pairs_finds_the_map_behind_the_pooling(generator):
    adapter = build(40, length=10, shared_dim=4)
    x, truth = torch.randn(300, 40, generator=generator), torch.randn(4, 10, generator=generator)
    wanted = adapter.pooled(x) @ truth.T + 2.0
    assert adapter.start_from_pairs_(x, wanted, folds_by_count(300, 5, generator))
    torch.testing.assert_close(adapter(x), wanted, atol=0.02, rtol=0.02)


def test_it_begins_nearly_linear_and_can_be_only_that(generator):
    x = torch.randn(50, 40, generator=generator)
    adapter = build(40, length=10)
    straight = adapter.linear(adapter.pooled(x))
    assert (adapter(x) - straight).square().mean() < 1e-3 * straight.square().mean()
    assert build(40, length=10, bottleneck=0).curved is None
