"""The numbers of a dictionary against sklearn and against sums over the dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from braindec.sparse import Config, SparseAutoencoder, codes, dictionary, measures


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = SparseAutoencoder(6, Config(30, "relu")).eval()
    with torch.no_grad():
        model.encoder_bias.copy_(torch.linspace(-9, 1, 30))
    return model


@pytest.fixture
def inputs(generator):
    return torch.randn(500, 6, generator=generator) * torch.arange(1.0, 7) + 100.0


@pytest.mark.parametrize("block", [7, 4096])
def test_measures_are_those_of_the_dense_matrices(model, inputs, block):
    with torch.no_grad():
        model.bias.copy_(inputs.mean(0))
        code, rebuilt = model.encode(inputs).dense().numpy(), model(inputs).numpy()
    found = measures.measure(model, inputs, block=block, dense_from=0.3)
    x = inputs.numpy()
    assert found.fvu == pytest.approx(1 - r2_score(x, rebuilt, multioutput="variance_weighted"), rel=1e-4)
    assert found.fvu_mean_of_dims == pytest.approx(1 - r2_score(x, rebuilt), rel=1e-4)
    fires = (code != 0).mean(0)
    np.testing.assert_allclose(found.frequency, fires, atol=1e-12)
    assert found.l0 == pytest.approx((code != 0).sum(1).mean())
    assert (found.dead, found.dense) == ((fires == 0).mean(), (fires > 0.3).mean())
    assert 0 < found.dead < 1 and 0 < found.dense < 1
    norms = np.linalg.norm(x, axis=1), np.linalg.norm(rebuilt, axis=1)
    assert found.cosine == pytest.approx(((x * rebuilt).sum(1) / norms[0] / norms[1]).mean(), rel=1e-5)
    assert found.shrinkage == pytest.approx((norms[1] / norms[0]).mean(), rel=1e-5)
    assert found.bias == pytest.approx((norms[1] ** 2).mean() / (x * rebuilt).sum(1).mean(), rel=1e-5)
    edges, counts = found.histogram(10)
    assert counts.sum() == (fires > 0).sum() and len(edges) == 11


def test_a_large_mean_costs_no_digits(model, inputs):
    near, far = (measures.measure(model_at(model, inputs + c), inputs + c).fvu for c in (0.0, 1000.0))
    assert far == pytest.approx(near, rel=1e-3)


def model_at(model, inputs):
    with torch.no_grad():
        model.bias.copy_(inputs.mean(0))
    return model


def test_a_dim_that_never_varies_has_no_fvu_and_inputs_that_never_vary_are_refused(model, inputs):
    inputs[:, 2] = 5.0
    found = measures.measure(model, inputs)
    assert torch.isnan(found.fvu_dims).tolist() == [False, False, True, False, False, False]
    with pytest.raises(ValueError, match="do not vary"):
        measures.measure(model, torch.ones(10, 6))


def test_a_model_in_training_mode_is_refused(model, inputs):
    with pytest.raises(ValueError, match="training mode"):
        measures.measure(model.train(), inputs)


def test_a_dense_matrix_makes_the_code_that_makes_it_again(generator):
    dense = torch.randn(5, 9, generator=generator) * (torch.rand(5, 9, generator=generator) < 0.3)
    dense[2] = 0
    assert torch.equal(codes.from_dense(dense).dense(), dense)


def test_what_is_recovered_lies_between_ablation_and_the_inputs(inputs):
    target = inputs[:, 0]

    def effect(x):  # larger is worse
        return float((x[:, 0] - target).square().mean())

    half = inputs.mean(0) + 0.5 * (inputs - inputs.mean(0))
    found = measures.recovered(effect, inputs, half)
    assert found.over_mean == pytest.approx(
        0.75, abs=1e-5
    )  # half the amplitude leaves a quarter of the squares
    assert found.over_zero > found.over_mean
    assert measures.recovered(effect, inputs, inputs).over_mean == 1
    with pytest.raises(ValueError, match="nothing to recover"):
        _ = measures.recovered(lambda x: 1.0, inputs, half).over_zero


def test_codes_and_frequencies_by_block_are_those_of_all_at_once(model, inputs):
    torch.testing.assert_close(
        dictionary.activations(model, inputs, block=13), model.encode(inputs).dense().detach()
    )
    by_block = dictionary.frequencies(model, inputs, block=13)
    assert torch.equal(by_block, dictionary.frequencies(model, inputs))


def test_every_latent_stands_in_the_histogram_whatever_the_lowest_frequency():
    for lowest in torch.logspace(-6, -1, 100, dtype=torch.float64).tolist():
        frequency = torch.tensor([0.0, 0.5 * lowest, lowest, 0.5, 1.0], dtype=torch.float64)
        found = measures.Measures(1, 0.0, frequency, 0.0, frequency, 0.0, 0.0, 0.0, 0.0, 0.0)
        assert int(found.histogram(20, lowest)[1].sum()) == 4, lowest
