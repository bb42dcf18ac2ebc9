"""Classifiers that read another space: as good as its own where it is a rotation, at chance where nothing is shared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier

from braindec.evaluate import compare_stitching as stitching
from braindec.sparse.matching import rotation

QUICK = stitching.Settings(n_anchors=(8, 40), n_test=60, n_null=5)


def spaces(generator, noise=0.4, n=220, dim=12):
    """A space with three classes, and the same rotated."""
    labels = torch.arange(n) % 3
    centres = 1.5 * torch.randn(3, dim, generator=generator)
    first = centres[labels] + noise * torch.randn(n, dim, generator=generator) + 1
    return first, first @ rotation(dim, generator) * 3 - 5, np.array(["a", "b", "c"])[labels]


def value(report, name, system="braindec"):
    return next(s for s in report.scores if s.name == name and s.system == system)


def test_a_rotated_space_is_read_like_the_own_one_and_permuted_anchors_are_not(generator):
    report = stitching.stitching_study(*spaces(generator), QUICK, names=("one", "two"))
    for way in ("relative", "rotation"):
        read = value(report, f"stitched_accuracy_{way}")
        assert read.value > 0.95 and read.details["own_space"] > 0.95
        assert read.null < 0.65 and read.p == pytest.approx(1 / 6)
        assert 1 / 3 <= read.chance < 0.5  # the most frequent class of 60
        told = value(report, f"stitched_identified_{way}")
        assert told.value > 0.95 and told.null == pytest.approx(0.5, abs=0.1)


def test_spaces_that_share_nothing_are_at_chance(generator):
    first, _, labels = spaces(generator)
    values = []
    for _ in range(4):
        other = torch.randn(len(first), 12, generator=generator)
        report = stitching.stitching_study(first, other, labels, QUICK)
        values.append([value(report, f"stitched_{k}_rotation").value for k in ("accuracy", "identified")])
    accuracy, identified = np.mean(values, 0)
    assert accuracy == pytest.approx(1 / 3, abs=0.08)
    assert identified == pytest.approx(0.5, abs=0.08)


def test_the_classifier_is_ridge_regression_on_classes(generator):
    first, _, labels = spaces(generator, noise=3.0)
    y = torch.from_numpy(np.unique(labels, return_inverse=True)[1])
    x, new, truth = first[:150], first[150:], y[150:]
    found = stitching._accuracy(x, y[:150], new, truth, 3)
    mean, spread = x.mean(0), x.std(0)
    peer = RidgeClassifier(alpha=stitching.PENALTY * len(x)).fit((x - mean) / spread, y[:150])
    assert found == pytest.approx(float((peer.predict((new - mean) / spread) == truth.numpy()).mean()))
    assert found < 0.95


def test_too_few_stimuli_are_refused(generator):
    first, second, labels = spaces(generator, n=60)
    with pytest.raises(ValueError, match="stimuli"):
        stitching.stitching_study(first, second, labels, QUICK)


def test_the_interval_of_stimuli_told_apart_is_over_stimuli_not_over_draws_of_anchors(generator):
    settings = stitching.Settings(n_anchors=(32,), n_test=50, n_null=5)
    mixing = torch.randn(2, 12, 20, generator=generator)
    found = []
    for _ in range(20):
        z = torch.randn(32 + 50 + 3, 12, generator=generator)  # all but three of the pool are anchors
        other = z @ mixing[1] + 6.0 * torch.randn(len(z), 20, generator=generator)
        report = stitching.stitching_study(z @ mixing[0], other, (z[:, 0] > 0).numpy().astype(int), settings)
        found.append([(s.value, *s.interval) for s in (value(report, f"stitched_identified_{w}") for w in
                                                       ("relative", "rotation"))])  # fmt: skip
    values, low, high = np.array(found).transpose(2, 0, 1)  # each (world, way)
    covered = (low <= values.mean(0)) & (values.mean(0) <= high)
    assert (covered.mean(0) >= 0.75).all()
