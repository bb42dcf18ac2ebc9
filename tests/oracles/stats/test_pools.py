"""Retrieval among drawn pools: against every pool there is, against draws, and against the published numbers."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from braindec.maths import nearest
from braindec.metrics import pools as pool_metrics
from braindec.stats import pools
from braindec.stats.intervals import proportion_interval


def by_enumeration(k: int, better: int, tied: int, n_gallery: int, pool: int) -> float:
    """Mean over all pools of the chance to be among the k nearest when ties are broken at random."""
    others = ["better"] * better + ["tied"] * tied + ["worse"] * (n_gallery - 1 - better - tied)
    found = []
    for chosen in combinations(range(n_gallery - 1), pool - 1):
        kinds = [others[i] for i in chosen]
        found.append(np.clip((k - kinds.count("better")) / (kinds.count("tied") + 1), 0, 1))
    return float(np.mean(found))


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("pool", [1, 4, 7, 9])
def test_expected_hits_are_the_mean_over_every_pool_there_is(k, pool):
    cases = [(b, t) for b in range(9) for t in range(9 - b)]
    expected = [by_enumeration(k, b, t, 9, pool) for b, t in cases]
    found = pools.expected_hits(k, *np.transpose(cases), 9, pool)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_pool_that_is_the_gallery_gives_the_hits_of_the_gallery(rng):
    better, tied = torch.tensor([0, 3, 0, 1, 0]), torch.tensor([0, 0, 4, 1, 1])
    found = pools.expected_hits(2, better, tied, 20, 20)
    np.testing.assert_allclose(found, nearest.hits_at(2, better, tied), atol=1e-12)


def test_draws_agree_with_their_expectation_within_their_own_error(rng):
    truth = rng.standard_normal((80, 10))
    similarity = (truth + rng.standard_normal((80, 10))) @ truth.T
    drawn = pools.drawn_top1(similarity, 30, 4000, seed=1)
    table, own = torch.from_numpy(similarity), torch.arange(80)
    for shares, metric in (
        (drawn.image_of_brain, pool_metrics.image_retrieval_in_pool),
        (drawn.brain_of_image, pool_metrics.brain_retrieval_in_pool),
    ):
        expected = float(metric(table, own, pool=30).mean())
        assert shares.mean() == pytest.approx(expected, abs=4 * shares.std() / len(shares) ** 0.5)
        assert 0.2 < expected < 0.95


def test_a_decoder_that_knows_nothing_is_at_one_over_the_pool(rng):
    constant = torch.zeros(50, 50)
    found = pool_metrics.image_retrieval_in_pool(constant, torch.arange(50), pool=20)
    assert float(found.mean()) == pytest.approx(1 / 20, abs=1e-12)
    noise = torch.from_numpy(rng.standard_normal((400, 50)))
    found = pool_metrics.image_retrieval_in_pool(noise, torch.arange(400) % 50, pool=20)
    assert float(found.mean()) == pytest.approx(1 / 20, abs=0.02)


def test_a_pool_larger_than_the_gallery_is_refused():
    with pytest.raises(ValueError, match="pool"):
        pools.expected_hits(1, [0], [0], 20, 21)
    with pytest.raises(ValueError, match="pool"):
        pools.drawn_top1(np.eye(20), 21, 3, 0)


def test_more_draws_shrink_the_published_interval_to_nothing_while_the_queries_stay_as_few(rng):
    truth = rng.standard_normal((60, 6))
    similarity = (truth + rng.standard_normal((60, 6))) @ truth.T
    widths = []
    for n_draws in (30, 3000):
        found = pools.published_interval(pools.drawn_top1(similarity, 40, n_draws, 0).image_of_brain)
        widths.append(found.high - found.low)
    ours = proportion_interval(
        pool_metrics.image_retrieval_in_pool(torch.from_numpy(similarity), torch.arange(60), pool=40)
    )
    assert widths[1] < 0.2 * widths[0] < 0.2 * (ours.high - ours.low)


@pytest.fixture(scope="module")
def published(parity):
    """(similarity of brain to image, numbers) of the published evaluation."""
    tensors = load_file(parity / "mindeye_metrics_public.safetensors")
    numbers = json.loads((parity / "mindeye_metrics_public.json").read_text())
    return nearest.similarity(tensors["brain"].flatten(1), tensors["clip"].flatten(1)), numbers


def test_draws_with_the_published_seed_are_the_published_numbers_under_their_swapped_names(published):
    # The published similarity helper returns the transpose: its "brain to image" looks for the response of an image.
    similarity, numbers = published
    drawn = pools.drawn_top1(similarity, 300, 30, numbers["retrieval_numpy_seed"])
    assert drawn.image_of_brain.mean() == pytest.approx(numbers["retrieval_image_to_brain_top1"], abs=1e-6)
    assert drawn.brain_of_image.mean() == pytest.approx(numbers["retrieval_brain_to_image_top1"], abs=1e-6)


def test_the_published_numbers_lie_within_their_draws_error_of_the_expectation(published):
    similarity, numbers = published
    drawn = pools.drawn_top1(similarity, 300, 30, numbers["retrieval_numpy_seed"])
    metrics = pool_metrics.METRICS
    for metric, shares, key in (
        ("image_retrieval_top1_of_300", drawn.image_of_brain, "retrieval_image_to_brain_top1"),
        ("brain_retrieval_top1_of_300", drawn.brain_of_image, "retrieval_brain_to_image_top1"),
    ):
        expected = metrics[metric].value(similarity, torch.arange(len(similarity)))
        assert numbers[key] == pytest.approx(expected, abs=4 * shares.std() / 30**0.5)
