"""What a target sees of a picture, and maps of embeddings, against scipy, gratings and plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy import ndimage

from braindec import checks
from braindec.targets import pixels, tiny_openclip
from braindec.targets._views import LinearMap, View, as_array


def grating(cycles: float, height: int, width: int) -> np.ndarray:
    """Vertical stripes, `cycles` of them over the width."""
    wave = 127.5 + 100 * np.cos(2 * np.pi * cycles * (np.arange(width) + 0.5) / width)
    return np.repeat(np.broadcast_to(wave, (height, width))[..., None], 3, axis=2).round().astype(np.uint8)


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_a_blur_is_scipys_gaussian_with_mirrored_edges(rng, size):
    picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    sigma = 0.05 * min(size)
    expected = ndimage.gaussian_filter(picture.astype(float), (sigma, sigma, 0), mode="reflect", truncate=9)
    seen = View(blur=0.05).apply(picture)
    assert seen.dtype == np.uint8
    assert np.abs(seen - expected).max() <= 1.0  # half a grey level of rounding


def test_no_blur_and_no_limit_leave_the_picture_itself(rng):
    picture = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)
    assert View().apply(picture) is picture
    assert View().identity() == {} and View().label == ""


@pytest.mark.parametrize("shape", [(64, 64), (64, 128), (128, 64)])
def test_a_limit_takes_fine_stripes_out_and_leaves_coarse_ones(shape):
    per_side = min(shape) / shape[1]  # cycles per shorter side of one cycle over the width
    fine, coarse = grating(12 / per_side, *shape), grating(4 / per_side, *shape)
    view = View(low_pass=8.0)
    assert np.ptp(fine) > 150 and np.ptp(view.apply(fine)) <= 2
    assert np.abs(view.apply(coarse).astype(int) - coarse).max() <= 2


@pytest.mark.parametrize("given", [{"blur": -0.1}, {"blur": float("nan")}, {"low_pass": 0.0}])
def test_a_view_that_means_nothing_is_refused(given):
    with pytest.raises(ValueError):
        View(**given)


def test_a_blurred_target_is_the_target_of_blurred_pictures_in_a_space_of_its_own(rng):
    pictures = rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    plain, view = tiny_openclip.build(tiny_openclip.Config()), View(blur=0.06)
    blurred = tiny_openclip.build(tiny_openclip.Config(view=view))
    expected = plain.embed_images(np.stack([view.apply(p) for p in pictures]))
    np.testing.assert_array_equal(blurred.embed_images(pictures), expected)
    assert np.abs(expected - plain.embed_images(pictures)).max() > 0.01
    assert blurred.space == plain.space + "/blur-0.06"
    assert blurred.identity()["view"] == {"blur": 0.06, "low_pass": None}


def test_a_map_is_the_arithmetic_it_says(rng, tmp_path):
    x = rng.normal(size=(2, 5, 6)).astype(np.float32)
    parts = {"mean": (6,), "std": (6,), "weight": (6, 4), "bias": (4,)}
    values = {name: rng.uniform(0.5, 2, shape).astype(np.float32) for name, shape in parts.items()}
    save_file({k: torch.from_numpy(v) for k, v in values.items()}, tmp_path / "map.safetensors")
    found = LinearMap(tmp_path / "map.safetensors")(torch.from_numpy(x))
    expected = (x - values["mean"]) / values["std"] @ values["weight"] + values["bias"]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_scalars_and_missing_parts_of_a_map_are_allowed(rng, tmp_path):
    x = torch.from_numpy(rng.normal(size=(3, 1, 6)).astype(np.float32))
    save_file({"mean": torch.tensor(2.0), "std": torch.tensor(4.0)}, tmp_path / "map.safetensors")
    torch.testing.assert_close(LinearMap(tmp_path / "map.safetensors")(x), (x - 2) / 4)


@pytest.mark.parametrize(
    "content", [{"matrix": torch.eye(3)}, {"weight": torch.eye(5)}, {"std": torch.ones(5)}]
)
def test_a_map_of_another_space_or_form_is_refused(tmp_path, content):
    save_file(content, tmp_path / "map.safetensors")
    with pytest.raises(checks.DataFileError, match=r"map\.safetensors"):
        LinearMap(tmp_path / "map.safetensors")(torch.zeros(1, 1, 6))


def test_pictures_are_bytes_with_three_channels(rng):
    with pytest.raises(ValueError, match="axes"):
        as_array(np.zeros((4, 4), np.uint8))
    with pytest.raises(TypeError, match="uint8"):
        as_array(np.zeros((4, 4, 3), np.float32))
    assert pixels.build(pixels.Config()).identity().get("view") is None
