"""Category prototypes: every class equally far from every other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from braindec import checks
from braindec.targets import category_prototypes as module

CLASSES = ("face", "house", "shoe", "cat")


@pytest.mark.parametrize("kind", ["one_hot", "simplex"])
def test_prototypes_are_unit_vectors_equally_far_apart(kind):
    target = module.build(module.Config(CLASSES, kind))
    points = target.embed(CLASSES)[:, 0]
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, rtol=1e-6)
    distances = pdist(points)
    np.testing.assert_allclose(distances, distances[0], rtol=1e-6)
    assert target.embed(["cat", "cat"]).shape == (2, *target.shape)


def test_simplex_prototypes_sum_to_zero():
    points = module.build(module.Config(CLASSES, "simplex")).embed(CLASSES)
    np.testing.assert_allclose(points.sum(0), 0, atol=1e-6)


def test_labels_keep_their_order_and_an_unknown_one_is_refused():
    target = module.build(module.Config(CLASSES))
    np.testing.assert_array_equal(target.embed(["shoe", "face"])[:, 0].argmax(1), [2, 0])
    with pytest.raises(checks.ConfigError, match="Did you mean 'house'"):
        target.embed(["hose"])


def test_other_classes_are_another_space():
    spaces = {module.build(module.Config(c)).space for c in (CLASSES, CLASSES[::-1], CLASSES[:3])}
    assert len(spaces) == 3


def test_fewer_than_two_classes_or_a_double_one_are_refused():
    with pytest.raises(ValueError, match="number of classes"):
        module.build(module.Config(("face",)))
    with pytest.raises(ValueError, match="more than once"):
        module.Config(("face", "face"))
