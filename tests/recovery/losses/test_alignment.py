"""Every loss finds a planted linear map, on trials it was not trained on, and nothing from shuffled pairs."""

from __future__ import annotations

import pytest
import torch

from braindec import registry

N_TRAIN, N_TEST, N_VOXELS, N_DIMS = 96, 48, 10, 6


def planted(seed=0):
    """Responses that are a linear map of targets (distributions over classes, mostly on one) plus noise."""
    draw = torch.Generator().manual_seed(seed)
    target = (2 * torch.randn(N_TRAIN + N_TEST, N_DIMS, generator=draw)).softmax(1)
    signal = (target - target.mean(0)) @ torch.randn(N_DIMS, N_VOXELS, generator=draw)
    noise = 0.15 * torch.randn(signal.shape, generator=draw)
    return signal + noise, target


def trained(loss, responses, target, n_steps=120):
    """A linear map from responses to targets."""
    torch.manual_seed(0)
    model = torch.nn.Linear(N_VOXELS, N_DIMS)
    optimizer = torch.optim.Adam([*model.parameters(), *loss.parameters()], lr=0.03)
    draw = torch.Generator().manual_seed(1)
    for step in range(n_steps):
        rows = torch.randperm(len(target), generator=draw)[:48]
        optimizer.zero_grad()
        progress = step / n_steps
        loss(model(responses[rows]).unsqueeze(1), target[rows].unsqueeze(1), rows, progress, None).backward()
        optimizer.step()
    return model


def judged(loss, prediction, target):
    """The cost of held-out pairs, and the share of shuffled pairings that cost less."""
    draw = torch.Generator().manual_seed(2)
    ids = torch.arange(len(target))

    def cost(order):
        return float(loss(prediction.unsqueeze(1), target[order].unsqueeze(1), ids, 1.0, None))

    true = cost(ids)
    return true, sum(cost(torch.randperm(len(target), generator=draw)) < true for _ in range(40)) / 40


@pytest.mark.parametrize("name", registry.names("losses"))
def test_a_planted_map_is_found_and_no_map_between_shuffled_pairs(name):
    module = registry.load("losses", name)
    responses, target = planted()
    cost, rank = {}, {}
    for shuffled in (False, True):
        loss = module.build(module.Config())
        pairs = target[:N_TRAIN].roll(7, 0) if shuffled else target[:N_TRAIN]
        model = trained(loss, responses[:N_TRAIN], pairs)
        with torch.no_grad():
            made = model(responses[N_TRAIN:])
            cost[shuffled], rank[shuffled] = judged(loss.eval(), made, target[N_TRAIN:])
    assert rank[False] == 0.0
    assert cost[False] < cost[True]
    if name not in (
        "cca",
        "cka",
    ):  # any linear map keeps the geometry of the responses, and they see nothing else
        assert rank[True] > 0.02
