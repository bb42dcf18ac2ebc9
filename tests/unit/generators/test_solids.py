"""The generator of solids: components against sklearn's, details that the network learns, and what it keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from braindec.generators._solids import Config, SolidGenerator

SIDE, SMALL = 8, Config(n_latents=3, n_components=12, width=32, n_steps=300, batch_size=32, lr=1e-2)


def balls(n, rng, radius=(0.15, 0.35), middle=(0.35, 0.65)):
    """Signed distances of balls: radius and place are four numbers, their fields bend in many directions."""
    axis = (np.arange(SIDE) + 0.5) / SIDE
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    r, centre = rng.uniform(*radius, (n, 1, 1, 1)), rng.uniform(*middle, (n, 1, 1, 1, 3))
    centre[..., 2] = 0.5  # three numbers are free
    return (r - np.linalg.norm(points - centre, axis=-1)).astype(np.float32)


@pytest.fixture(scope="module")
def fields():
    return balls(160, np.random.default_rng(0))


@pytest.fixture(scope="module")
def fitted(fields):
    return SolidGenerator(SMALL, SIDE).fit(fields)


def test_without_details_it_is_a_reconstruction_by_principal_components(fields, fitted):
    theirs = PCA(3, svd_solver="full").fit(fields.reshape(160, -1))
    expected = theirs.inverse_transform(theirs.transform(fields.reshape(160, -1)))
    found = fitted.decode(fitted.encode(fields), details=False).reshape(160, -1)
    assert np.abs(found - expected).max() < 1e-4


def test_distances_of_latents_are_those_of_fields_along_the_components(fields, fitted):
    latents = fitted.encode(fields)
    shown = fitted.decode(latents, details=False)
    a = np.linalg.norm(latents[0] - latents[1]) * float(fitted.scale)
    assert a == pytest.approx(np.linalg.norm(shown[0] - shown[1]), rel=1e-4)


def test_the_network_brings_new_objects_nearer_than_the_components_it_is_told(fitted):
    new = balls(40, np.random.default_rng(1))
    latents = fitted.encode(new)
    wrong = [((fitted.decode(latents, details=d) > 0) != (new > 0)).mean() for d in (True, False)]
    assert wrong[0] < 0.8 * wrong[1]


def test_a_latent_between_objects_that_share_no_room_is_still_an_object():
    apart = balls(60, np.random.default_rng(2), radius=(0.12, 0.16), middle=(0.47, 0.53))
    apart[::2] = np.roll(apart[::2], 2, axis=1)
    apart[1::2] = np.roll(apart[1::2], -2, axis=1)
    made = SolidGenerator(SMALL, SIDE).fit(apart)
    middle = np.zeros((1, 3), dtype=np.float32)
    sizes = (apart > 0).mean((1, 2, 3))
    assert not (made.decode(middle, details=False) > 0).any()
    assert 0.5 * sizes.min() < (made.decode(middle) > 0).mean() < 2 * sizes.max()


def test_details_of_shuffled_objects_bring_nothing(fields):
    wrong = SolidGenerator(SMALL, SIDE).fit(fields)
    with torch.no_grad():
        for layer in wrong.network:
            if isinstance(layer, torch.nn.Linear):
                layer.weight.copy_(
                    layer.weight[
                        torch.randperm(len(layer.weight), generator=torch.Generator().manual_seed(0))
                    ]
                )
    new = balls(40, np.random.default_rng(1))
    latents = wrong.encode(new)
    missed = [((wrong.decode(latents, details=d) > 0) != (new > 0)).mean() for d in (True, False)]
    assert missed[0] > missed[1]


def test_the_same_seed_gives_the_same_generator_and_it_is_kept_bit_by_bit(fields, fitted, tmp_path):
    assert SolidGenerator(SMALL, SIDE).fit(fields).content() == fitted.content()
    fitted.save(tmp_path)
    again = SolidGenerator.load(tmp_path)
    assert again.content() == fitted.content() and again.config == fitted.config
    z = fitted.encode(fields[:3])
    assert np.array_equal(again.decode(z), fitted.decode(z))


def test_wrong_input_is_refused(fields, fitted):
    with pytest.raises(ValueError, match="not fitted"):
        SolidGenerator(SMALL, SIDE).encode(fields)
    with pytest.raises(ValueError, match="number of objects"):
        SolidGenerator(SMALL, SIDE).fit(fields[:12])
    with pytest.raises(ValueError, match="voxels"):
        fitted.encode(np.zeros((2, 9, 9, 9)))
    with pytest.raises(ValueError, match="latent"):
        fitted.decode(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="n_components"):
        Config(n_latents=8, n_components=8)


def test_objects_that_occur_twice_leave_components_without_room_empty(rng):
    fields = rng.standard_normal((12, 6, 6, 6)).astype(np.float32)
    config = Config(n_latents=4, n_components=14, width=8, n_steps=2)
    made = SolidGenerator(config, 6).fit(np.concatenate([fields, fields[:6]]))
    lengths = made.components.norm(dim=1)
    np.testing.assert_allclose(lengths[:11], 1, atol=1e-4)  # twelve objects differ in eleven directions
    assert (lengths[11:] == 0).all()
    assert np.isfinite(made.decode(made.encode(fields))).all()
