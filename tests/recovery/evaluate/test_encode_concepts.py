"""Concepts that two networks hide behind channels of their own are found through a brain that sees them, else not."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from braindec.evaluate import encode_concepts
from braindec.evaluate.encode_concepts import Settings

N_TRAIN, N_TEST, N_CONCEPTS = 150, 60, 3


def world(generator):
    """Two networks whose channels mix four shared directions with louder ones of their own; a brain of the shared."""
    n = N_TRAIN + N_TEST
    truth = torch.randint(N_CONCEPTS, (n,), generator=generator)
    centres = 3.0 * torch.eye(4)[:N_CONCEPTS]
    shared = centres[truth] - centres.mean(0) + 0.5 * torch.randn(n, 4, generator=generator)
    networks = []
    for _ in range(2):
        own = 6.0 * torch.randn(n, 6, generator=generator)
        mixing = torch.linalg.qr(torch.randn(10, 10, generator=generator)).Q
        channels = torch.cat([shared, own], 1) @ mixing
        networks.append((channels[:N_TRAIN], channels[N_TRAIN:]))
    voxels = shared[:N_TRAIN] @ torch.randn(4, 20, generator=generator)
    return networks, voxels + 0.5 * torch.randn(voxels.shape, generator=generator), truth[N_TRAIN:]


@pytest.fixture
def told():
    return Settings(n_concepts=N_CONCEPTS, n_scenes=100, n_null=5)


def test_networks_agree_on_planted_concepts_through_the_brain_and_not_without_it(generator, told):
    networks, responses, truth = world(generator)
    found, own, null = encode_concepts.compared(networks, responses, told)
    assert encode_concepts.agreement(found) > 0.9
    assert min(adjusted_rand_score(truth, labelled) for labelled in found.T) > 0.9
    assert encode_concepts.agreement(own) < 0.3
    assert max(null) < 0.3


def test_one_cut_names_a_concept_alike_in_both_networks(generator, told):
    networks, responses, _ = world(generator)
    found, _, _ = encode_concepts.compared(networks, responses, told)
    assert (found[:, 0] == found[:, 1]).double().mean() > 0.9


def test_one_network_has_nobody_to_agree_with(generator, told):
    networks, responses, _ = world(generator)
    with pytest.raises(ValueError, match="number of networks"):
        encode_concepts.compared(networks[:1], responses, told)
