"""Ideal observers in a planted world: above a fitted decoder, monotone in signal and trials, chance when shuffled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from braindec.data.simulated import ceiling, linear_estimate, observers, trained_observer

N_GALLERY, N_SCENES, N_VOXELS, DIM, N_FEATURES, REPEATS = 80, 2500, 60, 12, 20, 3
TRIAL = ceiling.Trial(gain_sd=0.1, lapse=0.02)


@dataclass
class Planted:
    """One subject of a world whose embedding is a nonlinear function of the features that drive its voxels."""

    embeddings: np.ndarray
    responses: np.ndarray
    noise: np.ndarray
    prior: trained_observer.Prior
    generator: np.random.Generator

    @property
    def truth(self) -> ceiling.Truth:
        return ceiling.Truth(self.responses[N_GALLERY:], self.embeddings[N_GALLERY:], TRIAL)

    def measure(self, scenes: np.ndarray) -> np.ndarray:
        """Averages over repeats."""
        g = self.generator
        shape = (REPEATS, len(scenes))
        factor = (g.random(shape) >= TRIAL.lapse) * (1 + TRIAL.gain_sd * g.standard_normal(shape))
        noise = g.standard_normal((*shape, N_VOXELS)) @ np.linalg.cholesky(self.noise * REPEATS).T
        return (self.responses[scenes] * factor[..., None] + noise).mean(0)


def plant(seed: int, noise_sd: float = 1.0) -> Planted:
    g = np.random.default_rng(seed)
    features = g.standard_normal((N_GALLERY + N_SCENES, N_FEATURES))
    mixing = g.standard_normal((N_FEATURES, DIM)) / np.sqrt(N_FEATURES)
    embeddings = np.tanh(features @ mixing * 1.5)
    variance = np.full(N_FEATURES, 1 / N_FEATURES)
    members = {
        "early": np.arange(N_VOXELS) < 30,
        "high": (np.arange(N_VOXELS) >= 30) & (np.arange(N_VOXELS) < 50),
    }
    weights = g.standard_normal((N_FEATURES, N_VOXELS)) * np.sqrt(variance)[:, None]
    weights[:, 50:] = 0
    low = g.standard_normal((N_VOXELS, 4))
    noise = noise_sd**2 * (0.6 * np.eye(N_VOXELS) + 0.1 * low @ low.T) / REPEATS
    kernel = np.diag((np.arange(N_VOXELS) < 50).astype(float))
    prior = trained_observer.Prior(
        features[N_GALLERY:], dict.fromkeys(members, variance), members, kernel, np.full(N_VOXELS, TRIAL.mean)
    )
    return Planted(embeddings, features @ weights, noise, prior, g)


def ceilings(world: Planted, n_train: int) -> tuple[ceiling.Ceiling, ceiling.Ceiling, float]:
    """oracle_linear, oracle_n and the best ridge regression, its penalty chosen on the test data in its favour."""
    gallery = np.arange(N_GALLERY)
    train = N_GALLERY + np.arange(n_train)
    y, known = world.measure(gallery), world.measure(train)
    z = world.embeddings
    told = (z[:N_GALLERY], gallery)
    linear = observers.oracle_linear(y, *told, world.truth, world.noise, REPEATS)
    n = trained_observer.oracle_n(
        y, *told, known, z[train], world.truth, world.prior, world.noise, world.noise, REPEATS, REPEATS
    )
    return linear, n, max(_ridge(y, known, z[:N_GALLERY], z[train], a) for a in (1, 10, 100, 1000))


def _ridge(y, known, gallery, z, penalty) -> float:
    x, centre = known - known.mean(0), z.mean(0)
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(N_VOXELS), x.T @ (z - centre))
    cosine = linear_estimate.unit((y - known.mean(0)) @ weights) @ linear_estimate.unit(gallery - centre).T
    return ceiling.Ceiling("ridge", cosine, np.arange(N_GALLERY)).top1


@pytest.fixture(scope="module")
def worlds() -> list[tuple[ceiling.Ceiling, ceiling.Ceiling, float]]:
    return [ceilings(plant(seed), 150) for seed in range(8)]


def test_oracles_are_above_a_fitted_decoder_with_the_same_trials(worlds):
    linear, n, ridge = (np.mean([w[i] if i == 2 else w[i].top1 for w in worlds]) for i in range(3))
    assert linear >= n >= ridge
    assert linear > ridge + 0.02


def test_the_likely_image_is_found_at_least_as_often_as_by_any_linear_decoder():
    world = plant(0)
    y, gallery = world.measure(np.arange(N_GALLERY)), np.arange(N_GALLERY)
    best = observers.oracle_image(
        y, world.responses[:N_GALLERY], gallery, lambda q: world.noise, np.full(N_GALLERY, REPEATS), TRIAL
    )
    linear = observers.oracle_linear(
        y, world.embeddings[:N_GALLERY], gallery, world.truth, world.noise, REPEATS
    )
    assert best.top1 >= linear.top1
    assert best.brain_retrieval().mean() >= linear.brain_retrieval().mean() > 0.5
    assert best.two_way().mean() > 0.99


def test_ceilings_fall_as_noise_grows():
    found = [
        np.mean([ceilings(plant(seed, sd), 150)[0].top1 for seed in range(3)]) for sd in (0.5, 1.5, 4.0, 20.0)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.8 and found[-1] < 0.15


def test_oracle_n_grows_with_n_towards_oracle_linear():
    means = []
    for n_train in (20, 80, 2400):
        pairs = [ceilings(plant(seed), n_train) for seed in range(4)]
        means.append(np.mean([b.top1 / a.top1 for a, b, _ in pairs]))
    assert means == sorted(means)
    assert means[0] < 0.8 and means[-1] == pytest.approx(1.0, abs=0.03)


def test_ceilings_are_at_chance_when_responses_are_shuffled():
    found = []
    for seed in range(4):
        world = plant(seed)
        order = world.generator.permutation(N_GALLERY)
        y = world.measure(np.arange(N_GALLERY))[order]
        told = (world.embeddings[:N_GALLERY], np.arange(N_GALLERY), world.truth, world.noise, REPEATS)
        found.append(observers.oracle_linear(y, *told).two_way().mean())
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)
