"""A codebook: k-means is its truth, and codes that nothing falls to come back to life."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.cluster import KMeans
from torch.nn.functional import normalize

from braindec import seeding
from braindec.backbones._quantiser import Quantiser, frequencies, perplexity


def clusters(n_clusters: int = 6, n_each: int = 80, n_dims: int = 5, noise: float = 0.25) -> torch.Tensor:
    """Unit vectors about directions that were planted."""
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((n_clusters, n_dims))
    found = np.repeat(centres, n_each, 0) + noise * rng.standard_normal((n_clusters * n_each, n_dims))
    return normalize(torch.from_numpy(found).float(), dim=1)


def made(n_codes: int = 6, n_dims: int = 5, **settings) -> Quantiser:
    with seeding.seeded(1, "quantiser"):
        return Quantiser(n_codes, n_dims, **settings)


def test_an_update_without_memory_is_a_step_of_k_means(generator):
    vectors, quantiser = clusters(), made(decay=0.0, dead=0.0)
    quantiser.start_(
        vectors[40::80]
    )  # one of each cluster: none is empty, which sklearn would move elsewhere
    for _ in range(3):
        before = quantiser.codes.double().numpy().copy()
        step = KMeans(6, init=before, n_init=1, max_iter=1, algorithm="lloyd").fit(vectors.double().numpy())
        labels = np.linalg.norm(vectors.double().numpy()[:, None] - before, axis=2).argmin(1)
        means = np.stack([vectors.double().numpy()[labels == code].mean(0) for code in range(6)])
        np.testing.assert_allclose(
            step.cluster_centers_, means, atol=1e-6
        )  # sklearn made one step and no more
        quantiser.update_(vectors, generator)
        wanted = step.cluster_centers_ / np.linalg.norm(step.cluster_centers_, axis=1, keepdims=True)
        np.testing.assert_allclose(quantiser.codes, wanted, atol=1e-6)


def test_codes_are_the_directions_of_running_sums(generator):
    quantiser = made(n_codes=3, n_dims=4, decay=0.8, dead=0.0)
    sums, share = quantiser.codes.double().numpy() / 3, np.full(3, 1 / 3)
    codes = quantiser.codes.double().numpy().copy()
    for _ in range(5):
        vectors = normalize(torch.randn(30, 4, generator=generator), dim=1)
        numbers = np.array(
            [np.argmin([np.sum((v - c) ** 2) for c in codes]) for v in vectors.double().numpy()]
        )
        for code in range(3):
            sums[code] = 0.8 * sums[code] + 0.2 * vectors.double().numpy()[numbers == code].sum(0) / 30
            share[code] = 0.8 * share[code] + 0.2 * np.mean(numbers == code)
        codes = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        quantiser.update_(vectors, generator)
        np.testing.assert_allclose(quantiser.codes, codes, atol=1e-5)
        np.testing.assert_allclose(quantiser.share, share, atol=1e-6)


def test_the_gradient_goes_straight_through(generator):
    quantiser, weight = made(), torch.randn(40, 5, generator=generator)
    vectors = normalize(torch.randn(40, 5, generator=generator), dim=1).requires_grad_()
    quantised, numbers = quantiser(vectors)
    torch.testing.assert_close(quantised, quantiser.codes[numbers])
    (weight * quantised.square()).sum().backward()
    torch.testing.assert_close(
        vectors.grad, 2 * weight * quantiser.codes[numbers]
    )  # as at the code, of the identity
    assert not quantiser.codes.requires_grad


def after_many(dead: float, n_steps: int = 200) -> Quantiser:
    """Sixteen codes that begin in one corner, of data that lie in sixteen places."""
    vectors, quantiser = clusters(16, 20, 6, 0.1), made(16, 6, decay=0.9, dead=dead)
    quantiser.start_(vectors[:1] + 0.01 * torch.randn(16, 6, generator=torch.Generator().manual_seed(0)))
    draw = torch.Generator().manual_seed(1)
    for _ in range(n_steps):
        quantiser.update_(vectors, draw)
    return quantiser


def test_dead_codes_start_anew_in_the_data():
    vectors = clusters(16, 20, 6, 0.1)
    still, alive = (after_many(dead) for dead in (0.0, 0.2))
    used = [perplexity(q.nearest(vectors), 16) for q in (still, alive)]
    assert used[0] < 0.8 * used[1]
    assert used[1] > 14
    cosines = (vectors @ alive.codes.T).amax(0)
    assert cosines.min() > 0.8  # every code lies where data are


def test_the_same_draws_make_the_same_codebook_and_a_code_in_use_is_never_dead(generator):
    assert torch.equal(after_many(0.1).codes, after_many(0.1).codes)
    quantiser = made(decay=0.5, dead=0.05)
    quantiser.start_(clusters(noise=0.0)[::80])
    assert sum(quantiser.update_(clusters(), generator) for _ in range(30)) == 0


def test_codes_of_which_nothing_is_heard_for_long_stay_where_they_were(generator):
    quantiser = made(decay=0.5, dead=0.0)
    vectors = clusters(noise=0.0)[:80]
    for _ in range(300):
        quantiser.update_(vectors, generator)
    torch.testing.assert_close(quantiser.codes.norm(dim=1), torch.ones(6))


def test_perplexity_is_that_of_the_entropy(rng):
    numbers = torch.from_numpy(rng.integers(0, 5, 1000) ** 2 % 7)
    counts = np.bincount(numbers, minlength=7)
    assert perplexity(numbers, 7) == pytest.approx(np.exp(entropy(counts)))
    assert perplexity(torch.arange(8).repeat(3), 8) == pytest.approx(8)
    assert perplexity(torch.zeros(9, dtype=torch.int64), 8) == pytest.approx(1)


def test_frequencies_are_counts_and_prior():
    found = frequencies(torch.tensor([[0, 0], [2, 0]]), 4)
    torch.testing.assert_close(found, torch.tensor([4, 1, 2, 1]).double() / 8)
    drawn = frequencies(torch.tensor([3]), 4, 4 * found)
    torch.testing.assert_close(drawn, torch.tensor([2.0, 0.5, 1.0, 1.5]).double() / 5)


@pytest.mark.parametrize("settings", [{"n_codes": 1}, {"n_dims": 1}, {"decay": 1.0}, {"dead": 2.0}])
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Quantiser(**({"n_codes": 4, "n_dims": 4} | settings))


def test_a_codebook_of_another_size_is_refused():
    with pytest.raises(ValueError, match="along axis 'code'"):
        made().start_(torch.randn(5, 5))
