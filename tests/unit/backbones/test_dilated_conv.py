"""Dilated convolutions: the output keeps time, and tokens are stretches of it."""

from __future__ import annotations

import pytest
import torch

from braindec import seeding
from braindec.backbones import dilated_conv

SMALL = dilated_conv.Config(width=8, n_layers=4, dilation_period=3)


def build(outputs, n_times=60, config=SMALL, n_channels=5):
    with seeding.seeded(0, "backbone"):
        return dilated_conv.build((n_channels, n_times), outputs, config).eval()


def test_token_t_is_sample_t(generator):
    """A change at one sample reaches the tokens around it, as far as the filters do, and no others."""
    backbone, x = build({"main": (60, 3)}), torch.randn(1, 5, 60, generator=generator)
    changed = x.clone()
    changed[:, :, 30] += 1
    moved = (backbone(changed)["main"] - backbone(x)["main"]).abs().amax((0, 2)) > 1e-9
    reach = (1 + 2 + 4 + 1) + 2  # of the convolutions, and of two gates with one sample of context
    assert moved[30]
    assert torch.nonzero(moved).flatten().tolist() == list(range(30 - reach, 30 + reach + 1))


def test_a_later_signal_gives_later_tokens(generator):
    backbone, x = build({"main": (60, 3)}), torch.randn(1, 5, 60, generator=generator)
    later = backbone(torch.roll(x, 7, dims=2))["main"]
    torch.testing.assert_close(later[:, 20:47], backbone(x)["main"][:, 13:40], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n_tokens", [1, 4, 7])
def test_fewer_tokens_are_means_over_stretches_of_time(n_tokens, generator):
    backbone, x = build({"main": (n_tokens, 3)}), torch.randn(2, 5, 60, generator=generator)
    features = backbone.features(x)
    for i, token in enumerate(backbone(x)["main"].unbind(1)):
        first, last = i * 60 // n_tokens, -(-(i + 1) * 60 // n_tokens)
        mean = features[:, :, first:last].mean(2, keepdim=True)
        torch.testing.assert_close(token, backbone.heads["to_main"](mean).squeeze(2), atol=1e-5, rtol=1e-5)


def test_learned_weights_of_every_sample_make_the_token_and_get_a_gradient(generator):
    config = dilated_conv.Config(width=8, n_layers=2, aggregation="learned")
    backbone, x = (
        build({"main": (2, 3), "kept": (60, 3)}, config=config),
        torch.randn(2, 5, 60, generator=generator),
    )
    weights = backbone.over_time["to_main"]
    mixed = backbone.features(x) @ weights.weight.T + weights.bias
    expected = backbone.heads["to_main"](mixed).transpose(1, 2)
    torch.testing.assert_close(backbone(x)["main"], expected, atol=1e-5, rtol=1e-5)
    assert set(backbone.over_time) == {"to_main"}  # an output with a token a sample has nothing to learn
    backbone(x)["main"].square().sum().backward()
    assert weights.weight.grad.abs().min() > 0


def test_gates_come_after_every_so_many_layers():
    gated = [not isinstance(layer.gate, torch.nn.Identity) for layer in build({"main": (1, 3)}).layers]
    assert gated == [False, True, False, True]
    none = build({"main": (1, 3)}, config=dilated_conv.Config(width=8, n_layers=2, glu_every=0))
    assert all(isinstance(layer.gate, torch.nn.Identity) for layer in none.layers)


def test_the_published_biases_before_a_norm_are_declared_inert_and_are(generator):
    backbone = build(
        {"main": (60, 3)}, config=dilated_conv.Config(width=8, n_layers=2, variant="published")
    ).train()
    x = torch.randn(6, 5, 60, generator=generator)
    before = backbone(x)["main"]
    assert backbone.inert == {"layers.0.conv.bias", "layers.1.conv.bias"}
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if name in backbone.inert:
                parameter += 3.0
    torch.testing.assert_close(backbone(x)["main"], before, atol=1e-4, rtol=1e-4)
    assert build({"main": (60, 3)}).inert == frozenset()


def test_more_tokens_than_samples_and_a_signal_without_time_are_refused():
    with pytest.raises(ValueError, match=r"main.*61 tokens.*60 samples"):
        build({"main": (61, 3)})
    with pytest.raises(ValueError, match="spatial_merger"):
        dilated_conv.build((24,), {"main": (1, 3)}, SMALL)
    with pytest.raises(ValueError, match="odd"):
        dilated_conv.Config(kernel=4)
