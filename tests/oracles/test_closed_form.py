"""The closed-form encoder against dense algebra in numpy: reduced rank, penalties by block, several subjects, folds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.decoder import closed_form, rows
from braindec.decoder.fitting import SubjectSet
from braindec.maths import reduced_rank
from braindec.maths.factors import factorise
from braindec.maths.folds import folds_by_count
from braindec.maths.ridge import fit_ridge, held_out_predictions


def subject(rng, n, n_features, shape, on_disk=False):
    x = torch.from_numpy(rng.standard_normal((n, n_features)).astype(np.float32)) + 0.3
    mixing = rng.standard_normal((n_features, shape[0] * shape[1])) / n_features**0.5
    y = (x.numpy() @ mixing + 0.5 * rng.standard_normal((n, mixing.shape[1])) + 1.0).astype(np.float32)
    targets = torch.from_numpy(y).reshape(n, *shape)
    if on_disk:
        targets = rows.of_array(targets.numpy())
    return SubjectSet(x, {"main": targets}, torch.arange(n), tuple(str(i) for i in range(n)))


def dense(data, alphas, shape):
    """Ridge weights (p, q) with a penalty of each token, and the rows of the augmented fit, by numpy in float64."""
    x, y = data.signals.double().numpy(), data.targets["main"][:].flatten(1).double().numpy()
    x, y = x - x.mean(0), y - y.mean(0)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    weights, fitted = [], []
    for alpha, some in zip(alphas.tolist(), np.split(y, shape[0], 1), strict=True):
        ridge = (s / (s**2 + alpha))[:, None] * (u.T @ some)
        weights.append(vt.T @ ridge)
        fitted.append(np.sqrt(s**2 + alpha)[:, None] * ridge)
    return np.concatenate(weights, 1), np.concatenate(fitted, 1)


@pytest.mark.parametrize(("n", "n_features"), [(80, 12), (40, 90)])
@pytest.mark.parametrize("on_disk", [False, True])
def test_one_subject_is_the_reduced_rank_ridge_of_numpy(rng, n, n_features, on_disk):
    shape, rank = (3, 8), 5
    data = subject(rng, n, n_features, shape, on_disk)
    found = closed_form.solve({"a": data}, "main", rank, 0)
    weights, fitted = dense(data, found.alphas["a"], shape)
    leading = np.linalg.svd(fitted)[2][:rank]
    expected = weights @ leading.T @ leading
    made = (found.basis @ found.maps["a"][0]).T
    np.testing.assert_allclose(made, expected, atol=1e-5)
    x, y = data.signals.double().numpy(), data.targets["main"][:].flatten(1).double().numpy()
    bias = found.basis @ found.maps["a"][1] + found.mean
    np.testing.assert_allclose(bias, y.mean(0) - x.mean(0) @ expected, atol=1e-4)


def test_subjects_share_the_leading_directions_of_the_sum_of_their_fitted_covariances(rng):
    shape, rank = (2, 10), 4
    sets = {"a": subject(rng, 60, 9, shape), "b": subject(rng, 50, 70, shape)}
    found = closed_form.solve(sets, "main", rank, 0)
    pairs = {key: dense(data, found.alphas[key], shape) for key, data in sets.items()}
    total = sum(fitted.T @ fitted for _, fitted in pairs.values())
    leading = np.linalg.eigh(total)[1][:, -rank:]
    np.testing.assert_allclose(found.basis @ found.basis.T, leading @ leading.T, atol=1e-5)
    for key, (weights, _) in pairs.items():
        made = (found.basis @ found.maps[key][0]).T
        np.testing.assert_allclose(made, weights @ leading @ leading.T, atol=1e-5)


def test_at_full_rank_every_map_is_the_plain_ridge(rng):
    shape = (2, 3)
    data = subject(rng, 60, 8, shape)
    found = closed_form.solve({"a": data}, "main", 6, 0)
    y = data.targets["main"].flatten(1)
    for token, alpha in enumerate(found.alphas["a"].tolist()):
        some = slice(3 * token, 3 * token + 3)
        plain = fit_ridge(data.signals, y[:, some], [alpha])
        np.testing.assert_allclose(found.maps["a"][0][some].T, plain.weights, atol=1e-5)


def test_targets_beyond_memory_give_nearly_the_same_subspace(rng, monkeypatch):
    data = subject(rng, 120, 10, (4, 60), on_disk=True)
    exact = closed_form.solve({"a": data}, "main", 6, 0)
    monkeypatch.setattr(closed_form, "BLOCK_BYTES", 10_000)
    monkeypatch.setattr(
        closed_form,
        "leading_directions",
        lambda *args: reduced_rank.leading_directions(*args, exact_up_to=0),
    )
    found = closed_form.solve({"a": data}, "main", 6, 0)
    first, second = ((f.basis @ f.maps["a"][0]) for f in (exact, found))
    assert (first - second).norm() / first.norm() < 1e-4


@pytest.mark.parametrize(("n", "n_features"), [(60, 8), (30, 50), (40, 3)])
def test_left_out_predictions_are_those_of_ridges_fitted_without_the_fold(rng, n, n_features):
    x, y = (torch.from_numpy(rng.standard_normal((n, k))) for k in (n_features, 4))
    folds = folds_by_count(n, 3, torch.Generator().manual_seed(0))
    centred = x - x.mean(0)
    spectrum = reduced_rank.spectrum_of_kernel(centred @ centred.T)
    expected = held_out_predictions(factorise(x, folds), y, 2.0)
    torch.testing.assert_close(reduced_rank.left_out(spectrum, y, 2.0, folds), expected, atol=1e-8, rtol=0)


def test_penalties_are_large_where_signals_tell_nothing(rng):
    data = subject(rng, 100, 10, (2, 6))
    y = data.targets["main"].clone()
    y[:, 1] = torch.from_numpy(rng.standard_normal((100, 6)))
    y[:, 0] = data.signals @ torch.from_numpy(rng.standard_normal((10, 6)).astype(np.float32))
    found = closed_form.solve(
        {"a": SubjectSet(data.signals, {"main": y}, data.stimuli, data.units)}, "main", 4, 0
    )
    assert found.alphas["a"][0] < 10
    assert found.alphas["a"][1] > found.alphas["a"][0]
