"""A dictionary that made the data is found again by every activation, and is not found in data without one."""

from __future__ import annotations

import pytest
import torch

from braindec import sparse
from braindec.sparse import losses, starting

N_ATOMS, N_DIMS = 48, 24


def planted(n_samples=8000, seed=0, *, sparse_code=True):
    """Samples that are sums of few of 48 unit atoms in 24 dims, off centre; without a sparse code, Gaussian ones."""
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.nn.functional.normalize(torch.randn(N_ATOMS, N_DIMS, generator=generator), dim=1)
    size = (n_samples, N_ATOMS)
    code = (torch.rand(size, generator=generator) < 0.05) * (0.5 + torch.rand(size, generator=generator))
    values = 3 * code @ atoms
    if not sparse_code:
        values = torch.randn(n_samples, N_DIMS, generator=generator) @ torch.linalg.cholesky(values.T.cov()).T
    return atoms, values + 1.0 + 0.01 * torch.randn(values.shape, generator=generator)


def found(values, config, loss=None, n_steps=800):
    settings = sparse.FitConfig(
        n_steps=n_steps, batch_size=256, lr=4e-3, dead_after=3000, loss=loss or losses.Config()
    )
    return sparse.fit(values, config, settings, seed=0, progress=False).model


def similarity(model, atoms):
    """Mean over planted atoms of the cosine to the nearest one that was learned."""
    return float((torch.nn.functional.normalize(model.atoms.detach(), dim=1) @ atoms.T).max(0).values.mean())


@pytest.mark.parametrize(
    ("config", "loss", "least"),
    [
        (sparse.Config(N_ATOMS, "topk", 3), None, 0.9),
        (sparse.Config(N_ATOMS, "batch_topk", 3), None, 0.9),
        (sparse.Config(N_ATOMS, "jump_relu"), losses.Config("l0", 0.1), 0.8),
        (sparse.Config(N_ATOMS, "relu"), losses.Config("l1", 0.1), 0.8),
        pytest.param(sparse.Config(N_ATOMS, "gated"), losses.Config("l1", 0.25), 0.8, marks=pytest.mark.slow),
        pytest.param(sparse.Config(N_ATOMS, "matching_pursuit", 3), None, 0.9, marks=pytest.mark.slow),
    ],
)
def test_planted_atoms_are_found(config, loss, least):
    atoms, values = planted()
    assert similarity(found(values, config, loss), atoms) > least


def test_atoms_are_not_found_in_data_of_equal_covariance_without_a_sparse_code():
    atoms, values = planted(sparse_code=False)
    assert similarity(found(values, sparse.Config(N_ATOMS, "topk", 3)), atoms) < 0.7


@pytest.mark.parametrize("means", ["aux", "resampling"])
def test_latents_too_small_to_be_chosen_are_brought_back(means, monkeypatch):
    begun = starting.begun

    def with_a_dead_half(model, start):
        with torch.no_grad():
            model.encoder[: N_ATOMS // 2] *= 0.02
        return begun(model, start)

    monkeypatch.setattr(starting, "begun", with_a_dead_half)
    values = planted()[1]

    def alive(**more):
        settings = sparse.FitConfig(n_steps=300, batch_size=256, lr=4e-3, dead_after=2000, **more)
        model = sparse.fit(values, sparse.Config(N_ATOMS, "topk", 3), settings, seed=0, progress=False).model
        code = model.encode(values)
        used = torch.bincount(code.latents[code.values > 0], minlength=N_ATOMS)
        return float((used > 10).float().mean())

    without = losses.Config(aux_weight=0.0)
    assert alive(loss=without) < 0.7
    assert alive(**({} if means == "aux" else {"loss": without, "resample_every": 100})) > 0.9
