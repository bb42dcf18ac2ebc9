"""Objects in files and generated ones: grids read as they were written, parts as large as they say, views answered."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks
from braindec.data import solid_files, solid_miniature
from braindec.data.solid_files import SolidFiles
from braindec.data.solid_miniature import BOX, ROD, ROUND, Part
from braindec.maths.solids import Mesh


@pytest.fixture
def cube():
    grid = np.zeros((8, 8, 8), dtype=bool)
    grid[1:3, 2:6, 4:7] = True
    return grid


def share_inside(part, n=48):
    """Share of the box around a part that it takes."""
    axis = (np.arange(n) + 0.5) / n * 2 - 1
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1) * part.radii + part.centre
    return part.holds(points).mean()


@pytest.mark.parametrize(
    ("exponents", "axis", "taper", "share"),
    [
        (ROUND, 2, 0.0, np.pi / 6),  # an ellipsoid in its box
        (BOX, 2, 0.0, 1.0),
        (ROD, 0, 0.0, np.pi / 4),  # a cylinder
        (ROD, 2, 0.5, np.pi / 4 * (1 + 0.5 + 0.25) / 3),  # a frustum whose end is half as wide
    ],
)
def test_parts_take_the_room_of_their_solids(exponents, axis, taper, share):
    part = Part((0.1, -0.2, 0.3), (0.5, 0.2, 0.8), exponents, axis, taper)
    assert share_inside(part) == pytest.approx(share, abs=0.05)


def test_an_object_fills_its_cube_up_to_the_margin(rng):
    for kind in solid_miniature.KINDS:
        where = np.argwhere(solid_miniature.draw(kind, 24, rng))
        extent = (np.ptp(where, axis=0) + 1) / 24
        assert extent.max() == pytest.approx(1 - 2 * solid_miniature.MARGIN, abs=0.1), kind
        assert where.min() >= 1 and where.max() <= 22


def test_no_two_draws_of_a_kind_are_equal_and_a_seed_repeats_them():
    first, second = (solid_miniature.draw("chair", 16, np.random.default_rng(s)) for s in (0, 1))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, solid_miniature.draw("chair", 16, np.random.default_rng(0)))
    with pytest.raises(checks.ConfigError, match="chair"):
        solid_miniature.draw("chairs", 16, np.random.default_rng(0))


def test_responses_are_the_objects_views_and_noise_of_the_size_asked_for(rng):
    grids = np.stack([solid_miniature.draw(k, 16, rng) for k in ("car", "car", "lamp", "table")])
    grids[1] = grids[0]
    clean = solid_miniature.responses(grids, 4, 50, np.random.default_rng(5), noise=0.0)
    noisy = solid_miniature.responses(grids, 4, 50, np.random.default_rng(5), noise=2.0)
    assert clean.shape == (4, 4, 50)
    assert np.array_equal(clean[0], clean[1]) and not np.allclose(clean[0], clean[2], atol=0.1)
    assert (noisy - clean).std() == pytest.approx(2.0, rel=0.1)
    assert not np.allclose(clean[0, 0], clean[0, 1], atol=0.1)  # another side of the same object


def test_grids_are_read_by_id_and_brought_to_a_side(tmp_path, cube):
    (tmp_path / "chair").mkdir()
    np.save(tmp_path / "chair" / "a.npy", cube)
    np.save(tmp_path / "b.npy", np.roll(cube, 1, 0).astype(np.uint8))
    files = SolidFiles.of(tmp_path, 8)
    assert set(files.ids) == {"a", "b"}
    assert np.array_equal(files.grids(["b", "a"]), [np.roll(cube, 1, 0), cube])
    finer = SolidFiles.of(tmp_path, 16).grids(["a"])[0]
    assert np.array_equal(solid_files.resized(finer, 8), cube)
    before = files.content()
    np.save(tmp_path / "b.npy", cube)
    assert files.content() != before


def test_a_coarser_voxel_is_inside_where_half_of_it_was():
    fine = np.zeros((4, 4, 4), dtype=bool)
    fine[:2, :2, :1] = True  # half of one coarse voxel
    fine[2:, 2:, 3] = True
    fine[2, 2, 3] = False  # three eighths of another
    assert np.argwhere(solid_files.resized(fine, 2)).tolist() == [[0, 0, 0]]


def binvox(grid):
    """A file's bytes: x, then z towards who looks, then y, which is up; runs of at most 255."""
    stored = grid[:, ::-1].ravel()
    pairs = bytearray()
    i = 0
    while i < len(stored):
        n = 1
        while n < 255 and i + n < len(stored) and stored[i + n] == stored[i]:
            n += 1
        pairs += bytes([int(stored[i]), n])
        i += n
    return b"#binvox 1\ndim %d %d %d\ntranslate 0 0 0\nscale 1\ndata\n" % grid.shape + bytes(pairs)


def test_binvox_of_shapenet_is_read_under_its_object_and_its_hollow_twin_is_not(tmp_path, cube):
    models = tmp_path / "03001627" / "1a2b" / "models"
    models.mkdir(parents=True)
    (models / "model_normalized.solid.binvox").write_bytes(binvox(cube))
    (models / "model_normalized.surface.binvox").write_bytes(binvox(~cube))
    files = SolidFiles.of(tmp_path, 8)
    assert files.ids == ("1a2b",) and np.array_equal(files.grids()[0], cube)


def test_damaged_files_are_refused_by_name(tmp_path, cube):
    path = tmp_path / "a.binvox"
    whole = binvox(cube)
    for damaged in (
        b"",
        whole[:-1],
        whole[:-2],
        whole.replace(b"dim 8", b"dim 9"),
        whole.replace(b"#bin", b"#bon"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(checks.DataFileError, match=r"a\.binvox"):
            solid_files.read_binvox(path)
    path.unlink()
    for wrong in (np.zeros((4, 4)), np.full((4, 4, 4), 2), np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4))):
        np.save(tmp_path / "a.npy", wrong)
        with pytest.raises(checks.DataFileError, match=r"a\.npy"):
            SolidFiles.of(tmp_path, 4).grids()


def test_absent_and_doubled_objects_are_refused(tmp_path, cube):
    with pytest.raises(FileNotFoundError, match="voxels"):
        SolidFiles.of(tmp_path / "none", 8)
    np.save(tmp_path / "a.npy", cube)
    with pytest.raises(FileNotFoundError, match="lacks 1 of 2 objects, first 'b'"):
        SolidFiles.of(tmp_path, 8, ["a", "b"])
    (tmp_path / "again").mkdir()
    np.save(tmp_path / "again" / "a.npy", cube)
    with pytest.raises(checks.DataFileError, match="second file"):
        SolidFiles.of(tmp_path, 8)


def test_a_written_surface_has_its_vertices_and_triangles(tmp_path):
    mesh = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))
    lines = solid_files.write_ply(tmp_path / "new" / "a.ply", mesh).read_text().splitlines()
    assert lines[0] == "ply" and "element vertex 3" in lines and "element face 1" in lines
    assert [float(v) for v in lines[-3].split()] == [1, 0, 0] and lines[-1] == "3 0 1 2"


@pytest.mark.parametrize(
    "content", [b"", b"\ndata\n", b"#binvox 1\ndim 2 2\ndata\n", b"#binvox 1\ndim 9e9 9e9 9e9\ndata\n"]
)
def test_a_file_that_only_looks_like_binvox_is_refused(tmp_path, content):
    (tmp_path / "a.binvox").write_bytes(content)
    with pytest.raises(checks.DataFileError, match=r"a\.binvox"):
        solid_files.read_binvox(tmp_path / "a.binvox")
