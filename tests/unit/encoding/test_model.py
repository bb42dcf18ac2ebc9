"""What an encoding model promises besides its numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import checks, encoding
from braindec.maths import folds as fold_rules
from braindec.types import SensorSpace, VoxelSpace


def data(generator, n=40, p=5, q=6):
    return torch.randn(n, p, generator=generator), torch.randn(n, q, generator=generator)


def spaces():
    mask = np.zeros((3, 3, 2), dtype=bool)
    mask[0] = True
    regions = {"V1": np.arange(6) < 2}
    sensors = SensorSpace(tuple("abcdef"), np.full((6, 3), np.nan), ("eeg",) * 6)
    return VoxelSpace(mask, np.eye(4), regions), sensors, None


@pytest.mark.parametrize("which", range(3))
def test_a_saved_model_comes_back_equal_to_the_bit_with_its_place(generator, tmp_path, which):
    space = spaces()[which]
    model = encoding.fit(*data(generator), space=space, about={"features": "pixels", "delays": [1, 2]})
    back = encoding.VoxelwiseEncoding.load(model.save(tmp_path / "model.h5"))
    for name in ("weights", "intercept", "alpha", "cv_score"):
        assert torch.equal(getattr(back, name), getattr(model, name))
    assert (back.score, back.n, dict(back.about)) == ("r2", 40, {"features": "pixels", "delays": [1, 2]})
    assert type(back.space) is type(space)
    if which == 0:
        assert np.array_equal(back.space.mask, space.mask)
        assert np.array_equal(back.space.regions["V1"], space.regions["V1"])


def test_another_file_or_a_damaged_one_is_refused(generator, tmp_path):
    path = encoding.fit(*data(generator)).save(tmp_path / "model.h5")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.h5").write_bytes(content)
    with pytest.raises(checks.DataFileError):
        encoding.VoxelwiseEncoding.load(tmp_path / "damaged.h5")
    with pytest.raises(FileNotFoundError):
        encoding.VoxelwiseEncoding.load(tmp_path / "none.h5")


def test_responses_on_disk_give_the_same_model_as_in_memory(generator, tmp_path, monkeypatch):
    x, y = data(generator)
    np.save(tmp_path / "y.npy", y.numpy())
    monkeypatch.setattr(encoding.voxelwise, "VOXELS_AT_ONCE", 4)
    mapped = encoding.fit(x, np.load(tmp_path / "y.npy", mmap_mode="r"))
    whole = encoding.fit(x, y)
    torch.testing.assert_close(mapped.weights, whole.weights)
    torch.testing.assert_close(mapped.cv_score, whole.cv_score)


def test_voxels_are_independent_of_each_other_and_can_be_taken(generator):
    x, y = (t.double() for t in data(generator))
    whole = encoding.fit(x, y)
    torch.testing.assert_close(whole.take(torch.tensor([3])).weights, encoding.fit(x, y[:, 3:4]).weights)


def test_refusals_name_the_axis(generator):
    x, y = data(generator)
    model = encoding.fit(x, y)
    with pytest.raises(ValueError, match="along axis 'sample'"):
        encoding.fit(x[1:], y)
    with pytest.raises(ValueError, match="along axis 'feature'"):
        model.predict(x[:, 1:])
    with pytest.raises(ValueError, match="responses holds"):
        encoding.fit(x, y * float("nan"))
    with pytest.raises(ValueError, match="delays"):
        encoding.delayed(x, [1, 1])
    with pytest.raises(ValueError, match="number of feature spaces"):
        encoding.partition_variance({"a": x}, y, {"a": x}, y)


def test_a_gap_is_kept_on_both_sides_and_within_the_run():
    runs = np.repeat([0, 1], 10)
    (first, second) = fold_rules.folds_by_block(20, 2, 2, runs)
    assert first.test.tolist() == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert first.train.tolist() == [7, 8, 9, 17, 18, 19]
    assert second.train.tolist() == [0, 1, 2, 10, 11, 12]
    with pytest.raises(ValueError, match="nothing to learn from"):
        fold_rules.folds_by_block(10, 2, 10)


def test_shares_of_the_ceiling_are_given_only_where_training_data_repeat():
    score, ceiling = torch.tensor([0.4, 0.9, 0.1]), torch.tensor([0.8, 0.8, 0.05])
    found = encoding.normalised(score, ceiling, torch.tensor([0.7, 0.75, 0.1]), 0.3)
    assert (found.n_kept, found.n_voxels) == (2, 3)
    assert found.values[:2].tolist() == pytest.approx([0.5, 1.125])  # not clipped
    assert torch.isnan(found.values[2])
    assert "2 of 3 voxels" in str(found)


def test_features_at_scans_are_interpolated_within_their_run():
    features = torch.arange(20.0)[:, None]
    runs = np.repeat([0, 1], 10)
    times = [torch.tensor([0.0, 0.5, 9.0]), torch.tensor([0.25, 99.0])]
    assert encoding.at_scans(features, 1.0, times, runs).flatten().tolist() == [0.0, 0.5, 9.0, 10.25, 19.0]


def test_scans_late_in_a_fast_recording_lie_between_its_samples():
    features = (torch.arange(7_200_000) % 2).float()[:, None]  # two hours at 1000 Hz: up, down, up, ...
    times = torch.tensor([7000.0004, 7100.0003], dtype=torch.float64)
    torch.testing.assert_close(
        encoding.at_scans(features, 1000.0, [times]).flatten(), torch.tensor([0.4, 0.3])
    )


def test_of_one_penalty_too_the_layer_that_predicts_is_chosen(generator):
    early, late = (torch.randn(120, 5, generator=generator) for _ in range(2))
    y = late @ torch.randn(5, 8, generator=generator) + 0.1 * torch.randn(120, 8, generator=generator)
    found = encoding.fit_layers({"early": early, "late": late}, y, alphas=(1.0,))
    assert found.chosen.tolist() == [1] * 8
    asked = encoding.fit_layers({"early": early, "late": late}, y, alphas=(1.0, 1e9))
    torch.testing.assert_close(found.cv_scores[1], asked.cv_scores[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_permutations_that_tie_with_the_observed_pairing_count_whatever_order_they_are_summed_in(rng, dtype):
    """Counts and classes: as integers, a tie is a tie."""
    a, b = rng.integers(0, 2, (12, 60)), rng.integers(0, 4, (12, 60))
    found = encoding.significance(
        torch.from_numpy(a).to(dtype), torch.from_numpy(b).to(dtype), 199, np.random.default_rng(1)
    )
    draw = np.random.default_rng(1)
    orders = [encoding.judging.moved(np.zeros(12, int), draw, "block", 1) for _ in range(199)]
    reached = sum((a[order] * b).sum(0) >= (a * b).sum(0) for order in orders)
    np.testing.assert_allclose(found.p, (reached + 1) / 200)


def test_the_largest_of_all_voxels_ties_with_itself_too(rng):
    a, b = rng.integers(0, 2, (10, 1)), rng.integers(0, 4, (10, 1))
    found = encoding.significance(*(torch.from_numpy(x).float() for x in (a, b)), 199, rng)
    np.testing.assert_array_equal(found.p_max, found.p)


def test_arrays_are_taken_where_tensors_are(rng):
    """Whatever a caller holds, and in whatever order of bytes: the same numbers."""
    x, y, new = rng.standard_normal((40, 5)), rng.standard_normal((40, 6)), rng.standard_normal((7, 5))
    gammas = np.array([[0.5, 0.5], [0.9, 0.1]])

    def seeded():
        return np.random.default_rng(0)

    def model(f):
        return encoding.fit(f(x), f(y))

    for function in (
        lambda f: model(f).weights,
        lambda f: model(f).predict(f(new)),
        lambda f: model(f).take(f(np.array([3, 1]))).weights,
        lambda f: encoding.fit_banded({"a": f(x[:, :2]), "b": f(x[:, 2:])}, f(y), gammas=f(gammas)).predict(
            {"a": f(new[:, :2]), "b": f(new[:, 2:])}
        ),
        lambda f: encoding.fit_fractional(f(x), f(y), (0.5,)).weights,
        lambda f: encoding.fit_layers({"a": f(x), "b": f(new[[0, 1] * 20])}, f(y), stacked=True).predict(
            {"a": f(new), "b": f(new)}
        ),
        lambda f: encoding.partition_variance(
            {"a": f(x), "b": f(x[:, :1])}, f(y), {"a": f(new), "b": f(new[:, :1])}, f(y[:7])
        ).unique("a"),
        lambda f: encoding.convolved(encoding.delayed(f(x), (0, 2)), f(np.array([1.0, 0.5]))),
        lambda f: encoding.at_scans(f(x), 1.0, [f(np.array([0.5, 2.0]))]),
        lambda f: encoding.undelayed(f(x.T[:4]), 2),
        lambda f: encoding.invert(model(f), f(y[::-1]), f(x)).decode(f(y[:3])),
        lambda f: encoding.invert(model(f), f(y), f(x), diagonal=True).log_likelihood(f(y[:3]), f(new)),
        lambda f: encoding.r2(f(y), f(y[::-1])),
        lambda f: encoding.correlation(f(y), f(y[::-1])),
        lambda f: encoding.product_measure(f(np.stack([y, y[::-1]])), f(y)),
        lambda f: encoding.normalised(f(x[0]), f(x[1]), f(x[2]), 0.1).values,
        lambda f: torch.from_numpy(encoding.significance(f(y), f(y[::-1]), 9, seeded()).p),
        lambda f: encoding.project(f(x.T), f(new)),
        lambda f: encoding.caption_voxels(f(x.T), f(new), f(new[:2]), ("a", "b"), null_weights=f(x.T)).p,
        lambda f: encoding.random_directions(f(new), 2, torch.Generator().manual_seed(0)),
        lambda f: encoding.stacking_weights(f(np.stack([y, y[::-1]]))),
    ):
        expected = function(lambda v: torch.from_numpy(np.ascontiguousarray(v)))
        for kind in (lambda v: v, lambda v: v.astype(v.dtype.newbyteorder(">"))):
            torch.testing.assert_close(function(kind), expected, equal_nan=True)
    with pytest.raises(TypeError, match="features must hold numbers"):
        encoding.fit(np.array([["a"]] * 40), y)
