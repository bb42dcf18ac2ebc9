"""Baselines: each is what its library makes, and all are judged by the call that judges autoencoders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from braindec.checks import ConfigError
from braindec.sparse import baselines, measures


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(0)
    code = torch.rand(600, 10, generator=generator) ** 4
    mixed = code @ torch.randn(10, 12, generator=generator)
    return (mixed + 0.1 * torch.randn(600, 12, generator=generator) + 3).double()


@pytest.mark.parametrize("name", baselines.NAMES)
def test_every_baseline_is_judged_by_the_same_call(inputs, name):
    model = baselines.fit(name, inputs, 8, seed=0)
    found = measures.measure(model, inputs)
    assert model.n_latents == (12 if name == "raw" else 8)
    assert found.fvu < {"random": 0.9, "kmeans": 0.9, "raw": 1e-9}.get(name, 0.4)
    assert model.pre_activations(inputs).shape == (600, model.n_latents)
    assert model.atoms.dtype == torch.float64
    again = baselines.fit(name, inputs, 8, seed=0)
    assert torch.equal(model.atoms, again.atoms)
    if name != "kmeans":
        sparser = measures.measure(baselines.fit(name, inputs, 8, seed=0, n_active=2), inputs)
        assert sparser.l0 <= 2 + 1e-9
        assert sparser.fvu > found.fvu


def test_pca_rebuilds_as_sklearns(inputs):
    model = baselines.fit("pca", inputs, 5, seed=0)
    made = PCA(5).fit(inputs.numpy())
    expected = made.inverse_transform(made.transform(inputs.numpy()))
    np.testing.assert_allclose(model.decode(model.encode(inputs)), expected, atol=1e-8)


def test_kmeans_gives_one_latent_that_of_the_nearest_centre(inputs):
    model = baselines.fit("kmeans", inputs, 6, seed=3)
    code = model.encode(inputs).dense()
    centres = model.atoms + model.bias
    assert torch.equal(code.argmax(1), torch.cdist(inputs, centres).argmin(1))
    assert (code.sum(1) == 1).all()
    inertia = (inputs - model.decode(model.encode(inputs))).square().sum()
    assert float(inertia) < 1.1 * KMeans(6, n_init=10, random_state=0).fit(inputs.numpy()).inertia_


def test_nonnegative_weights_are_scipys(inputs, generator):
    atoms = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    found = baselines.nonnegative(inputs[:20], atoms)
    expected = [nnls(atoms.T.numpy(), x.numpy())[0] for x in inputs[:20]]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_signs_of_pca_and_ica_are_those_of_rare_features(inputs):
    for name in ("pca", "ica"):
        values = baselines.fit(name, inputs, 6, seed=0).pre_activations(inputs)
        assert (values.pow(3).mean(0) > 0).all()


@pytest.mark.parametrize("name", ["nmf", "kmeans", "random"])
def test_there_may_be_more_latents_than_dims(inputs, name):
    assert baselines.fit(name, inputs, 30, seed=0).atoms.shape == (30, 12)


def test_what_does_not_suit_is_refused(inputs):
    with pytest.raises(ConfigError, match="at most 12 latents"):
        baselines.fit("ica", inputs, 13, seed=0)
    with pytest.raises(ConfigError, match="must be one of"):
        baselines.fit("pcaa", inputs, 3, seed=0)
