"""Planted encoding models are found, and nothing is found where nothing was planted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import encoding
from braindec.maths import folds as fold_rules
from braindec.maths import ridge


def world(generator, n=400, p=20, q=30, noise=2.0):
    x = torch.randn(n, p, generator=generator)
    weights = torch.randn(p, q, generator=generator)
    weights[:, q // 2 :] = 0  # the second half of the voxels sees nothing
    return x, x @ weights + noise * torch.randn(n, q, generator=generator), weights


def halves(*tensors):
    return [t[: len(t) // 2] for t in tensors], [t[len(t) // 2 :] for t in tensors]


def test_planted_weights_are_found_and_silent_voxels_stay_silent(generator):
    x, y, weights = world(generator, n=2000)
    model = encoding.fit(x, y)
    found = torch.corrcoef(torch.stack([model.weights[:, :15].flatten(), weights[:, :15].flatten()]))[0, 1]
    assert found > 0.99
    assert model.weights[:, 15:].abs().max() < 0.2
    assert (model.cv_score[:15] > 0.5).all() and model.cv_score[15:].abs().max() < 0.02


def test_the_tests_name_the_voxels_that_see_and_no_other(generator, rng):
    (x, y), (x_test, y_test) = halves(*world(generator)[:2])
    made = encoding.fit(x, y).predict(x_test)
    found = encoding.significance(made, y_test, 199, rng)
    assert (found.p_max[:15] <= 0.01).all() and (found.p_fdr[:15] <= 0.01).all()
    assert (found.p_max[15:] > 0.05).all()
    assert np.abs(found.null_mean).max() < 0.05


@pytest.mark.parametrize("shift", ["circular", "block"])
def test_slow_noise_is_no_finding_when_samples_are_moved_together(generator, rng, shift):
    kernel = torch.ones(1, 1, 12)
    slow = torch.nn.functional.conv1d(torch.randn(80, 1, 411, generator=generator), kernel)[:, 0].T
    prediction, truth = slow[:, :40], slow[:, 40:]
    runs = np.repeat([0, 1], 200)
    kept = encoding.significance(prediction, truth, 99, rng, blocks=runs, shift=shift, block_length=20)
    naive = encoding.significance(prediction, truth, 99, rng)
    assert (kept.p < 0.05).mean() <= 0.15
    assert (naive.p < 0.05).mean() > 2 * (kept.p < 0.05).mean()


def test_a_delayed_response_is_found_at_its_delay_and_not_across_runs(generator):
    x = torch.randn(300, 3, generator=generator)
    runs = np.repeat([2, 0, 1], 100)
    y = encoding.delayed(x, [4], runs) @ torch.ones(3, 1) + 0.1 * torch.randn(300, 1, generator=generator)
    features = encoding.delayed(x, range(8), runs)
    rules = fold_rules.folds_by_block(300, 4, 8, runs)
    model = encoding.fit(features, y, folds=rules)
    lags = encoding.undelayed(model.weights, 8).norm(dim=(1, 2))
    assert int(lags.argmax()) == 4 and lags[4] > 10 * lags[[0, 1, 2, 3, 5, 6, 7]].max()
    assert encoding.delayed(x, [2], runs)[[0, 1, 100, 101, 200, 201]].abs().max() == 0


def test_convolved_features_predict_a_haemodynamic_response_that_plain_ones_miss(generator):
    events = (torch.rand(400, 4, generator=generator) < 0.05).float()
    runs = np.repeat([0, 1], 200)
    response = encoding.canonical_response(1.0)
    assert 4 <= int(response.argmax()) <= 6
    assert float(response.sum()) == pytest.approx(1)
    seen = encoding.convolved(events, response, runs)
    assert torch.equal(seen[200:], encoding.convolved(events[200:], response))
    y = seen @ torch.randn(4, 6, generator=generator) + 0.01 * torch.randn(400, 6, generator=generator)
    rules = fold_rules.folds_by_block(400, 4, 16, runs)
    assert (
        encoding.fit(seen, y, folds=rules).cv_score > encoding.fit(events, y, folds=rules).cv_score + 0.2
    ).all()


def test_variance_is_divided_as_it_was_planted(generator):
    n = 6000
    a, b, shared = torch.randn(3, n, 3, generator=generator)
    spaces = {"a": torch.cat([a, shared], 1), "b": torch.cat([b, shared], 1)}
    noise = torch.randn(n, 2, generator=generator)
    y = torch.stack([a.sum(1), b.sum(1) + shared.sum(1)], 1) + noise
    train = {k: v[: n // 2] for k, v in spaces.items()}
    test = {k: v[n // 2 :] for k, v in spaces.items()}
    found = encoding.partition_variance(train, y[: n // 2], test, y[n // 2 :])
    only_a, both = 3 / 4, 3 / 7  # of voxel 0's and voxel 1's variance
    assert found.unique("a")[0] == pytest.approx(only_a, abs=0.03)
    assert found.unique("b")[0] == pytest.approx(0, abs=0.01)
    assert found.unique("b")[1] == pytest.approx(3 / 7, abs=0.03)
    assert found.part("a", "b")[1] == pytest.approx(both, abs=0.05)
    torch.testing.assert_close(sum(found.parts().values()), found.r2["a", "b"])


def test_a_space_of_noise_has_negative_unique_variance_on_average(generator):
    x, y, _ = world(generator, n=200, noise=6.0)
    spaces = {"x": x, "noise": torch.randn(200, 60, generator=generator)}
    (xs, ys), (xt, yt) = halves(x, y)
    train = {k: v[:100] for k, v in spaces.items()}
    test = {k: v[100:] for k, v in spaces.items()}
    found = encoding.partition_variance(train, ys, test, yt, alphas=[1.0])
    assert found.unique("noise").mean() < 0
    assert len(xs) == len(xt) == 100


def test_parts_of_four_spaces_sum_to_the_whole(generator):
    x, y, _ = world(generator)
    spaces = dict(zip("abcd", x.split(5, 1)))
    found = encoding.partition_variance(spaces, y, spaces, y)
    assert len(found.parts()) == 15
    torch.testing.assert_close(sum(found.parts().values()), found.r2[tuple("abcd")], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.unique("c"), found.r2[tuple("abcd")] - found.r2[tuple("abd")])


def test_banded_ridge_finds_which_space_a_voxel_sees(generator):
    x, _, _ = world(generator)
    spaces = {"near": x[:, :10], "far": x[:, 10:]}
    y = torch.stack([x[:, :10].sum(1), x[:, 10:].sum(1)], 1) + 4 * torch.randn(400, 2, generator=generator)
    gammas = encoding.random_gammas(2, 15, generator)
    found = encoding.fit_banded(spaces, y, gammas=gammas)
    assert found.gamma[0, 0] > 0.9 and found.gamma[1, 1] > 0.9
    plain = encoding.fit(x, y)
    assert (found.model.cv_score >= plain.cv_score - 1e-3).all()
    split = found.predict_split(spaces)
    torch.testing.assert_close(
        split.sum(0) + found.model.intercept, found.predict(spaces), atol=1e-4, rtol=1e-4
    )


def test_every_voxel_gets_the_layer_it_was_made_from_and_stacking_mixes_two(generator):
    layers = {name: torch.randn(500, 8, generator=generator) for name in ("early", "middle", "late")}
    y = torch.stack(
        [layers["early"].sum(1), layers["late"].sum(1), layers["early"].sum(1) + layers["late"].sum(1)], 1
    )
    y = y + torch.randn(500, 3, generator=generator)
    train, test = ({k: v[part] for k, v in layers.items()} for part in (slice(300), slice(300, 500)))
    chosen = encoding.fit_layers(train, y[:300])
    assert [chosen.names[i] for i in chosen.chosen[:2]] == ["early", "late"]
    stacked = encoding.fit_layers(train, y[:300], stacked=True)
    assert stacked.shares[1].max() < 0.15
    assert encoding.r2(stacked.predict(test), y[300:])[2] > encoding.r2(chosen.predict(test), y[300:])[2]


def test_an_inverted_model_decodes_and_identifies_and_a_shuffled_one_does_not(generator):
    x, y, _ = world(generator, n=600, q=60, noise=1.0)
    train, test = slice(500), slice(500, 600)
    folds = fold_rules.folds_by_count(500, 5)
    for order, low, high in (
        (torch.arange(500), 0.9, 1.01),
        (torch.randperm(500, generator=generator), -1, 0.1),
    ):
        model = encoding.fit(x[train], y[train][order], folds=folds)
        factors = encoding.voxelwise.factorise(x[train], folds)
        left = y[train][order] - ridge.held_out_predictions(factors, y[train][order], model.alpha)
        inverted = encoding.invert(model, left, x[train])
        made = inverted.decode(y[test])
        close = torch.corrcoef(torch.stack([made.flatten(), x[test].flatten()]))[0, 1]
        hits = (inverted.log_likelihood(y[test], x[test]).argmax(1) == torch.arange(100)).float().mean()
        assert low < close < high and low < hits < high


def test_decoding_equals_the_formula_with_an_inverted_prior(generator):
    x, y, _ = world(generator, n=200, p=5, q=8)
    model = encoding.fit(x, y)
    inverted = encoding.invert(model, y - model.predict(x), x)
    w, prior = model.weights.double(), torch.linalg.inv(inverted.prior_covariance)
    left = y.double() - model.intercept - inverted.prior_mean @ w
    precise = torch.linalg.inv(prior + w @ inverted.precision @ w.T)
    expected = left @ (precise @ w @ inverted.precision).T + inverted.prior_mean
    torch.testing.assert_close(inverted.decode(y.double()), expected, atol=1e-6, rtol=1e-6)
