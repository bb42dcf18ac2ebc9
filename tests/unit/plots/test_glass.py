"""The whole brain in one look: where a value lies is where it is seen."""

from __future__ import annotations

import numpy as np

from braindec.plots import glass


def test_projections_show_the_value_farthest_from_zero_and_leave_out_what_is_not_known():
    volume = np.full((2, 3, 2), np.nan)
    volume[0, 0, 0], volume[1, 0, 0], volume[0, 1, 1] = -3.0, 2.0, 0.5
    seen = glass._farthest(volume, 0)
    assert seen[0, 0] == -3.0 and seen[1, 1] == 0.5
    assert np.isnan(seen[2, 0])


def test_axes_are_turned_to_right_front_up():
    volume = np.arange(24).reshape(2, 3, 4)
    affine = np.zeros((4, 4))
    affine[1, 0], affine[0, 1], affine[2, 2] = 2.0, -2.0, 2.0  # first axis to the front, second to the left
    turned = glass._to_ras(volume, affine)
    assert turned.shape == (3, 2, 4)
    assert turned[2, 1, 3] == volume[1, 0, 3]


def test_voxels_are_as_tall_as_they_are_in_the_brain():
    """Slices of 4 mm, stored first, of pixels of 2 mm."""
    affine = np.array([[0, 2.0, 0, 0], [0, 0, -2.0, 0], [4.0, 0, 0, 0], [0, 0, 0, 1]])
    assert [glass._tall(affine, axis) for axis in range(3)] == [2.0, 2.0, 1.0]


def test_a_glass_brain_and_a_flat_map_are_drawn(rng):
    mask = rng.random((6, 7, 5)) < 0.5
    drawn = glass.glass_brain(
        mask, rng.standard_normal(mask.sum()), np.diag([-2.0, 2, 2, 1]), label="r", symmetric=True
    )
    assert drawn.startswith("<svg") and "from above" in drawn
    vertices = np.arange(2000)
    flat = glass.flat_map(vertices, vertices[:100], rng.standard_normal(2100), label="r")
    assert flat[:8] == b"\x89PNG\r\n\x1a\n"
