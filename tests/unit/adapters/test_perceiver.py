"""Tokens of a subject read by common queries: the rank of what they see, published and mended."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from braindec import seeding
from braindec.adapters import perceiver
from braindec.types import ArraySpace, SubjectSignal


def build(variant, n_voxels=60):
    config = perceiver.Config(n_tokens=8, dim=12, token_rank=3, n_latents=4, variant=variant)
    with seeding.seeded(0, "perceiver"):
        signal = SubjectSignal(1, "fmri", (n_voxels,), ArraySpace(n_voxels))
        adapter = perceiver.build(signal, config)
        adapter.attach(perceiver.build_shared([signal], config))
    return adapter.eval()


def test_the_published_tokens_are_those_of_its_two_layers(generator):
    """The layers as they are described: every voxel's value to n_tokens values, then all voxels to dim values."""
    adapter, x = build("published"), torch.randn(3, 60, generator=generator)
    lift, project = nn.Linear(1, 8), nn.Linear(60, 12)
    lift.load_state_dict(adapter.tokenizer.lift.state_dict())
    project.load_state_dict(adapter.tokenizer.project.state_dict())
    expected = project(lift(x.unsqueeze(2)).transpose(1, 2))
    torch.testing.assert_close(adapter.tokens(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("variant", "rank"), [("published", 2), ("fixed", 8)])
def test_tokens_of_a_trial_span_two_directions_as_published_and_all_when_mended(variant, rank, generator):
    """Up to the vectors that no signal changes."""
    adapter = build(variant)
    adapter.tokenizer.double()
    x = torch.randn(1, 60, generator=generator, dtype=torch.float64)
    tokens = adapter.tokens(x)[0]
    if variant == "published":  # the second layer's bias is in every token, as a third direction
        tokens = tokens - adapter.tokenizer.project.bias
    assert torch.linalg.matrix_rank(tokens) == rank


def test_what_signals_change_in_all_tokens_is_one_projection_as_published(generator):
    """Over trials, published tokens vary along dim directions in all; mended ones along as many as they have of own."""
    x, found = torch.randn(100, 60, generator=generator, dtype=torch.float64), {}
    for variant in ("published", "fixed"):
        adapter = build(variant)
        adapter.tokenizer.double()
        values = adapter.tokens(x).flatten(1)
        found[variant] = int(torch.linalg.matrix_rank(values - values.mean(0)))
    assert found == {"published": 12, "fixed": 8 * 3}


def test_every_token_is_read_and_their_order_is_not(generator):
    adapter = build("fixed")
    tokens = torch.randn(2, 8, 12, generator=generator)
    read = adapter.shared(tokens)
    torch.testing.assert_close(adapter.shared(tokens.flip(1)), read, atol=1e-5, rtol=1e-5)
    for i in range(8):
        changed = tokens.clone()
        changed[:, i] = torch.randn(12, generator=generator)
        assert not torch.allclose(adapter.shared(changed), read, atol=1e-4)
