"""Feature banks made of random numbers, so that brains can be tested without rendering a picture."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.data.simulated.features import BANK_DIMS, FeatureMap, fit_feature_map


@pytest.fixture(scope="session")
def banks() -> tuple[FeatureMap, np.ndarray]:
    """A feature map and the features of 2,000 made-up pictures."""
    rng = np.random.default_rng(3)
    raw = {name: rng.standard_normal((2000, 2 * dim)) for name, dim in BANK_DIMS.items()}
    fitted = fit_feature_map(raw)
    return fitted, fitted(raw)
