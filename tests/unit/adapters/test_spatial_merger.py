"""Sensors merged by place: which sensors count, what training leaves out, and the subject's matrix in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import seeding
from braindec.adapters import spatial_merger
from braindec.adapters._moments import ridge_of_features
from braindec.maths.folds import folds_by_count
from braindec.types import SensorSpace, SubjectSignal

CONFIG = spatial_merger.Config(n_virtual=6, n_frequencies=4)


def signal(positions, n_times=20, subject=1):
    n = len(positions)
    space = SensorSpace(tuple(f"E{i}" for i in range(n)), positions, ("eeg",) * n)
    return SubjectSignal(subject, "eeg", (n, n_times), space, 100.0, 0.0)


def adapter(positions, config=CONFIG, shared=None, subject=1):
    with seeding.seeded(subject, "merger"):
        built = spatial_merger.build(signal(positions, subject=subject), config)
        built.attach(shared or spatial_merger.build_shared([], config))
    return built.eval()


@pytest.fixture
def positions():
    return np.random.default_rng(0).normal(size=(9, 3)) * 0.05 + [0, 0, 0.05]


def test_a_sensor_without_a_place_is_left_out(positions, generator):
    positions[4] = np.nan
    merger, x = adapter(positions), torch.randn(3, 9, 20, generator=generator)
    changed = x.clone()
    changed[:, 4] = 100.0
    assert torch.equal(merger(x), merger(changed))
    changed = x.clone()
    changed[:, 5] = 100.0
    assert not torch.allclose(merger(x), merger(changed))


def test_the_one_product_is_merging_and_then_the_subject_s_matrix(positions, generator):
    merger, x = adapter(positions), torch.randn(3, 9, 20, generator=generator)
    torch.testing.assert_close(merger(x), merger.matrix @ merger.merged(x), atol=1e-5, rtol=1e-5)


def test_features_are_cosines_and_sines_of_every_wave():
    place, found = np.array([0.3, 0.8]), []
    for part in (np.cos, np.sin):
        for across in range(3):
            for along in range(3):
                found.append(part(2 * np.pi * (across * (0.3 + 0.2) + along * (0.8 + 0.2)) / 1.4))
    made = spatial_merger.fourier_features(torch.from_numpy(place)[None], 3)
    np.testing.assert_allclose(made[0].numpy(), found, atol=1e-12)


def test_heads_are_flattened_from_above_into_the_unit_square():
    up, right, front = [0, 0, 0.1], [0.1, 0, 0], [0, 0.1, 0]
    left, back = [-0.1, 0, 0], [0, -0.1, 0]
    flat = spatial_merger.flattened(np.array([up, right, front, left, back, [np.nan] * 3], float))
    np.testing.assert_allclose(flat[:5], [[0.5, 0.5], [1, 0.5], [0.5, 1], [0, 0.5], [0.5, 0]], atol=1e-12)
    assert np.isnan(flat[5]).all()
    forty_five = spatial_merger.flattened(np.array([up, right, left, front, back, [0.1, 0, 0.1]], float))
    assert forty_five[5, 0] == pytest.approx(0.75)  # half the angle, half the distance from the middle


def test_training_leaves_out_the_sensors_near_a_random_point_and_never_all(positions):
    merger = adapter(positions).train()
    torch.manual_seed(0)
    drawn = torch.stack([merger._left_out() for _ in range(200)])
    assert 0 < drawn.float().mean() < 0.5
    assert not drawn.all(1).any()
    assert len(drawn.unique(dim=0)) > 5
    assert not merger.eval()._left_out().any()
    whole = adapter(positions, spatial_merger.Config(n_virtual=6, n_frequencies=4, drop_radius=1.0)).train()
    assert not torch.stack([whole._left_out() for _ in range(50)]).all(1).any()


def test_the_matrix_of_a_new_subject_is_found_from_pairs(positions, generator):
    old = adapter(positions)
    new = adapter(positions[::-1].copy(), shared=old.shared, subject=2)
    x = torch.randn(40, 9, 20, generator=generator)
    wanted = old(x).detach()
    assert new.start_from_pairs_(x.flip(1), wanted, folds_by_count(40, 5, generator))
    assert not new.training
    torch.testing.assert_close(new(x.flip(1)), wanted, atol=1e-3, rtol=1e-3)


def test_the_fit_without_intercept_is_least_squares_where_there_is_no_noise_and_shrinks_where_all_is(
    generator,
):
    x = torch.randn(30, 4, 11, generator=generator)
    truth = torch.randn(3, 4, generator=generator)
    folds = folds_by_count(30, 5, generator)
    found = ridge_of_features(lambda part: part, x, truth @ x, folds)
    torch.testing.assert_close(found.float(), truth, atol=1e-4, rtol=1e-4)
    noise = torch.randn(30, 3, 11, generator=generator)
    assert ridge_of_features(lambda part: part, x, noise, folds).abs().max() < 0.1


def test_a_subject_added_later_starts_as_the_mean_of_the_others(positions):
    first = adapter(positions)
    second = adapter(positions, shared=first.shared, subject=2)
    new = adapter(positions, shared=first.shared, subject=3)
    assert new.start_from_subjects_([first, second])
    torch.testing.assert_close(new.matrix, (first.matrix + second.matrix) / 2)


def test_sensors_of_no_known_place_are_refused_with_a_way_out(positions):
    with pytest.raises(ValueError, match="sensor_attention"):
        adapter(np.full((3, 3), np.nan))
