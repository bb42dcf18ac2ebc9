"""Stimuli that tell models apart: errors as theory has them, the best subset of all, clusters that were planted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import norm

from braindec.encoding.telling_apart import (
    assigned,
    disagreement,
    discriminative_clusters,
    evidence,
    most_telling,
    profiles_of,
)

DRAW = torch.Generator().manual_seed(7)


def test_half_the_disagreement_is_the_expected_evidence_and_gives_the_rate_of_errors():
    models = torch.randn(2, 6, 3, generator=DRAW, dtype=torch.float64)
    noise = torch.tensor([1.0, 4.0, 0.5], dtype=torch.float64) * 4
    distance = float(disagreement(models, noise).sum())
    draws = [
        models[0] + noise.sqrt() * torch.randn(6, 3, generator=DRAW, dtype=torch.float64) for _ in range(4000)
    ]
    found = np.array([np.subtract(*evidence(models, y, noise).numpy()) for y in draws])
    assert found.mean() == pytest.approx(distance / 2, abs=4 * distance**0.5 / 4000**0.5)
    # The log Bayes factor is normal with mean D / 2 and variance D.
    assert (found < 0).mean() == pytest.approx(norm.cdf(-(distance**0.5) / 2), abs=0.025)


def test_of_two_models_no_other_choice_has_more_evidence():
    models = torch.randn(2, 9, 4, generator=DRAW)
    worth = disagreement(models)[0]
    best = max(itertools.combinations(range(9), 3), key=lambda some: float(worth[list(some)].sum()))
    chosen = most_telling(models, 3)
    assert set(chosen.tolist()) == set(best)
    assert (worth[chosen].diff() <= 0).all()  # the best one first


def test_of_three_models_the_pair_that_is_alike_is_told_apart_too():
    models = torch.zeros(3, 4, 1)
    models[2, :3] = torch.tensor([[9.0], [8.0], [7.0]])  # the third model differs from both others everywhere
    models[1, 3] = 1.0  # the first two differ for the last stimulus alone
    assert 3 in most_telling(models, 2).tolist()
    by_sum = disagreement(models).sum(0).topk(2).indices
    assert 3 not in by_sum.tolist()


def test_chosen_stimuli_find_the_right_model_more_often_than_random_ones():
    models = torch.randn(2, 60, 5, generator=DRAW) * torch.rand(1, 60, 1, generator=DRAW)
    noise, hits = torch.full((5,), 6.0), {"chosen": 0, "random": 0, "shuffled": 0}
    best = most_telling(models, 3, noise)
    for _ in range(300):
        y = models[0] + noise.sqrt() * torch.randn(60, 5, generator=DRAW)
        some = torch.randperm(60, generator=DRAW)[:3]
        hits["chosen"] += int(evidence(models[:, best], y[best], noise).argmax() == 0)
        hits["random"] += int(evidence(models[:, some], y[some], noise).argmax() == 0)
        hits["shuffled"] += int(evidence(models[:, best], y[some], noise).argmax() == 0)
    assert hits["chosen"] > hits["random"] + 30
    assert abs(hits["shuffled"] - 150) < 60


def planted(noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions (80 stimuli, 60 voxels) of three groups with a tuning each, and the groups."""
    labels = torch.arange(60) % 3
    tuning = torch.randn(80, 3, generator=DRAW)
    gain = 0.5 + torch.rand(60, generator=DRAW)
    return tuning[:, labels] * gain + noise * torch.randn(80, 60, generator=DRAW), labels


def agreement(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest share of voxels alike under any renaming of three clusters."""
    return max(
        float((torch.tensor(names)[a] == b).float().mean()) for names in itertools.permutations(range(3))
    )


def test_planted_clusters_are_found_with_stimuli_that_drive_each_alone_and_none_where_none_are():
    predictions, labels = planted(0.2)
    found = discriminative_clusters(predictions, 3, DRAW, n_each=2)
    assert agreement(found.labels, labels) == 1.0
    z = (predictions - predictions.mean(0)) / predictions.std(0)
    for cluster, own in enumerate(found.stimuli):
        driven = profiles_of(z, found.labels, 3)[own].mean(0)
        assert driven.argmax() == cluster
        assert driven[cluster] > 1.0 + driven[torch.arange(3) != cluster].max()
    unlike = torch.randn(80, 60, generator=DRAW)
    none = discriminative_clusters(unlike, 3, DRAW, n_each=2)
    assert agreement(none.labels, labels) < 0.6
    assert none.objective < found.objective


def test_a_voxel_is_assigned_by_its_measured_responses_to_the_chosen_stimuli_better_than_to_random_ones():
    predictions, _ = planted(0.2)
    found = discriminative_clusters(predictions, 3, DRAW)
    z = (predictions - predictions.mean(0)) / predictions.std(0)
    profiles = profiles_of(z, found.labels, 3)
    chosen, random = [], []
    for _ in range(40):
        measured = z + 1.0 * torch.randn(z.shape, generator=DRAW)
        own, some = found.stimuli.flatten(), torch.randperm(80, generator=DRAW)[:3]
        chosen.append(float((assigned(measured[own], found.profiles) == found.labels).float().mean()))
        random.append(float((assigned(measured[some], profiles[some]) == found.labels).float().mean()))
    assert np.mean(chosen) > np.mean(random) + 0.1
    mixed = measured[:, torch.randperm(60, generator=DRAW)]
    assert float((assigned(mixed[own], found.profiles) == found.labels).float().mean()) < 0.55


def test_what_does_not_fit_is_refused():
    models = torch.zeros(2, 4, 3)
    with pytest.raises(ValueError, match="number of models"):
        disagreement(models[:1])
    with pytest.raises(ValueError, match="n must lie"):
        most_telling(models, 5)
    with pytest.raises(ValueError, match="n_each"):
        discriminative_clusters(torch.zeros(4, 6), 3, DRAW, n_each=2)
