"""Feature banks: what they see, and that reduction gives uncorrelated features of unit variance."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.data.simulated import features, scenes
from braindec.data.simulated.rendering import render_all


@pytest.fixture(scope="module")
def drawn():
    found = scenes.sample_scenes(60, np.random.default_rng(0))
    return found, render_all(found)


def grating(wavelength: float, angle: float) -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    wave = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength)
    return np.repeat((127 + 100 * wave).astype(np.uint8)[..., None], 3, -1)


def test_gabor_energy_is_highest_for_the_filter_of_the_gratings_orientation_and_wavelength():
    pictures = np.stack([grating(w, np.pi * k / 4) for w in features.WAVELENGTHS_PX for k in range(4)])
    energy = features.gabor_features(pictures).reshape(12, 12, -1).mean(2)
    assert (energy.argmax(1) == np.arange(12)).all()


def test_gabor_energy_does_not_depend_on_the_phase_of_a_grating():
    picture = grating(8.0, 0.0)
    shifted = np.roll(picture, 2, axis=1)
    first, second = features.gabor_features(np.stack([picture, shifted])).reshape(2, 12, 4, 4)[..., 1:3, 1:3]
    assert first[4] == pytest.approx(second[4], rel=0.05)


def test_gabor_energy_of_a_blank_picture_is_zero():
    assert np.abs(features.gabor_features(np.full((2, 64, 64, 3), 90, np.uint8))).max() < 1e-5


def test_pixel_features_are_mean_colours_of_their_cells(drawn):
    _, images = drawn
    found = features.pixel_features(images).reshape(-1, 8, 8, 3)
    assert found[7, 2, 5] == pytest.approx(images[7, 16:24, 40:48].mean((0, 1)) / 255, abs=1e-5)


def test_factor_features_count_every_word_of_a_scene(drawn):
    found, _ = drawn
    table = features.factor_features(found)
    for scene, row in zip(found, table, strict=True):
        words = [w for o in scene.objects for w in (o.shape, o.colour, o.texture, o.size, o.place)]
        words += [len(scene.objects), scene.background, scene.pattern]
        expected = [words.count(w) for w in features.FACTOR_WORDS]
        assert row.tolist() == expected


def test_reduced_features_are_white_on_the_reference_and_not_on_other_data(rng):
    reference = {"pixels": rng.standard_normal((500, 30)) @ rng.standard_normal((30, 30))}
    fitted = features.fit_feature_map(reference, {"pixels": 12})
    found = fitted(reference)
    assert np.cov(found.T, bias=True) == pytest.approx(np.eye(12), abs=1e-3)
    other = fitted({"pixels": rng.standard_normal((500, 30))})
    assert np.abs(np.cov(other.T) - np.eye(12)).max() > 0.3


def test_a_bank_without_variance_gives_no_features():
    flat = {"pixels": np.full((50, 5), 0.5), "gabor": np.random.default_rng(0).standard_normal((50, 4))}
    fitted = features.fit_feature_map(flat, {"pixels": 3, "gabor": 2})
    assert fitted.banks.tolist() == ["gabor", "gabor"] and fitted.ranks.tolist() == [1, 2]


def test_network_banks_average_late_maps_onto_a_coarser_grid():
    maps = np.random.default_rng(0).random((3, 2 * 16)).astype(np.float32)
    layers = {"conv2": maps, "conv4": maps, "conv5": maps, "hidden": maps[:, :5]}
    found = features.network_banks(layers)
    assert found["network_early"].shape == (3, 32) and found["network_late"].shape == (3, 8 + 5)
    coarse = maps.reshape(3, 2, 4, 4)[:, 1, :2, 2:].mean((1, 2))
    ratio = found["network_mid"][:, 4 + 1] / coarse
    assert ratio == pytest.approx(ratio[0], rel=1e-4)
