"""Fields of solids: distances, points, meshes and views of balls and boxes, whose surfaces are known."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.maths import solids


def place(side):
    axis = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)


def ball(side=32, radius=0.3, centre=(0.5, 0.5, 0.5)):
    """Exact signed distance of a ball."""
    return radius - np.linalg.norm(place(side) - np.array(centre), axis=-1)


@pytest.fixture
def box():
    """A box from 0.25 to 0.75 along x, 0.375 to 0.625 along y and z, as a grid of 16."""
    grid = np.zeros((16, 16, 16), dtype=bool)
    grid[4:12, 6:10, 6:10] = True
    return grid


def test_distances_of_a_voxelised_ball_are_those_of_the_ball_within_a_voxel():
    exact = ball()
    found = solids.signed_distance(exact > 0, reach=1.0)
    assert np.abs(found - exact).max() < 1.0 / 32
    assert np.array_equal(found > 0, exact > 0)


def test_distances_are_cut_at_their_reach(box):
    assert solids.signed_distance(box, reach=0.1).min() == np.float32(-0.1)


@pytest.mark.parametrize("fill", [False, True])
def test_a_grid_without_a_surface_is_refused(fill):
    with pytest.raises(ValueError, match="full" if fill else "empty"):
        solids.signed_distance(np.full((4, 4, 4), fill))


def test_a_grid_that_is_no_cube_is_refused():
    with pytest.raises(ValueError, match="cubic"):
        solids.signed_distance(np.zeros((4, 4, 5), dtype=bool))


def test_points_of_a_ball_lie_on_it_and_evenly(rng):
    points = solids.surface_points(ball(), 20_000, rng) - 0.5
    radius = np.linalg.norm(points, axis=1)
    assert np.abs(radius - 0.3).max() < 0.01
    corners = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]) / np.sqrt(3)
    axes = np.concatenate([np.eye(3), -np.eye(3)])
    along = points / radius[:, None]
    # Grid lines cross the surface more often where it faces a corner.
    across, between = ((along @ d.T > 0.9).mean() for d in (axes, corners))
    assert between == pytest.approx(across, rel=0.2)
    assert across == pytest.approx((1 - 0.9) / 2, rel=0.2)


def test_a_field_without_an_inside_has_its_points_where_it_is_highest(rng):
    points = solids.surface_points(ball(16, 0.0, (0.28125, 0.5, 0.78125)) - 0.2, 5, rng)
    assert np.abs(points - [0.28125, 0.5, 0.78125]).max() < 1 / 16
    assert np.ptp(points, axis=0).max() == 0


def volume_and_area(mesh):
    corners = mesh.vertices[mesh.triangles]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return (corners[:, 0] * across).sum() / 6, np.linalg.norm(across, axis=1).sum() / 2


def test_a_mesh_has_the_volume_and_area_of_its_ball_and_faces_outwards():
    volume, area = volume_and_area(solids.mesh(ball()))
    assert volume == pytest.approx(4 / 3 * np.pi * 0.3**3, rel=0.02)
    assert area == pytest.approx(4 * np.pi * 0.3**2, rel=0.02)


def test_a_mesh_has_no_hole_even_at_the_border():
    half = ball(16, 0.4, (0.0, 0.5, 0.5))  # cut by the border
    triangles = solids.mesh(half).triangles
    edges = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1
    )
    assert set(np.unique(edges, axis=0, return_counts=True)[1].tolist()) == {2}


def test_a_mesh_encloses_what_marching_cubes_encloses():
    measure = pytest.importorskip("skimage.measure")
    field = np.maximum(ball(24, 0.2, (0.4, 0.5, 0.5)), ball(24, 0.15, (0.62, 0.55, 0.5)))
    vertices, faces, *_ = measure.marching_cubes(field, 0.0)
    theirs = solids.Mesh((vertices + 0.5) / 24, faces)
    ours = solids.mesh(field)
    assert volume_and_area(ours)[0] == pytest.approx(abs(volume_and_area(theirs)[0]), rel=0.03)
    assert np.abs(ours.vertices.mean(0) - theirs.vertices.mean(0)).max() < 0.02


def covered(pictures):
    return (pictures < 255).any(-1)


def test_a_ball_is_a_disc_of_its_size_from_everywhere():
    found = covered(solids.views(ball()[None], (0.0, 77.0), side=64))
    disc = np.pi * 0.3**2 / (2 * solids.HALF_WIDTH) ** 2
    assert found.mean((2, 3)) == pytest.approx(disc, rel=0.04)


def test_the_camera_goes_round_counterclockwise_and_looks_along_y_at_first(box):
    field = solids.signed_distance(box)[None]
    front, side = covered(solids.views(field, (0.0, 90.0), side=62, tilt=0.0))[0]
    pixels = 62 / (2 * solids.HALF_WIDTH)
    assert front.any(0).sum() == pytest.approx(0.5 * pixels, abs=2.5)
    assert side.any(0).sum() == pytest.approx(0.25 * pixels, abs=2.5)
    off = solids.signed_distance(np.roll(box, 3, axis=0))[None]  # moved to the right
    columns = covered(solids.views(off, (0.0,), side=62, tilt=0.0))[0, 0].any(0)
    assert np.flatnonzero(columns).mean() > 31 + 3
    high = solids.signed_distance(np.roll(box, 3, axis=2))[None]  # moved up
    rows = covered(solids.views(high, (0.0,), side=62, tilt=0.0))[0, 0].any(1)
    assert np.flatnonzero(rows).mean() < 31 - 3
    near = solids.signed_distance(np.roll(box, -4, axis=1))[
        None
    ]  # moved towards who looks, seen from the right
    columns = covered(solids.views(near, (90.0,), side=62, tilt=0.0))[0, 0].any(0)
    assert np.flatnonzero(columns).mean() < 31 - 3


def test_light_comes_from_above():
    picture = solids.views(ball()[None], (0.0,), side=64)[0, 0, ..., 0].astype(int)
    assert picture[20, 32] > picture[44, 32] + 20
