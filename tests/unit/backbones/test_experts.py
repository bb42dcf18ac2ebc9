"""Experts: the mixture that a loop over them gives, the router's weights, and the loss that keeps all in use."""

from __future__ import annotations

import pytest
import torch

from braindec import seeding
from braindec.adapters import linear as linear_adapter
from braindec.backbones import experts
from braindec.decoder.batches import Trainee, objective
from braindec.encoder import Encoder
from braindec.losses import mse
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

OUTPUTS = {"main": (1, 6)}


def build(**settings):
    with seeding.seeded(0, "backbone"):
        return experts.build((10,), OUTPUTS, experts.Config(n_experts=3, width=7, router_width=5, **settings))


def of_expert(values, k):
    return values[7 * k : 7 * (k + 1)]


@pytest.mark.parametrize("variant", ["ours", "published"])
def test_the_mixture_is_what_a_loop_over_experts_gives(variant, generator):
    backbone = build(variant=variant)
    x = torch.randn(4, 10, generator=generator)
    scores = backbone.router.layers(x if variant == "published" else backbone.norm(x))
    weights = (
        scores.softmax(1) if variant == "ours" else scores.sigmoid() / scores.sigmoid().sum(1, keepdim=True)
    )
    mixed = torch.zeros(4, 7)
    for k in range(3):
        seen = x if variant == "published" else backbone.norm(x)
        made = seen @ of_expert(backbone.first.weight, k).T + of_expert(backbone.first.bias, k)
        if variant == "ours":
            made = torch.nn.functional.gelu(made) @ backbone.second[k]
        mixed = mixed + weights[:, k : k + 1] * made
    expected = backbone.heads(mixed)["main"]
    if variant == "ours":
        expected = expected + backbone.linear(x)["main"]
    torch.testing.assert_close(backbone(x)["main"], expected)
    torch.testing.assert_close(backbone.weights(x), weights)


def test_balance_is_one_where_experts_are_used_alike_and_their_number_where_one_is_used_alone():
    assert float(experts.balance(torch.eye(4))) == pytest.approx(1.0)
    assert float(experts.balance(torch.full((5, 4), 0.25))) == pytest.approx(1.0)
    assert float(experts.balance(torch.tensor([[0.0, 1.0, 0.0]]))) == pytest.approx(3.0)


def encoder(balance):
    subjects = (SubjectSignal(1, "fmri", (8,), ArraySpace(8)), SubjectSignal(2, "eeg", (3, 4), ArraySpace(3)))
    info = SignalInfo({one.key: one for one in subjects})
    config = experts.Config(n_experts=3, width=7, router_width=5, balance=balance)
    return Encoder.build(info, OUTPUTS, linear_adapter.Config(shared_dim=10), config, 0)


def test_the_balance_of_all_subjects_together_is_trained_beside_the_losses(generator):
    made = encoder(0.5)
    trainee = Trainee(made, {"main": mse.build(mse.Config())}, {"main": 1.0}).train()
    signals = {
        "sub-01_fmri": torch.randn(6, 8, generator=generator),
        "sub-02_eeg": torch.randn(4, 3, 4, generator=generator),
    }
    batch = {"keys": list(signals)}
    for key, values in signals.items():
        batch |= {
            f"signals/{key}": values,
            f"stimuli/{key}": torch.arange(len(values)),
            f"main/{key}": torch.zeros(len(values), 1, 6),
        }
    losses = objective(trainee, batch, 0.0, generator)
    shared = torch.cat([made.adapter(key)(values) for key, values in signals.items()])
    expected = 0.5 * experts.balance(made.backbone.weights(shared))
    torch.testing.assert_close(losses["expert_balance"], expected)
    trainee.eval()
    assert set(made(signals)["sub-02_eeg"]) == {"main"}


def test_an_output_with_the_name_of_the_routers_weights_is_refused():
    with pytest.raises(ValueError, match="another name"):
        experts.build((4,), {"expert_balance": (1, 2)}, experts.Config())
