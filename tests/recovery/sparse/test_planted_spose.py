"""Random dictionaries mixed by the codes of real concepts, as sparse and co-occurring as these, are found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import sparse
from braindec.sparse import baselines, matching

LEAST = 0.2  # of a concept's weight on an axis: below it people's choices do not tell it from noise


@pytest.fixture(scope="module")
def concepts(real_data):
    path = real_data / "things_spose" / "spose_embedding_49d_sorted.txt"
    codes = torch.from_numpy(np.loadtxt(path)).float()
    return codes * (codes > LEAST)


def mixed(codes, n_dims, n_samples, *, noise=0.02, seed=0):
    """Random unit atoms (n_latents, n_dims), fewer dims than atoms, and samples that are concepts' sums of them."""
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.nn.functional.normalize(torch.randn(codes.shape[1], n_dims, generator=generator), dim=1)
    drawn = codes[torch.randint(len(codes), (n_samples,), generator=generator)]
    strength = 1 + 0.2 * torch.randn(drawn.shape, generator=generator)  # exemplars of a concept differ
    return atoms, drawn * strength @ atoms + noise * torch.randn(n_samples, n_dims, generator=generator)


def learned(values, n_latents, n_steps):
    settings = sparse.FitConfig(n_steps=n_steps, batch_size=256, lr=4e-3, dead_after=3000)
    config = sparse.Config(n_latents, "topk", 6)
    return sparse.fit(values, config, settings, seed=0, progress=False).model


def others(values, n_latents, names=("pca", "ica", "kmeans", "random")):
    most = {"pca": values.shape[1], "ica": values.shape[1]}
    return {name: baselines.fit(name, values, most.get(name, n_latents), seed=0).atoms for name in names}


def test_atoms_of_real_codes_in_superposition_are_found_by_an_autoencoder_and_not_by_baselines(concepts):
    atoms, values = mixed(concepts, 32, 4000)
    ours = matching.recovery(atoms, learned(values, 49, 400).atoms)
    rest = {name: matching.recovery(atoms, found) for name, found in others(values, 49).items()}
    assert ours > max(rest.values()) + 0.05, (ours, rest)
    assert ours > 2 * rest["random"] - 0.05


def test_nothing_is_found_in_gaussian_samples_of_equal_covariance(concepts, generator):
    atoms, values = mixed(concepts, 32, 4000)
    gaussian = torch.randn(4000, 32, generator=generator) @ torch.linalg.cholesky(values.T.cov()).T
    found = matching.recovery(atoms, learned(gaussian, 49, 400).atoms)
    chance = matching.recovery(atoms, others(values, 49, ("random",))["random"])
    assert found < chance + 0.12


@pytest.mark.slow
def test_more_samples_and_less_superposition_help_and_rare_atoms_are_found_less(concepts):
    by_samples = [
        matching.recovery(atoms, learned(values, 49, 1500).atoms)
        for atoms, values in (mixed(concepts, 32, n) for n in (300, 8000))
    ]
    assert by_samples[1] > by_samples[0] + 0.05
    by_dims = [
        matching.recovery(atoms, learned(values, 49, 1500).atoms)
        for atoms, values in (mixed(concepts, n, 8000) for n in (12, 40))
    ]
    assert by_dims[1] > by_dims[0] + 0.05
    atoms, values = mixed(concepts, 32, 8000)
    pairs = matching.match(matching.cosines(atoms, learned(values, 49, 1500).atoms))
    often = (concepts > 0).float().mean(0).argsort()
    assert pairs.similarity[often[-16:]].mean() > pairs.similarity[often[:16]].mean()
