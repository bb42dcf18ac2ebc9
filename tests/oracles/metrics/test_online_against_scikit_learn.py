"""The share of Matthews' correlation that each window holds, against scikit-learn's correlation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, matthews_corrcoef

from braindec.metrics.online import mean_recall, normalised_mcc


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_the_mean_of_the_parts_is_matthews_correlation(rng, n_classes):
    labels = rng.integers(0, n_classes, 90)
    scores = rng.standard_normal((90, n_classes)) + 1.2 * np.eye(n_classes)[labels]
    parts = normalised_mcc(torch.from_numpy(scores), torch.from_numpy(labels))
    expected = matthews_corrcoef(labels, scores.argmax(1))
    assert float(parts.mean()) == pytest.approx((expected + 1) / 2, abs=1e-12)
    recall = balanced_accuracy_score(labels, scores.argmax(1))
    assert mean_recall(scores.argmax(1), labels, n_classes) == pytest.approx(recall, abs=1e-12)
