"""EfficientNet-Lite0 as the judge of pictures."""

from __future__ import annotations

from importlib import util

import numpy as np
import pytest
import torch

from braindec.checks import MissingPackageError
from braindec.targets import efficientnet_lite0

installed = pytest.mark.skipif(
    util.find_spec(efficientnet_lite0.PACKAGE) is None or util.find_spec("timm") is None,
    reason="needs pip install 'braindec[demo]'",
)


@pytest.fixture(scope="module")
def target():
    return efficientnet_lite0.build(efficientnet_lite0.Config())


def logits(target, name):
    """Class scores of the middle square of one of scikit-image's photographs."""
    photograph = getattr(pytest.importorskip("skimage.data"), name)()
    side = min(photograph.shape[:2])
    top, left = ((length - side) // 2 for length in photograph.shape[:2])
    features = target.embed_images([photograph[top : top + side, left : left + side]])
    with torch.inference_mode():
        return target._network.classifier(torch.as_tensor(features[:, 0]))[0]


@installed
@pytest.mark.parametrize(("name", "label"), [("coffee", 967), ("chelsea", 285)])
def test_it_recognises_photographs(target, name, label):
    assert int(logits(target, name).argmax()) == label  # an espresso; a cat


@installed
def test_it_is_the_network_that_the_weights_were_trained_in(target):
    # Computed with the weights' own code, efficientnet-lite-pytorch 0.1.0, from the same pixels.
    expected = [22.7934, -1.4068, 0.6407, -1.3158, 10.4697]
    found = logits(target, "coffee")[[967, 0, 100, 285, 999]]
    np.testing.assert_allclose(found, expected, atol=2e-3)


@installed
def test_features_do_not_depend_on_the_batch(target, rng):
    images = rng.integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    whole = target.embed_images(images)
    assert whole.shape == (5, *target.shape)
    np.testing.assert_allclose(target.embed_images(iter(images), batch_size=2), whole, atol=1e-5)


@installed
def test_the_identity_names_weights_and_transform(target):
    identity = target.identity()
    assert len(identity["weights_sha256"]) == 64
    assert identity["size"] == 128


@installed
def test_wrong_pictures_are_refused(target):
    with pytest.raises(ValueError, match="uint8"):
        target.embed_images(np.zeros((1, 8, 8, 3)))


def test_without_its_package_the_line_that_installs_it_is_shown(monkeypatch):
    monkeypatch.setattr(efficientnet_lite0, "PACKAGE", "no_such_package_here")
    with pytest.raises(MissingPackageError, match=r"pip install 'braindec\[demo\]'"):
        efficientnet_lite0.build(efficientnet_lite0.Config())
