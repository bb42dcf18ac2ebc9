"""Sets hold the truth in nine of ten cases where calibration and test stimuli could trade places, and not where not."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from braindec.evaluate import hallucination as meter
from braindec.evaluate.hallucination_beliefs import belief_of
from braindec.evaluate.hallucination_readouts import attribute
from braindec.types import Embeddings

N_TRAIN, N_CALIBRATION, N_TEST, N_DIMS, N_WORLDS = 220, 150, 300, 60, 12
SETTINGS = meter.Settings(n_permutations=19, alpha=0.05)


def coverage(noise: float, calibration_noise: float, *, crossed: bool) -> float:
    """Share of true classes in their sets; brains are embeddings and noise, more of it in calibration stimuli."""
    found = []
    for seed in range(N_WORLDS):
        rng = np.random.default_rng(seed)
        n = N_TRAIN + N_CALIBRATION + N_TEST
        x = rng.standard_normal((n, 1, N_DIMS)).astype(np.float32)
        x[:, 0, 0] *= 2
        code = np.digitize(x[:, 0, 0] + rng.standard_normal(n), (-1.5, 0, 1.5))
        ids = tuple(f"picture-{i}" for i in range(n))
        labels = dict(zip(ids, np.array(["a", "b", "c", "d"])[code].tolist(), strict=True))
        told = N_TRAIN + N_CALIBRATION
        one = attribute("kind", labels, ids[:told], Embeddings(ids, x, "gaussian", {}, "0" * 64))
        if not crossed:
            one = meter.Attribute(one.name, one.values, one.read, one.truth)
        seen = x + noise * rng.standard_normal(x.shape).astype(np.float32)
        worse = x + calibration_noise * rng.standard_normal(x.shape).astype(np.float32)
        gauge = meter.calibrate([one], ids[N_TRAIN:told], worse[None, N_TRAIN:told], x, settings=SETTINGS)[0]
        found.append(gauge.covered(belief_of(one.readings(seen[None, told:])), one.of(ids[told:])).mean())
    return float(np.mean(found))


def test_sets_of_exchangeable_stimuli_hold_the_truth_in_nine_of_ten_cases():
    assert coverage(0.3, 0.3, crossed=True) == pytest.approx(0.9, abs=0.02)


def test_stimuli_that_a_readout_was_fitted_on_make_its_sets_too_small():
    assert coverage(0.3, 0.3, crossed=False) < 0.87


def test_calibration_by_worse_encoders_makes_sets_too_large():
    assert coverage(0.3, 1.5, crossed=True) > 0.93


def test_what_a_reading_carries_goes_to_another_process_without_the_training_embeddings():
    rng = np.random.default_rng(0)
    ids = tuple(f"picture-{i}" for i in range(90))
    x = rng.standard_normal((90, 1, 8)).astype(np.float32)
    labels = dict(zip(ids, np.where(x[:, 0, 0] > 0, "a", "b").tolist(), strict=True))
    one = attribute("kind", labels, ids[:60], Embeddings(ids, x, "gaussian", {}, "0" * 64))
    gauges = meter.calibrate([one], ids[:60], x[None, :60], x, settings=SETTINGS)
    assert len(pickle.dumps(meter.judge(gauges, x[None, 60:]))) < x[:60].nbytes * 4
