"""What projecting and naming voxels promises, by definition."""

from __future__ import annotations

import pytest
import torch

from braindec import encoding
from braindec.encoding import voxel_captions

F64 = torch.float64


def drawn(generator, n_pictures=40, n_features=6, n_voxels=5):
    pictures = torch.randn(n_pictures, n_features, generator=generator, dtype=F64)
    return torch.randn(n_features, n_voxels, generator=generator, dtype=F64), pictures


def test_the_projection_is_the_published_formula_voxel_by_voxel(generator):
    weights, pictures = drawn(generator)
    found = encoding.project(weights, pictures, 7.0)
    for voxel, w in enumerate(weights.T):
        units = [x / x.norm() for x in pictures]
        share = torch.stack([7.0 * (w / w.norm()) @ u for u in units]).softmax(0)
        direction = sum(s * u for s, u in zip(share, units))
        length = sum(s * x.norm() for s, x in zip(share, pictures))
        assert torch.allclose(found[voxel], length * direction / direction.norm())


def test_a_high_temperature_gives_the_picture_nearest_by_angle_itself(generator):
    weights, pictures = drawn(generator)
    found = encoding.project(weights, pictures, 1e6)
    nearest = torch.nn.functional.normalize(pictures, dim=1) @ weights
    assert torch.allclose(found, pictures[nearest.argmax(0)])


def test_the_length_of_weights_does_not_matter_and_a_voxel_without_weights_prefers_nothing(generator):
    weights, pictures = drawn(generator)
    weights[:, 2] = 0
    texts = torch.randn(3, 6, generator=generator, dtype=F64)
    found = encoding.caption_voxels(weights, pictures, texts, "abc")
    assert torch.allclose(found.projected, encoding.project(3.5 * weights, pictures))
    assert found.projected[2].abs().max() == 0 and found.similarity[2].abs().max() == 0
    assert found.similarity.abs().max() <= 1


def test_voxels_are_projected_alike_in_blocks_of_any_size(generator, monkeypatch):
    weights, pictures = drawn(generator)
    whole = encoding.project(weights, pictures)
    monkeypatch.setattr(voxel_captions, "AT_ONCE", 80)
    assert torch.allclose(encoding.project(weights, pictures), whole)


def test_names_come_best_first_and_mistakes_are_named(generator, rng):
    weights, pictures = drawn(generator)
    texts = torch.randn(3, 6, generator=generator, dtype=F64)
    found = encoding.caption_voxels(weights, pictures, texts, "abc")
    assert [row[0] for row in found.nearest(3)] == ["abc"[i] for i in found.similarity.argmax(1)]
    with pytest.raises(ValueError, match="temperature must be above 0"):
        encoding.project(weights, pictures, 0.0)
    with pytest.raises(ValueError, match="axis 'name'"):
        encoding.caption_voxels(weights, pictures, texts, "ab")
    with pytest.raises(ValueError, match="axis 'feature'"):
        encoding.caption_voxels(weights, pictures[:, :5], texts, "abc")
    with pytest.raises(ValueError, match="true name must be one of"):
        encoding.score_names(found, "abcdz", 9, rng)


def test_names_are_compared_about_the_means_of_pictures_and_of_texts(generator):
    weights, pictures = drawn(generator)
    pictures, texts = pictures + 5.0, torch.randn(3, 6, generator=generator, dtype=F64)
    found = encoding.caption_voxels(weights, pictures, texts, "abc")
    a, b = found.projected - pictures.mean(0), texts - texts.mean(0)
    expected = (a @ b.T) / a.norm(dim=1)[:, None] / b.norm(dim=1)
    assert torch.allclose(found.similarity, expected)
    moved = encoding.caption_voxels(weights, pictures, texts + 7.0, "abc")  # the cone that texts lie in
    assert torch.allclose(moved.similarity, expected)


@pytest.mark.parametrize("unit", [1e-6, 1e-13, 1e-20], ids=["V", "T", "smaller"])
def test_weights_of_volts_and_teslas_are_named_as_they_are_without_units(generator, unit):
    weights, pictures = (x.float() for x in drawn(generator))
    texts = torch.randn(3, 6, generator=generator)
    plain = encoding.caption_voxels(weights, pictures, texts, "abc", temperature=10.0)
    small = encoding.caption_voxels(unit * weights, pictures, texts, "abc", temperature=10.0)
    torch.testing.assert_close(small.similarity, plain.similarity, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("seed", range(16))
def test_null_voxels_that_prefer_the_same_picture_are_ties(seed):
    """Their similarity is one number, which sums of other lengths and orders round differently."""
    generator = torch.Generator().manual_seed(seed)
    picture, texts = torch.randn(512, generator=generator), torch.randn(30, 512, generator=generator)
    weights, null = (torch.randn(512, n, generator=generator) for n in (33, 19))
    weights, null = (x * (picture @ x).sign() for x in (weights, null))  # all on the picture's side
    names = [f"name {i}" for i in range(30)]
    pictures = torch.stack([picture, -picture])
    found = encoding.caption_voxels(weights, pictures, texts, names, null_weights=null, temperature=1e4)
    assert (found.p == 1).all()
